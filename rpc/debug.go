package rpc

import (
	"context"

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

// Bundler_sendBundleNow is debug_bundler_sendBundleNow.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_sendBundleNow(ctx context.Context) (common.Hash, error) {
	return do(ctx, a.calls, "debug_bundler_sendBundleNow", a.debug.SendBundleNow)
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
