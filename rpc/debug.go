package rpc

import (
	"context"
	"encoding/json"
	"errors"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// debugAPI is the debug namespace of ERC-7769, for tests and development only: its calls are refused as unknown
// methods unless the server is given a [DebugBackend].
//
// The underscores are part of the names on the wire: Bundler_sendBundleNow is debug_bundler_sendBundleNow.
type debugAPI struct {
	backend Backend
	debug   DebugBackend
	calls   *calls
}

// done is the answer of debug calls that have nothing to tell.
const done = "ok"

// Bundler_sendBundleNow is debug_bundler_sendBundleNow. That there was nothing to send is no error: the public test suite
// of bundlers calls it where every operation is bound to fail, and expects an answer. It is the zero hash then.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_sendBundleNow(ctx context.Context) (common.Hash, error) {
	return do(ctx, a.calls, "debug_bundler_sendBundleNow", func(ctx context.Context) (common.Hash, error) {
		hash, err := a.debug.SendBundleNow(ctx)
		if errors.Is(err, ErrNothingToSend) {
			return common.Hash{}, nil
		}
		return hash, err
	})
}

// Bundler_setBundlingMode is debug_bundler_setBundlingMode; mode is "auto" or "manual".
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_setBundlingMode(ctx context.Context, mode string) (string, error) {
	return do(ctx, a.calls, "debug_bundler_setBundlingMode", func(ctx context.Context) (string, error) {
		if mode != "auto" && mode != "manual" {
			return "", invalidParams("bundling mode: have %q, want \"auto\" or \"manual\"", mode)
		}
		return done, a.debug.SetBundlingMode(ctx, mode == "auto")
	})
}

// Bundler_dumpMempool is debug_bundler_dumpMempool.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_dumpMempool(ctx context.Context, entryPoint entryPointParam) ([]*userop.UserOperation, error) {
	return do(ctx, a.calls, "debug_bundler_dumpMempool", func(ctx context.Context) ([]*userop.UserOperation, error) {
		ep, err := findEntryPoint(a.backend, common.Address(entryPoint))
		if err != nil {
			return nil, err
		}
		ops, err := a.debug.DumpMempool(ctx, ep)
		if err == nil && ops == nil {
			ops = []*userop.UserOperation{} // an empty array, not null
		}
		return ops, err
	})
}

// Bundler_clearState is debug_bundler_clearState.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_clearState(ctx context.Context) (string, error) {
	return do(ctx, a.calls, "debug_bundler_clearState", func(ctx context.Context) (string, error) {
		return done, a.debug.ClearState(ctx)
	})
}

// Bundler_clearMempool is debug_bundler_clearMempool; without an EntryPoint it clears the operations of all.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_clearMempool(ctx context.Context, entryPoint *entryPointParam) (string, error) {
	return do(ctx, a.calls, "debug_bundler_clearMempool", func(ctx context.Context) (string, error) {
		if entryPoint == nil {
			return done, a.debug.ClearMempool(ctx, nil)
		}
		ep, err := findEntryPoint(a.backend, common.Address(*entryPoint))
		if err != nil {
			return "", err
		}
		return done, a.debug.ClearMempool(ctx, &ep)
	})
}

// Bundler_addUserOps is debug_bundler_addUserOps; without an EntryPoint the operations are for the preferred one.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_addUserOps(ctx context.Context, raw []json.RawMessage, entryPoint *entryPointParam) (string, error) {
	return do(ctx, a.calls, "debug_bundler_addUserOps", func(ctx context.Context) (string, error) {
		ep := a.backend.EntryPoints()[0]
		if entryPoint != nil {
			var err error
			if ep, err = findEntryPoint(a.backend, common.Address(*entryPoint)); err != nil {
				return "", err
			}
		}
		ops := make([]*userop.UserOperation, len(raw))
		for i, text := range raw {
			op, err := userop.Decode(text, ep.Version)
			if err != nil {
				return "", invalidParams("userOps[%d]: %s", i, err)
			}
			ops[i] = op
		}
		return done, a.debug.AddUserOperations(ctx, ep, ops)
	})
}

// Bundler_setConfiguration is debug_bundler_setConfiguration.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_setConfiguration(ctx context.Context, settings map[string]counterParam) (string, error) {
	return do(ctx, a.calls, "debug_bundler_setConfiguration", func(ctx context.Context) (string, error) {
		values := make(map[string]uint64, len(settings))
		for name, value := range settings {
			values[name] = uint64(value)
		}
		return done, a.debug.SetConfiguration(ctx, values)
	})
}
