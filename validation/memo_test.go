package validation_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/evm"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// changedNode is the real node at one block, whatever block it is asked for, with single values of its state changed. It is
// asked by single requests, and asks the real node once for each.
type changedNode struct {
	evm.Node
	block   common.Hash
	answers map[string]json.RawMessage
	changes map[string]any // by request
}

// request names a request, without its block.
func request(method string, args ...any) string { return fmt.Sprint(method, args) }

func (n *changedNode) setSlot(slot evm.Slot, value common.Hash) {
	n.changes[request("eth_getStorageAt", slot.Account, slot.Key)] = value
}

func (n *changedNode) setBalance(addr common.Address, balance *big.Int) {
	n.changes[request("eth_getBalance", addr)] = (*hexutil.Big)(balance)
}

func (n *changedNode) setNonce(addr common.Address, nonce uint64) {
	n.changes[request("eth_getTransactionCount", addr)] = hexutil.Uint64(nonce)
}

func (n *changedNode) setCode(addr common.Address, code []byte) {
	n.changes[request("eth_getCode", addr)] = hexutil.Bytes(code)
}

func (n *changedNode) restore() { clear(n.changes) }

func (n *changedNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	for i := range batch {
		elem := &batch[i]
		if elem.Method == "eth_createAccessList" {
			elem.Error = methodNotFound{elem.Method}
			continue
		}
		args := elem.Args[:len(elem.Args)-1]
		key := request(elem.Method, args...)
		raw, known := n.answers[key]
		if !known {
			at := append(slices.Clone(args), map[string]any{"blockHash": n.block})
			if err := n.Node.CallContext(ctx, &raw, elem.Method, at...); err != nil {
				return err
			}
			n.answers[key] = raw
		}
		if change, ok := n.changes[key]; ok {
			var err error
			if raw, err = json.Marshal(change); err != nil {
				return err
			}
		}
		elem.Error = json.Unmarshal(raw, elem.Result)
	}
	return nil
}

// memoFixture is a chain whose state can be changed value by value, from one head to the next.
type memoFixture struct {
	*fixture
	changed *changedNode
	heads   uint64
}

// fresh returns a validator that remembers nothing.
func (f *memoFixture) fresh() *validation.Validator {
	source := evm.NewSource(f.changed, f.chain.ChainConfig(), evm.Options{NoLoader: true, Settlement: 1 << 40})
	return validation.New(source, validation.Config{SampleEvery: -1})
}

// next returns another head with the same state, but for the changes.
func (f *memoFixture) next() *types.Header {
	head := types.CopyHeader(f.head())
	f.heads++
	head.Extra = binary.BigEndian.AppendUint64(nil, f.heads)
	return head
}

// subjects are operations of every kind, by name.
func (f *memoFixture) subjects() map[string]*userop.UserOperation {
	ops := make(map[string]*userop.UserOperation)
	for _, v := range userop.Versions() {
		fresh := f.account(v, 901)
		f.fund(fresh.address)
		plain, sponsored := f.deployed(v, 902), f.deployed(v, 903)
		ops["plain "+v.String()] = f.sign(f.op(plain))
		ops["creating "+v.String()] = f.sign(creating(fresh, f.op(fresh)))
		ops["sponsored "+v.String()] = f.sign(f.sponsored(f.op(sponsored), f.head().Time+100_000, 1))
		if v != userop.V06 {
			key := f.chain.Keys()[4+int(v)]
			ops["delegated "+v.String()] = f.signHash(f.delegated(v, key), key)
		}
	}
	return ops
}

// An operation is validated, the state changes, and it is validated again: what the memo answers is what a validator
// that remembers nothing finds out, whatever has changed; and where nothing has changed that it depends on, nothing is run.
func TestMemoIsNeverStale(t *testing.T) {
	f := &memoFixture{fixture: newFixture(t, validation.Config{})}
	ops := f.subjects()
	f.changed = &changedNode{Node: f.node, block: f.head().Hash(), answers: make(map[string]json.RawMessage), changes: make(map[string]any)}
	names := slices.Sorted(maps.Keys(ops))
	v := f.fresh()
	results := make(map[string]*validation.Result)
	for _, name := range names {
		op := ops[name]
		res, err := v.Validate(t.Context(), f.head(), entrypoint.Canonical(op.Version), op, validation.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		results[name] = res
	}
	both := func(tb rapid.TB, name string) (hits uint64) {
		tb.Helper()
		ctx, op, head := t.Context(), ops[name], f.next()
		ep := entrypoint.Canonical(op.Version)
		before := v.MemoStats()
		have, haveErr := v.Validate(ctx, head, ep, op, validation.Options{})
		want, wantErr := f.fresh().Validate(ctx, head, ep, op, validation.Options{})
		if fmt.Sprint(haveErr) != fmt.Sprint(wantErr) {
			tb.Errorf("%s: have error %v, want %v", name, haveErr, wantErr)
		}
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(rejection.Rejection{})); diff != "" {
			tb.Errorf("%s: (-fresh +remembered):\n%s", name, diff)
		}
		after := v.MemoStats()
		if after.Misses != before.Misses {
			tb.Errorf("%s: it was not remembered", name)
		}
		return after.Hits - before.Hits
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if both(t, name) != 1 {
				t.Error("nothing has changed: have no hit")
			}
			reads := results[name].ReadSet
			// hit reports whether the memo answers after a change. What passes is remembered anew, so the change is undone
			// and the operation validated once more.
			hit := func(change func()) bool {
				t.Helper()
				change()
				hits := both(t, name)
				f.changed.restore()
				both(t, name)
				return hits == 1
			}
			op := ops[name]
			slots := maps.Clone(reads.Slots)
			for _, entity := range []*common.Address{&op.Sender, op.Factory, op.Paymaster} {
				if entity != nil && *entity != userop.EIP7702Marker { // what the result says of the entity's stake counts too
					slot := evm.Slot{Account: entrypoint.Canonical(op.Version).Address, Key: entrypoint.StakeSlot(op.Version, *entity)}
					slots[slot] = reads.Slots[slot]
				}
			}
			for slot, was := range slots {
				staked := was // in v0.6 a deposit's neighbour in its word
				staked[17] ^= 1
				for _, value := range []common.Hash{{}, {0: 0x80, 31: 1}, staked} {
					may := op.Paymaster != nil && slot.Key == entrypoint.DepositSlot(op.Version, *op.Paymaster) && op.Version.Packed()
					if value != was && hit(func() { f.changed.setSlot(slot, value) }) && !may {
						t.Errorf("slot %s of %s := %s: have a hit", slot.Key, slot.Account, value)
					}
				}
			}
			for addr, read := range reads.Accounts {
				if hit(func() { f.changed.setCode(addr, []byte{0x00}) }) {
					t.Errorf("code of %s: have a hit", addr)
				}
				if have := hit(func() { f.changed.setNonce(addr, 77) }); have == (read.NonceUsed || read.Empty) {
					t.Errorf("nonce of %s (used %t, empty %t): have hit %t", addr, read.NonceUsed, read.Empty, have)
				}
				if have := hit(func() { f.changed.setBalance(addr, big.NewInt(1)) }); have == (read.BalanceUsed || read.Empty) {
					t.Errorf("balance of %s (used %t, empty %t): have hit %t", addr, read.BalanceUsed, read.Empty, have)
				}
			}
			if both(t, name) != 1 {
				t.Error("all is as it was: have no hit")
			}
		})
	}
	t.Run("several at once", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			defer f.changed.restore()
			name := rapid.SampledFrom(names).Draw(rt, "operation")
			reads := results[name].ReadSet
			slots := slices.SortedFunc(maps.Keys(reads.Slots), func(a, b evm.Slot) int {
				return strings.Compare(a.Account.Hex()+a.Key.Hex(), b.Account.Hex()+b.Key.Hex())
			})
			addrs := slices.SortedFunc(maps.Keys(reads.Accounts), common.Address.Cmp)
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				addr := rapid.SampledFrom(addrs).Draw(rt, "account")
				switch rapid.IntRange(0, 3).Draw(rt, "what") {
				case 0:
					slot := rapid.SampledFrom(slots).Draw(rt, "slot")
					word := uint256.NewInt(rapid.Uint64().Draw(rt, "value"))
					f.changed.setSlot(slot, word.Lsh(word, uint(rapid.IntRange(0, 192).Draw(rt, "shift"))).Bytes32())
				case 1:
					f.changed.setBalance(addr, new(big.Int).SetUint64(rapid.Uint64().Draw(rt, "balance")))
				case 2:
					f.changed.setNonce(addr, rapid.Uint64Range(0, 3).Draw(rt, "nonce"))
				case 3:
					f.changed.setCode(addr, rapid.SampledFrom([][]byte{nil, {0}, types.AddressToDelegation(addrs[0])}).Draw(rt, "code"))
				}
			}
			both(rt, name)
		})
	})
}
