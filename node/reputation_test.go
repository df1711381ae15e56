package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/node"
	"baler/pool"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/holiman/uint256"
)

// reputation is an entry of debug_bundler_dumpReputation.
type reputation struct {
	Address     common.Address `json:"address"`
	OpsSeen     hexutil.Uint64 `json:"opsSeen"`
	OpsIncluded hexutil.Uint64 `json:"opsIncluded"`
	Status      string         `json:"status"`
}

func (s *stack) reputation(t *testing.T) map[common.Address]reputation {
	t.Helper()
	var list []reputation
	s.call(t, &list, "debug_bundler_dumpReputation", s.config.EntryPoints[0].Address)
	byAddress := make(map[common.Address]reputation)
	for _, r := range list {
		byAddress[r.Address] = r
	}
	return byAddress
}

// mempool returns the hashes of an EntryPoint's pending operations.
func (s *stack) mempool(t *testing.T, ep entrypoint.EntryPoint) []common.Hash {
	t.Helper()
	var raw []json.RawMessage
	s.call(t, &raw, "debug_bundler_dumpMempool", ep.Address)
	hashes := make([]common.Hash, len(raw))
	for i, text := range raw {
		op, err := userop.Decode(text, ep.Version)
		if err != nil {
			t.Fatal(err)
		}
		hashes[i] = op.Hash(ep.Address, s.chain.ChainID(), common.Address{})
	}
	return hashes
}

func TestReputationSetByHandDecidesAtTheDoor(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, false)[0]
	factory := s.chain.Contracts().AccountFactories[userop.V07]
	set := func(seen, included string) {
		entry := map[string]any{"address": factory, "opsSeen": seen, "opsIncluded": included}
		s.call(t, nil, "debug_bundler_setReputation", []any{entry}, a.ep.Address)
	}
	hash := a.send(t, a.op(t))
	if have := s.reputation(t)[factory]; have.OpsSeen != 1 || have.Status != "ok" {
		t.Errorf("after one operation: have %+v, want it seen once, ok", have)
	}

	set("0x1f4", "0x01") // 500/10 > 1 + THROTTLING_SLACK 10, not over 1 + BAN_SLACK 50
	if have := s.reputation(t)[factory]; have.Status != "throttled" || have.OpsSeen != 500 || have.OpsIncluded != 1 {
		t.Errorf("have %+v, want 500 seen, 1 included, throttled", have)
	}
	if have := s.mempool(t, a.ep); len(have) != 1 {
		t.Errorf("have %v in the pool, want the operation of a throttled entity to stay", have)
	}

	set("0x2710", "0x0")
	if have := s.reputation(t)[factory]; have.Status != "banned" {
		t.Errorf("have %+v, want banned", have)
	}
	if have := s.mempool(t, a.ep); len(have) != 0 {
		t.Errorf("have %v in the pool, want none of a banned entity (GREP-010)", have)
	}
	if have := s.becomes(t, hash, "dropped", "rejected"); have.Reason == nil || *have.Reason != "entity banned" {
		t.Errorf("have %v, want the ban as its reason", have)
	}
	a.nonce--
	s.refused(t, -32504, "banned", "eth_sendUserOperation", a.op(t), a.ep.Address)

	s.call(t, nil, "debug_bundler_clearReputation")
	if have := s.reputation(t); len(have) != 0 {
		t.Errorf("after clearReputation: have %v, want none", have)
	}
	a.send(t, a.op(t))
	s.call(t, nil, "debug_bundler_clearState")
	if have, ops := s.reputation(t), s.mempool(t, a.ep); len(have) != 0 || len(ops) != 0 {
		t.Errorf("after clearState: have %v and %v, want nothing", have, ops)
	}
}

// Reputation ages while no process runs, too.
func TestReputationAgesWhileTheBundlerIsDown(t *testing.T) {
	t.Parallel()
	entity, dir := common.Address{0x77}, t.TempDir()
	open := func() *store.Store {
		kept, err := store.Open(dir, store.Meta{ChainID: 1337}, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	before := open()
	committing, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- before.Run(committing) }()
	err := before.Commit(t.Context(), store.SetAged(time.Now().Add(-150*time.Minute)),
		store.SetReputation([]pool.Reputation{{Address: entity, OpsSeen: 24 * 24, OpsIncluded: 24}}))
	stop()
	if err := errors.Join(err, <-ended, before.Close()); err != nil {
		t.Fatal(err)
	}

	after := open()
	t.Cleanup(func() {
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	})
	s := startStack(t, func(c *node.Config) { c.Store = after })
	// Two whole hours: 576, 552, 529 and 24, 23, 22 (value * 23 // 24).
	if have := s.reputation(t)[entity]; have.OpsSeen != 529 || have.OpsIncluded != 22 {
		t.Errorf("have %+v, want 529 seen, 22 included", have)
	}

	// What an operation changes is durable when it is acknowledged.
	a := s.accounts(t, userop.V07, 1, false)[0]
	a.send(t, a.op(t))
	kept := append(reputationOf(t, after), reputationInLog(t, dir)...)
	seen := func(r pool.Reputation) bool {
		return r.OpsSeen == 1 && r.Address == s.chain.Contracts().AccountFactories[userop.V07]
	}
	if !slices.ContainsFunc(kept, seen) {
		t.Errorf("have %+v in the store, want the factory seen once", kept)
	}
}

func reputationOf(t *testing.T, s *store.Store) []pool.Reputation {
	t.Helper()
	kept, err := s.Reputation()
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// reputationInLog is what the store's log has, of which the file may not know yet: a store that has nothing but the log reads it.
func reputationInLog(t *testing.T, dir string) []pool.Reputation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, store.LogName))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, store.LogName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(other, store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept := reputationOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return kept
}

func TestStakeStatusIsTheChains(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	ep, paymaster := s.config.EntryPoints[0], s.chain.Contracts().Paymasters[userop.V07]
	var have struct {
		StakeInfo struct {
			Addr            common.Address
			Stake           string
			UnstakeDelaySec string
		}
		IsStaked bool
	}
	var answer hexutil.Bytes
	call := map[string]any{"to": ep.Address, "data": hexutil.Bytes(entrypoint.EncodeGetDepositInfo(paymaster))}
	if err := s.chain.Client().CallContext(t.Context(), &answer, "eth_call", call, "latest"); err != nil {
		t.Fatal(err)
	}
	want, err := entrypoint.DecodeDepositInfo(answer)
	if err != nil {
		t.Fatal(err)
	}
	s.call(t, &have, "debug_bundler_getStakeStatus", paymaster, ep.Address)
	enough := want.Staked && !want.Stake.Lt(&s.config.Pool.MinStake) && uint64(want.UnstakeDelaySec) >= s.config.Pool.MinUnstakeDelay
	if have.StakeInfo.Addr != paymaster || have.StakeInfo.Stake != want.Stake.Dec() ||
		have.StakeInfo.UnstakeDelaySec != fmt.Sprint(want.UnstakeDelaySec) || have.IsStaked != enough {
		t.Errorf("have %+v, want %+v, staked in the sense of ERC-7562: %v", have, want, enough)
	}
	s.call(t, &have, "debug_bundler_getStakeStatus", common.Address{0x99}, ep.Address)
	if have.IsStaked || have.StakeInfo.Stake != "0" {
		t.Errorf("nobody: have %+v, want no stake", have)
	}
}

func TestAddedOperationsAreNotValidatedButHeldToTheLimits(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	unsigned := func(op *userop.UserOperation) *userop.UserOperation {
		op.Signature = []byte{1}
		return op
	}
	// A wrong signature, and a nonce with a gap, that eth_sendUserOperation refuses.
	far := unsigned(a.op(t, func(op *userop.UserOperation) { op.Nonce = *uint256.NewInt(7) }))
	s.refused(t, -32500, "", "eth_sendUserOperation", far, a.ep.Address)
	next := unsigned(a.op(t, func(op *userop.UserOperation) { op.Nonce = *uint256.NewInt(8) }))
	s.call(t, nil, "debug_bundler_addUserOps", []any{far, next})
	if have, want := s.mempool(t, a.ep), []common.Hash{a.hash(far), a.hash(next)}; !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
	s.becomes(t, a.hash(far), "pending", "not_submitted")
	s.call(t, nil, "debug_bundler_addUserOps", []any{far, next}, a.ep.Address) // again is no error

	// The second validation still stands between them and a bundle.
	s.sendsNothing(t)
	s.becomes(t, a.hash(far), "dropped", "rejected")

	// A paymaster without a deposit cannot pay, whatever is assumed of the operation.
	nobody := common.Address{0x99}
	poor := unsigned(a.op(t, func(op *userop.UserOperation) { op.Paymaster = &nobody }))
	s.refused(t, -32508, "", "debug_bundler_addUserOps", []any{poor}, a.ep.Address)
	// SAME_SENDER_MEMPOOL_COUNT.
	var many []any
	for i := range s.config.Pool.SameSenderCount + 1 {
		many = append(many, unsigned(a.op(t, func(op *userop.UserOperation) { op.Nonce = *uint256.NewInt(20 + i) })))
	}
	s.refused(t, -32505, "4 pending operations", "debug_bundler_addUserOps", many, a.ep.Address)
	if have := s.mempool(t, a.ep); len(have) != len(many)-1 {
		t.Errorf("have %d operations, want the %d before the refused one", len(have), len(many)-1)
	}
}

func TestClearingOneEntryPointLeavesTheOthers(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	v07, v06 := s.accounts(t, userop.V07, 1, true)[0], s.accounts(t, userop.V06, 1, true)[0]
	first, second := v07.send(t, v07.op(t)), v07.send(t, v07.op(t))
	other := v06.send(t, v06.op(t))
	s.call(t, nil, "debug_bundler_clearMempool", v07.ep.Address)
	if have, rest := s.mempool(t, v07.ep), s.mempool(t, v06.ep); len(have) != 0 || !slices.Equal(rest, []common.Hash{other}) {
		t.Errorf("have %v and %v, want none and %v", have, rest, other)
	}
	for _, hash := range []common.Hash{first, second} {
		if have := s.becomes(t, hash, "dropped", "rejected"); have.Reason == nil || *have.Reason != "pool cleared" {
			t.Errorf("have %v, want the pool cleared", have)
		}
	}
	s.call(t, nil, "debug_bundler_clearMempool")
	if rest := s.mempool(t, v06.ep); len(rest) != 0 {
		t.Errorf("have %v, want none", rest)
	}
}

func TestConfigurationIsConfirmedOrRefused(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	s.call(t, nil, "debug_bundler_setConfiguration", map[string]any{"expectedBundleSize": 1})
	s.refused(t, -32602, "want 1", "debug_bundler_setConfiguration", map[string]any{"expectedBundleSize": 2})
	s.refused(t, -32602, "unknown", "debug_bundler_setConfiguration", map[string]any{"expectedBundleSize": 1, "zeroByteGasCost": 4})
}

func TestTheAccountCanDropWhatWaits(t *testing.T) {
	t.Parallel()
	for _, v := range []userop.Version{userop.V06, userop.V07} {
		for _, deployed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, deployed %v", v, deployed), func(t *testing.T) {
				t.Parallel()
				s := startStack(t)
				a := s.accounts(t, v, 1, deployed)[0]
				hash := a.send(t, a.op(t))
				a.nonce--
				var dropped *common.Hash
				s.call(t, &dropped, "baler_dropUserOperation", a.op(t, drop), a.ep.Address)
				if dropped == nil || *dropped != hash {
					t.Fatalf("have %v dropped, want %s", dropped, hash)
				}
				if have := s.becomes(t, hash, "dropped", "rejected"); have.Reason == nil || *have.Reason != "dropped" {
					t.Errorf("have %v, want it dropped", have)
				}
				s.call(t, &dropped, "baler_dropUserOperation", a.op(t, drop), a.ep.Address)
				if dropped != nil {
					t.Errorf("again: have %s dropped, want nothing left to drop", dropped)
				}
				// The nonce is free: the account goes on.
				hash = a.send(t, a.op(t))
				s.sendBundle(t)
				s.mine(t, 1)
				s.becomes(t, hash, "included", "included")
			})
		}
	}
}

func TestAnAccountThatIsYetToDelegateCanDrop(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(c *node.Config) { c.EntryPoints = []entrypoint.EntryPoint{entrypoint.Canonical(userop.V08)} })
	a := s.delegating(t)
	hash := a.send(t, a.op(t))
	a.nonce--
	without := a.op(t, drop, func(op *userop.UserOperation) { op.Authorization = nil })
	s.refused(t, -32602, "eip7702Auth", "baler_dropUserOperation", without, a.ep.Address)
	var dropped *common.Hash
	s.call(t, &dropped, "baler_dropUserOperation", a.op(t, drop), a.ep.Address)
	if dropped == nil || *dropped != hash {
		t.Errorf("have %v dropped, want %s", dropped, hash)
	}
}

func TestDroppingTakesWhatFollowsAndLeavesWhatIsBefore(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	first, second, third := a.send(t, a.op(t)), a.send(t, a.op(t)), a.send(t, a.op(t))
	a.nonce = 1
	var dropped *common.Hash
	s.call(t, &dropped, "baler_dropUserOperation", a.op(t, drop), a.ep.Address)
	if dropped == nil || *dropped != second {
		t.Fatalf("have %v dropped, want %s", dropped, second)
	}
	if have := s.mempool(t, a.ep); !slices.Equal(have, []common.Hash{first}) {
		t.Errorf("have %v left, want %s", have, first)
	}
	if have := s.becomes(t, third, "dropped", "rejected"); have.Reason == nil || !strings.Contains(*have.Reason, "lower nonce") {
		t.Errorf("have %v, want it out with its predecessor", have)
	}
}

func TestNobodyElseCanDrop(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	accounts := s.accounts(t, userop.V07, 2, true)
	fresh := s.accounts(t, userop.V07, 1, false)[0]
	a, stranger := accounts[0], accounts[1]
	hash, undeployed := a.send(t, a.op(t)), fresh.send(t, fresh.op(t))
	a.nonce, fresh.nonce = 0, 0

	request := func(change func(*userop.UserOperation)) *userop.UserOperation {
		op := a.op(t, drop)
		change(op)
		return op
	}
	for name, c := range map[string]struct {
		request *userop.UserOperation
		code    int
		text    string
	}{
		"signed by another":          {request(func(op *userop.UserOperation) { op.Signature = stranger.op(t, drop).Signature }), -32507, "AA24"},
		"signature of the operation": {request(func(op *userop.UserOperation) { op.Signature = a.op(t).Signature }), -32507, "AA24"},
		"no signature":               {request(func(op *userop.UserOperation) { op.Signature = nil }), -32500, "AA23"},
		"no gas":                     {request(func(op *userop.UserOperation) { op.VerificationGasLimit = 1000 }), -32500, "AA"},
		"too much gas":               {request(func(op *userop.UserOperation) { op.VerificationGasLimit = 1e9 }), -32602, "verificationGasLimit"},
		"another way to deploy": {request(func(op *userop.UserOperation) {
			op.Factory, op.FactoryData = new(common.Address{0x77}), []byte{1}
		}), -32602, "factory"},
		"not deployed and no factory": {fresh.op(t, drop, func(op *userop.UserOperation) { op.Factory, op.FactoryData = nil, nil }), -32602, "factory"},
	} {
		t.Run(name, func(t *testing.T) { s.refused(t, c.code, c.text, "baler_dropUserOperation", c.request, a.ep.Address) })
	}
	var dropped *common.Hash
	s.call(t, &dropped, "baler_dropUserOperation", stranger.op(t, drop), a.ep.Address)
	if dropped != nil {
		t.Errorf("an account without operations: have %s dropped", dropped)
	}
	have := s.mempool(t, a.ep)
	if len(have) != 2 || !slices.Contains(have, hash) || !slices.Contains(have, undeployed) {
		t.Errorf("have %v in the pool, want both operations still", have)
	}

	// In a bundle on its way it is too late, for the account too.
	tx := s.sendBundle(t)
	s.refused(t, -32000, tx.Hex(), "baler_dropUserOperation", a.op(t, drop), a.ep.Address)
	s.mine(t, 1)
	s.becomes(t, hash, "included", "included")
}
