package validation_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

func rejectionIn(t *testing.T, err error) *rejection.Rejection {
	t.Helper()
	var refused *rejection.Rejection
	if !errors.As(err, &refused) {
		t.Fatalf("have %v, want a rejection", err)
	}
	return refused
}

func (f *fixture) bundler() common.Address {
	return crypto.PubkeyToAddress(f.chain.Keys()[0].PublicKey)
}

func (f *fixture) bundle(v userop.Version, ops ...*userop.UserOperation) validation.Bundle {
	return validation.Bundle{EntryPoint: entrypoint.Canonical(v), Ops: ops, Beneficiary: f.bundler(), Fees: f.fees()}
}

// A bundle that is run locally uses the gas and pays the money that the same transaction does when it is mined.
func TestBundleDoesWhatTheMinedTransactionDoes(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		fresh := f.account(v, 1)
		f.fund(fresh.address)
		plain, sponsored, failing := f.deployed(v, 2), f.deployed(v, 3), f.deployed(v, 4)
		failingOp := f.op(failing)
		failingOp.CallData = selector("noSuchFunction()")
		ops := []*userop.UserOperation{
			f.sign(creating(fresh, f.op(fresh))),
			f.sign(f.op(plain)),
			f.sign(f.sponsored(f.op(sponsored), 0, 0)),
			f.sign(failingOp),
		}
		b := f.bundle(v, ops...)
		// The mined block's time is what it will be; nothing in the bundle looks at it but the ranges.
		result, err := f.v.ValidateBundle(t.Context(), f.head(), b)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Failed) != 0 || len(result.Ops) != 4 {
			t.Fatalf("have %+v, want four operations and no failure", result)
		}
		for i, op := range result.Ops {
			if op.Index != i || op.Success != (i != 3) {
				t.Errorf("operation %d: have %+v", i, op)
			}
		}
		if result.CallGas == 0 || result.CallGas >= result.ExecutionGas || result.ExecutionGas >= result.GasUsed+result.GasUsed/5 {
			t.Errorf("gas: have %d for calls in %d, receipt %d", result.CallGas, result.ExecutionGas, result.GasUsed)
		}

		receipt := f.sendBundle(b)
		if result.GasUsed != receipt.GasUsed {
			t.Errorf("gas used: have %d locally, %d mined", result.GasUsed, receipt.GasUsed)
		}
		var revenue uint256.Int
		var costs []string
		for _, log := range receipt.Logs {
			if entrypoint.IsEvent(log, b.EntryPoint.Address, entrypoint.TopicUserOperationEvent) {
				event, err := entrypoint.ParseUserOperationEvent(log)
				if err != nil {
					t.Fatal(err)
				}
				revenue.Add(&revenue, &event.ActualGasCost)
				costs = append(costs, event.ActualGasCost.Dec())
			}
		}
		if result.Revenue != revenue {
			t.Errorf("revenue: have %s locally, %s mined", result.Revenue.Dec(), revenue.Dec())
		}
		var have []string
		for _, op := range result.Ops {
			have = append(have, op.ActualGasCost.Dec())
		}
		if diff := cmp.Diff(costs, have); diff != "" {
			t.Errorf("costs (-mined +local):\n%s", diff)
		}
	})
}

// sendBundle mines the bundle and returns its receipt.
func (f *fixture) sendBundle(b validation.Bundle) *types.Receipt {
	f.t.Helper()
	signer := types.LatestSigner(f.chain.ChainConfig())
	tx := types.MustSignNewTx(f.chain.Keys()[0], signer, &types.DynamicFeeTx{
		ChainID: f.chain.ChainConfig().ChainID, Nonce: f.nonce, To: &b.EntryPoint.Address,
		Data: entrypoint.EncodeHandleOps(b.EntryPoint.Version, b.Ops, b.Beneficiary),
		Gas:  params.MaxTxGas, GasFeeCap: b.Fees.MaxFee.ToBig(), GasTipCap: b.Fees.MaxPriority.ToBig(),
	})
	f.nonce++
	f.sendTx(tx)
	var receipt *types.Receipt
	if err := f.node.CallContext(f.t.Context(), &receipt, "eth_getTransactionReceipt", tx.Hash()); err != nil {
		f.t.Fatal(err)
	}
	return receipt
}

// Operations that fail are found one after the other, whatever stands around them, and the rest passes.
func TestBundleFindsEveryCulprit(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		good, bad := f.deployed(v, 1), f.deployed(v, 2)
		fresh, poor := f.account(v, 3), f.account(v, 4)
		now := f.head().Time
		kinds := map[string]func() *userop.UserOperation{
			"AA10": func() *userop.UserOperation { return f.sign(creating(bad, f.op(bad))) },
			"AA13": func() *userop.UserOperation {
				op := creating(fresh, f.op(fresh))
				op.FactoryData = []byte{0xde, 0xad, 0xbe, 0xef}
				return f.sign(op)
			},
			"AA20": func() *userop.UserOperation { return f.sign(f.op(fresh)) },
			"AA21": func() *userop.UserOperation { return f.sign(creating(poor, f.op(poor))) },
			"AA23": func() *userop.UserOperation {
				op := f.op(bad)
				op.Signature = []byte{1}
				return op
			},
			"AA24": func() *userop.UserOperation { return f.signWith(f.op(bad), f.chain.Keys()[7]) },
			"AA25": func() *userop.UserOperation {
				op := f.op(bad)
				op.Nonce.SetUint64(77)
				return f.sign(op)
			},
			"AA32": func() *userop.UserOperation { return f.sign(f.sponsored(f.op(bad), now-1, 0)) },
			"AA33": func() *userop.UserOperation {
				op := f.sponsored(f.op(bad), 0, 0)
				op.PaymasterData = op.PaymasterData[:100]
				return f.sign(op)
			},
		}
		if v == userop.V09 {
			delete(kinds, "AA10") // v0.9 ignores initCode of an account that is there
		}
		for code, make := range kinds {
			for at := range 3 {
				ops := []*userop.UserOperation{f.sign(f.op(good)), f.sign(f.sponsored(f.op(f.second(good)), 0, 0))}
				ops = append(ops[:at:at], append([]*userop.UserOperation{make()}, ops[at:]...)...)
				result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, ops...))
				if err != nil {
					t.Fatalf("%s at %d: %v", code, at, err)
				}
				if len(result.Failed) != 1 || result.Failed[0].Index != at || len(result.Ops) != 2 {
					t.Errorf("%s at %d: have %+v, want it to fail alone", code, at, result)
					continue
				}
				if have := result.Failed[0].Rejection.Message; !strings.HasPrefix(have, code) {
					t.Errorf("%s at %d: have %q", code, at, have)
				}
			}
		}

		// All of them at once, and nothing else.
		var ops []*userop.UserOperation
		for _, make := range kinds {
			ops = append(ops, make())
		}
		result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, ops...))
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[int]bool)
		for _, failure := range result.Failed {
			seen[failure.Index] = true
		}
		if len(seen) != len(ops) || len(result.Ops) != 0 || result.GasUsed != 0 {
			t.Errorf("have %+v, want all %d to fail", result, len(ops))
		}
	})
}

// second returns another deployed account of the same owner, made on first use.
func (f *fixture) second(a account) account {
	f.t.Helper()
	b := f.account(a.entryPoint.Version, 1_000)
	if len(f.code(b.address)) == 0 {
		b = f.deployed(a.entryPoint.Version, 1_000)
	}
	return b
}

func (f *fixture) code(a common.Address) hexutil.Bytes {
	f.t.Helper()
	var code hexutil.Bytes
	if err := f.node.CallContext(f.t.Context(), &code, "eth_getCode", a, "latest"); err != nil {
		f.t.Fatal(err)
	}
	return code
}

func TestBundleWithDelegatedAccount(t *testing.T) {
	f := newFixture(t, validation.Config{})
	for _, v := range []userop.Version{userop.V07, userop.V08, userop.V09} {
		key := f.chain.Keys()[2+int(v)]
		op := f.signHash(f.delegated(v, key), key)
		b := f.bundle(v, op)
		b.Authorizations = []types.SetCodeAuthorization{*op.Authorization}
		result, err := f.v.ValidateBundle(t.Context(), f.head(), b)
		if err != nil {
			t.Fatalf("%v: %v", v, err)
		}
		if len(result.Failed) != 0 || !result.Ops[0].Success {
			t.Errorf("%v: have %+v, want success", v, result)
		}
		b.Authorizations = nil
		result, err = f.v.ValidateBundle(t.Context(), f.head(), b)
		if v == userop.V07 {
			if err != nil || len(result.Failed) != 1 {
				t.Errorf("%v without the tuple: have %+v, %v, want a failure", v, result, err)
			}
			continue
		}
		if err != nil || len(result.Failed) != 1 || result.Failed[0].Entity != erc7562.Sender {
			t.Errorf("%v without the tuple: have %+v, %v, want the sender's failure", v, result, err)
		}
	}
}

// The node has the last word: an operation that its EntryPoint refuses leaves the bundle.
func TestTheNodeHasTheLastWord(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a, b := f.deployed(userop.V07, 1), f.deployed(userop.V07, 2)
	ops := []*userop.UserOperation{f.sign(f.op(a)), f.sign(f.op(b))}
	node := &refusingNode{Node: f.node, answers: []error{
		revertError{failedOp(1, "AA23 reverted")},
	}}
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{})
	result, err := v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V07, ops...))
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Failed) != 1 || result.Failed[0].Index != 1 || len(result.Ops) != 1 || result.Ops[0].Index != 0 {
		t.Errorf("have %+v, want the second operation to fail", result)
	}
	if node.calls != 2 {
		t.Errorf("have %d calls of eth_call, want one per bundle tried", node.calls)
	}

	for name, answer := range map[string]error{
		"an unknown revert":       revertError{[]byte{1, 2, 3, 4}},
		"an index out of range":   revertError{failedOp(9, "AA23 reverted")},
		"no revert, but an error": errors.New("rate limited"),
	} {
		node.answers = []error{answer}
		_, err := v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V07, ops...))
		var refused *rejection.Rejection
		if err == nil || errors.As(err, &refused) {
			t.Errorf("%s: have %v, want an error that is no refusal", name, err)
		}
	}
}

func failedOp(index uint64, reason string) []byte {
	data := append(selector("FailedOp(uint256,string)"), word(index)...)
	data = append(append(data, word(64)...), word(uint64(len(reason)))...)
	return append(data, common.RightPadBytes([]byte(reason), 32)...)
}

// refusingNode answers eth_call with the given errors, one after the other, then as the real node.
type refusingNode struct {
	evm.Node
	answers []error
	calls   int
}

func (n *refusingNode) CallContext(ctx context.Context, result any, method string, args ...any) error {
	if method == "eth_call" {
		n.calls++
		if len(n.answers) > 0 {
			err := n.answers[0]
			n.answers = n.answers[1:]
			return err
		}
	}
	return n.Node.CallContext(ctx, result, method, args...)
}

// revertError is how a node answers a call that reverts.
type revertError struct{ data []byte }

func (e revertError) Error() string  { return "execution reverted" }
func (e revertError) ErrorCode() int { return 3 }
func (e revertError) ErrorData() any { return hexutil.Encode(e.data) }

func TestBundleErrorsThatNoOperationIsToBlameFor(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	op := f.sign(f.op(a))

	t.Run("beneficiary takes no money", func(t *testing.T) {
		b := f.bundle(userop.V07, op)
		b.From, b.Beneficiary = f.bundler(), f.chain.Contracts().Counter
		if _, err := f.v.ValidateBundle(t.Context(), f.head(), b); !errors.Is(err, validation.ErrBundleReverts) {
			t.Errorf("have %v, want ErrBundleReverts", err)
		}
	})
	t.Run("more gas than a transaction may have", func(t *testing.T) {
		greedy := f.op(a)
		greedy.CallGasLimit = 20_000_000
		if _, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V07, f.sign(greedy))); !errors.Is(err, validation.ErrBundleGas) {
			t.Errorf("have %v, want ErrBundleGas", err)
		}
	})
	t.Run("fee under the base fee", func(t *testing.T) {
		b := f.bundle(userop.V07, op)
		b.Fees = gas.Fees{MaxFee: *uint256.NewInt(1)}
		_, err := f.v.ValidateBundle(t.Context(), f.head(), b)
		var refused *rejection.Rejection
		if err == nil || errors.As(err, &refused) {
			t.Errorf("have %v, want an error that is no refusal", err)
		}
	})
}
