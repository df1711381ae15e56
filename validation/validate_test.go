package validation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

// refusedAs fails the test unless err is a refusal of the kind whose message begins with the text, and returns it.
func refusedAs(t *testing.T, err error, kind rejection.Kind, message string) *validation.Refusal {
	t.Helper()
	var refused *validation.Refusal
	if !errors.As(err, &refused) {
		t.Fatalf("have %v, want a refusal %q", err, message)
	}
	var plain *rejection.Rejection
	if !errors.As(err, &plain) || plain != refused.Rejection {
		t.Errorf("have %v in the refusal, want its rejection", plain)
	}
	if refused.Kind != kind || !strings.HasPrefix(refused.Message, message) {
		t.Fatalf("have %d %q, want %d %q", refused.Kind, refused.Message, kind, message)
	}
	return refused
}

// eachVersion runs the test against every EntryPoint on one chain.
func eachVersion(t *testing.T, run func(t *testing.T, f *fixture, v userop.Version)) {
	f := newFixture(t, validation.Config{})
	for _, v := range userop.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			sub := *f
			sub.t = t
			run(t, &sub, v)
			f.nonce = sub.nonce
		})
	}
}

func (f *fixture) validate(op *userop.UserOperation) (*validation.Result, error) {
	f.t.Helper()
	return f.v.Validate(f.t.Context(), f.head(), entrypoint.Canonical(op.Version), op, validation.Options{})
}

func TestValidOperations(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		ep := entrypoint.Canonical(v)
		fresh := f.account(v, 1)
		f.fund(fresh.address)
		a := f.deployed(v, 2)

		t.Run("account created by its factory", func(t *testing.T) {
			op := f.sign(creating(fresh, f.op(fresh)))
			res, err := f.validate(op)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]common.Address{fresh.address}, res.Created); diff != "" {
				t.Errorf("created (-want +have):\n%s", diff)
			}
			if res.Factory == nil || res.Factory.Address != fresh.factory || res.Factory.Staked {
				t.Errorf("factory: have %+v, want %s, not staked", res.Factory, fresh.factory)
			}
			if res.FactoryGasUsed == 0 || res.AccountGasUsed == 0 || res.VerificationGasUsed <= res.FactoryGasUsed+res.AccountGasUsed {
				t.Errorf("gas: have factory %d and account %d in %d", res.FactoryGasUsed, res.AccountGasUsed, res.VerificationGasUsed)
			}
		})
		t.Run("plain", func(t *testing.T) {
			op := f.sign(f.op(a))
			res, err := f.validate(op)
			if err != nil {
				t.Fatal(err)
			}
			hash := f.call(ep.Address, entrypoint.EncodeGetUserOpHash(op))
			if res.Hash != common.BytesToHash(hash) {
				t.Errorf("hash: have %s, want the EntryPoint's %x", res.Hash, hash)
			}
			if want := op.MaxCost(); res.Prefund != want {
				t.Errorf("prefund: have %s, want %s", res.Prefund.Dec(), want.Dec())
			}
			if res.ValidAfter != 0 || res.ValidUntil != 0 || res.Paymaster != nil || res.Factory != nil || len(res.Created) != 0 {
				t.Errorf("have %+v, want no range, no paymaster, no factory, nothing created", res)
			}
			if len(res.Accessed) != 1 {
				t.Errorf("accessed: have %v, want the account's implementation alone", res.Accessed)
			}
			if _, read := res.ReadSet.Slot(ep.Address, entrypoint.NonceSlot(v, op.Sender, uint256.Int{})); !read {
				t.Error("the read set lacks the nonce")
			}
			if res.PreOpGas <= res.VerificationGasUsed+op.PreVerificationGas-1 {
				t.Errorf("preOpGas: have %d, want over %d", res.PreOpGas, res.VerificationGasUsed+op.PreVerificationGas-1)
			}
		})
		t.Run("sponsored", func(t *testing.T) {
			until := f.head().Time + 1_000
			op := f.sign(f.sponsored(f.op(a), until, 1))
			res, err := f.validate(op)
			if err != nil {
				t.Fatal(err)
			}
			if res.ValidUntil != until || res.ValidAfter != 1 || res.InBlocks {
				t.Errorf("range: have %d to %d, want 1 to %d", res.ValidAfter, res.ValidUntil, until)
			}
			p := res.Paymaster
			if p == nil || p.Address != *op.Paymaster || !p.Staked || p.Stake.IsZero() || p.Deposit.IsZero() || p.UnstakeDelaySec == 0 {
				t.Errorf("paymaster: have %+v, want it with stake and deposit", p)
			}
			if res.PaymasterGasUsed == 0 || v.Packed() != (res.PaymasterVerificationGasUsed > res.PaymasterGasUsed) {
				t.Errorf("paymaster gas: have %d of %d", res.PaymasterGasUsed, res.PaymasterVerificationGasUsed)
			}
		})
		t.Run("behind another one", func(t *testing.T) {
			op := f.op(a)
			op.Nonce.AddUint64(&op.Nonce, 2)
			f.sign(op)
			_, err := f.validate(op)
			refusedAs(t, err, rejection.EntryPointRejected, "AA25 invalid account nonce")
			if _, err := f.v.Validate(t.Context(), f.head(), ep, op, validation.Options{NonceAhead: 2}); err != nil {
				t.Errorf("with two ahead: %v", err)
			}
		})
	})
}

func TestDelegatedAccounts(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		if v == userop.V06 {
			return // there is no EIP-7702 account for v0.6
		}
		key := f.chain.Keys()[2+int(v)]
		op := f.signHash(f.delegated(v, key), key)
		res, err := f.validate(op)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(res.Accessed, op.Authorization.Address) {
			t.Errorf("accessed: have %v, want the delegate in it", res.Accessed)
		}
		if res.Factory != nil {
			t.Errorf("factory: have %+v, want none", res.Factory)
		}

		stale := *op
		auth := *op.Authorization
		auth.Nonce++
		signed, err := types.SignSetCode(key, auth)
		if err != nil {
			t.Fatal(err)
		}
		stale.Authorization = &signed
		_, err = f.validate(f.signHash(&stale, key))
		refusedAs(t, err, rejection.InvalidFields, "eip7702Auth.nonce: ")

		bare := *op
		bare.Authorization = nil
		_, err = f.validate(f.signHash(&bare, key))
		refusedAs(t, err, rejection.EntryPointRejected, "AA20 account not deployed")
	})
}

func TestRefusals(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		a := f.deployed(v, 1)
		fresh := f.account(v, 2)
		poor := f.account(v, 3)
		now := f.head().Time
		paymaster := f.chain.Contracts().Paymasters[v]
		expensive := *uint256.NewInt(100_000 * params.GWei)

		// An account's and a paymaster's revert is bubbled up from v0.7 on, and written into the text in v0.6.
		cases := []struct {
			name    string
			op      func() *userop.UserOperation
			kind    rejection.Kind
			message string
			entity  erc7562.Entity
		}{
			{"bad signature", func() *userop.UserOperation {
				return f.signWith(f.op(a), f.chain.Keys()[5])
			}, rejection.InvalidSignature, "AA24 signature error", erc7562.Sender},
			{"malformed signature", func() *userop.UserOperation {
				op := f.op(a)
				op.Signature = []byte{1, 2, 3}
				return op
			}, rejection.EntryPointRejected, "AA23 reverted", erc7562.Sender},
			{"wrong nonce", func() *userop.UserOperation {
				op := f.op(a)
				op.Nonce.AddUint64(&op.Nonce, 1)
				return f.sign(op)
			}, rejection.EntryPointRejected, "AA25 invalid account nonce", erc7562.Sender},
			{"not enough money", func() *userop.UserOperation {
				return f.sign(creating(poor, f.op(poor)))
			}, rejection.EntryPointRejected, "AA21 didn't pay prefund", erc7562.Sender},
			{"not deployed", func() *userop.UserOperation {
				return f.sign(f.op(fresh))
			}, rejection.EntryPointRejected, "AA20 account not deployed", erc7562.NoEntity},
			{"deployed already", func() *userop.UserOperation {
				return f.sign(creating(a, f.op(a)))
			}, rejection.EntryPointRejected, "AA10 sender already constructed", erc7562.NoEntity},
			{"factory fails", func() *userop.UserOperation {
				op := creating(fresh, f.op(fresh))
				op.FactoryData = []byte{0xde, 0xad, 0xbe, 0xef}
				return f.sign(op)
			}, rejection.EntryPointRejected, "AA13 initCode failed or OOG", erc7562.Factory},
			{"factory makes another account", func() *userop.UserOperation {
				op := creating(fresh, f.op(fresh))
				op.FactoryData = poor.factoryData
				return f.sign(op)
			}, rejection.EntryPointRejected, "AA14 initCode must return sender", erc7562.Factory},
			{"factory without code", func() *userop.UserOperation {
				op := creating(fresh, f.op(fresh))
				op.Factory = &common.Address{19: 0xfe, 0: 1}
				return f.sign(op)
			}, rejection.EntryPointRejected, "AA13 initCode failed or OOG", erc7562.Factory},
			{"paymaster without code", func() *userop.UserOperation {
				op := f.sponsored(f.op(a), 0, 0)
				op.Paymaster = &common.Address{19: 0xfe, 0: 1}
				return f.sign(op)
			}, rejection.PaymasterRejected, "AA30 paymaster not deployed", erc7562.Paymaster},
			{"paymaster's deposit too low", func() *userop.UserOperation {
				op := f.op(a)
				op.MaxFeePerGas = *new(uint256.Int).Mul(&expensive, uint256.NewInt(100_000))
				return f.sign(f.sponsored(op, 0, 0))
			}, rejection.PaymasterDepositLow, "AA31 paymaster deposit too low", erc7562.Paymaster},
			{"sponsorship expired", func() *userop.UserOperation {
				return f.sign(f.sponsored(f.op(a), now-10, 0))
			}, rejection.OutOfTimeRange, "AA32 paymaster expired or not due", erc7562.Paymaster},
			{"sponsorship not due", func() *userop.UserOperation {
				return f.sign(f.sponsored(f.op(a), 0, now+100))
			}, rejection.OutOfTimeRange, "AA32 paymaster expired or not due", erc7562.Paymaster},
			{"sponsorship expires too soon", func() *userop.UserOperation {
				return f.sign(f.sponsored(f.op(a), now+10, 0))
			}, rejection.OutOfTimeRange, "expires too soon", erc7562.Sender},
			{"paymaster reverts", func() *userop.UserOperation {
				op := f.sponsored(f.op(a), 0, 0)
				op.PaymasterData = op.PaymasterData[:100]
				return f.sign(op)
			}, rejection.PaymasterRejected, "AA33 reverted", erc7562.Paymaster},
			{"paymaster's signature wrong", func() *userop.UserOperation {
				op := f.sponsored(f.op(a), 0, 0)
				op.CallGasLimit++
				return f.sign(op)
			}, rejection.PaymasterRejected, "AA34 signature error", erc7562.Paymaster},
			{"fee under the base fee", func() *userop.UserOperation {
				op := f.op(a)
				op.MaxFeePerGas, op.MaxPriorityFeePerGas = *uint256.NewInt(1_000), *uint256.NewInt(1_000)
				return f.sign(op)
			}, rejection.InvalidFields, "maxFeePerGas: have 1000, want at least the next block's base fee", erc7562.NoEntity},
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				_, err := f.validate(c.op())
				refused := refusedAs(t, err, c.kind, c.message)
				if refused.Entity != c.entity {
					t.Errorf("entity: have %v, want %v", refused.Entity, c.entity)
				}
				if c.entity == erc7562.Paymaster && c.name != "paymaster without code" &&
					(refused.Data.Paymaster == nil || *refused.Data.Paymaster != paymaster) {
					t.Errorf("data: have %+v, want the paymaster", refused.Data)
				}
				if c.entity == erc7562.Factory && refused.Data.Factory == nil {
					t.Errorf("data: have %+v, want the factory", refused.Data)
				}
				if c.kind == rejection.OutOfTimeRange && refused.Data.ValidAfter == "" {
					t.Errorf("data: have %+v, want the range", refused.Data)
				}
			})
		}
	})
}

func TestRevertReasonsAreDecoded(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		a := f.deployed(v, 1)
		op := f.op(a)
		op.Signature = []byte{1, 2, 3}
		_, err := f.validate(op)
		want := map[userop.Version]string{
			userop.V06: "AA23 reverted: ECDSA: invalid signature length",
			userop.V07: "AA23 reverted: reverted with 0xfce698f7", // ECDSAInvalidSignatureLength(uint256)
			userop.V08: "AA23 reverted: reverted with 0xfce698f7",
			userop.V09: "AA23 reverted: reverted with 0xfce698f7",
		}[v]
		refused := refusedAs(t, err, rejection.EntryPointRejected, want)
		if v.Packed() != strings.HasPrefix(refused.Data.RevertData, "0xfce698f7") {
			t.Errorf("revert data: have %q", refused.Data.RevertData)
		}
	})
}

// The gas that Validate reports is what the EntryPoint itself compares with the limits: a limit of just that much is
// enough for the EntryPoint (and refused for the missing slack), one unit less is not.
func TestVerificationGasIsWhatTheEntryPointMeasures(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		a := f.deployed(v, 1)
		over := "AA26 over verificationGasLimit"
		if v == userop.V06 {
			over = "AA40 over verificationGasLimit"
		}
		t.Run("account", func(t *testing.T) {
			res, err := f.validate(f.sign(f.op(a)))
			if err != nil {
				t.Fatal(err)
			}
			with := func(limit uint64) error {
				op := f.op(a)
				op.CallGasLimit += op.VerificationGasLimit - limit // the same prefund, so that the account does the same
				op.VerificationGasLimit = limit
				_, err := f.validate(f.sign(op))
				return err
			}
			used := res.VerificationGasUsed
			refusedAs(t, with(used-1), rejection.EntryPointRejected, over)
			refused := refusedAs(t, with(used), rejection.EntryPointRejected, "verificationGasLimit: have")
			if refused.Data.Rule != "LIM-030" {
				t.Errorf("rule: have %q, want LIM-030", refused.Data.Rule)
			}
			refusedAs(t, with(used+3_999), rejection.EntryPointRejected, "verificationGasLimit: have")
			if err := with(used + 4_000); err != nil {
				t.Errorf("with the slack: %v", err)
			}
		})
		t.Run("paymaster", func(t *testing.T) {
			res, err := f.validate(f.sign(f.sponsored(f.op(a), 0, 0)))
			if err != nil {
				t.Fatal(err)
			}
			with := func(limit uint64) error {
				op := f.sponsored(f.op(a), 0, 0)
				if v.Packed() {
					op.PaymasterVerificationGasLimit = limit
				} else {
					op.VerificationGasLimit = limit
				}
				return func() error { _, err := f.validate(f.sign(f.responsored(op))); return err }()
			}
			used, kind, text := res.PaymasterVerificationGasUsed, rejection.PaymasterRejected, "AA36 over "
			if v == userop.V06 {
				used, kind, text = res.VerificationGasUsed, rejection.EntryPointRejected, over
			}
			refusedAs(t, with(used-1), kind, text)
			refused := refusedAs(t, with(used), rejection.EntryPointRejected, "")
			if refused.Data.Rule != "LIM-030" {
				t.Errorf("rule: have %q, want LIM-030", refused.Data.Rule)
			}
			if err := with(used + 4_000); err != nil {
				t.Errorf("with the slack: %v", err)
			}
		})
	})
}

// The node's trouble is an error of its own and never a refusal.
func TestNodeTroubleIsNoRefusal(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	op := f.sign(f.op(a))
	broken := errors.New("connection reset")
	node := &flakyNode{Node: f.node, err: broken}
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{})
	for fails := range 3 {
		node.failAfter = fails
		_, err := v.Validate(t.Context(), f.head(), a.entryPoint, op, validation.Options{})
		if err == nil {
			break // fewer reads than that are needed
		}
		var refused *rejection.Rejection
		if errors.As(err, &refused) || !errors.Is(err, broken) || !evm.IsStateError(err) {
			t.Errorf("failing after %d batches: have %v, want a state error with the node's", fails, err)
		}
	}
	node.failAfter = 1000
	if _, err := v.Validate(t.Context(), f.head(), a.entryPoint, op, validation.Options{}); err != nil {
		t.Errorf("once the node is back: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := validation.New(evm.NewSource(f.node, f.chain.ChainConfig(), evm.Options{}), validation.Config{})
	if _, err := fresh.Validate(ctx, f.head(), a.entryPoint, op, validation.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: have %v, want context.Canceled", err)
	}
}

// A known account takes one round trip at a new head, an unknown one at most three.
func TestRoundTrips(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		known, other := f.deployed(v, 1), f.deployed(v, 2)
		check := func(a account, most int) {
			t.Helper()
			if _, err := f.validate(f.sign(f.op(a))); err != nil {
				t.Fatal(err)
			}
			if stats := f.v.Source().View(f.head()).Stats(); stats.RoundTrips > most {
				t.Errorf("have %d round trips, want at most %d", stats.RoundTrips, most)
			}
		}
		check(known, 3)
		f.mine()
		check(known, 1)
		f.mine()
		check(other, 2)
	})
}

// flakyNode fails every batch after the first failAfter.
type flakyNode struct {
	evm.Node
	failAfter int
	err       error
}

func (n *flakyNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	if n.failAfter == 0 {
		return n.err
	}
	n.failAfter--
	return n.Node.BatchCallContext(ctx, batch)
}
