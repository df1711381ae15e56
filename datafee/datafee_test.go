package datafee_test

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"baler/datafee"
	"baler/devchain"
	"baler/entrypoint/artifacts"
	"baler/evm"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// countingNode counts round trips, and refuses what it is told to.
type countingNode struct {
	*rpc.Client
	trips int
	down  error
}

func (n *countingNode) CallContext(ctx context.Context, result any, method string, args ...any) error {
	n.trips++
	if n.down != nil {
		return n.down
	}
	return n.Client.CallContext(ctx, result, method, args...)
}

func (n *countingNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	n.trips++
	return n.Client.BatchCallContext(ctx, batch)
}

// rollup is a chain with contracts that tell data fees.
type rollup struct {
	*devchain.Chain
	node *countingNode
}

func startRollup(t *testing.T, alloc types.GenesisAlloc) *rollup {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: alloc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &rollup{chain, &countingNode{Client: client}}
}

func (r *rollup) source() *evm.Source {
	return evm.NewSource(r.node, r.ChainConfig(), evm.Options{})
}

func (r *rollup) mine(t *testing.T) {
	t.Helper()
	if _, err := r.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// call asks the node to call a function of an artifact's contract.
func (r *rollup) call(t *testing.T, artifact string, to common.Address, function string, args ...any) []any {
	t.Helper()
	a, err := artifacts.Load(artifact)
	if err != nil {
		t.Fatal(err)
	}
	input, err := a.ABI.Pack(function, args...)
	if err != nil {
		t.Fatal(err)
	}
	var output hexutil.Bytes
	msg := map[string]any{"to": to, "input": hexutil.Bytes(input), "gas": hexutil.Uint64(50_000_000)}
	if err := r.node.Client.CallContext(t.Context(), &output, "eth_call", msg, "latest"); err != nil {
		t.Fatal(err)
	}
	values, err := a.ABI.Unpack(function, output)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func someTransaction(n int) datafee.Transaction {
	tx := datafee.Transaction{To: common.Address{0xe7}}
	for i := range n {
		tx.Data = append(tx.Data, byte(i*i>>2), 0, byte(i))
	}
	return tx
}

// An OP stack chain's cost is what its oracle says of the transaction, whatever upgrade it has seen; and what the oracle
// looks at is read with everything else.
func TestOPStackCostIsTheOracles(t *testing.T) {
	for name, upgrade := range map[string]devchain.OPUpgrade{"Fjord": devchain.Fjord, "Ecotone": devchain.Ecotone, "Bedrock": devchain.Bedrock} {
		t.Run(name, func(t *testing.T) {
			alloc, err := devchain.OPStackContracts(upgrade, devchain.HeavyL1Prices(), devchain.HeavyOperatorFee())
			if err != nil {
				t.Fatal(err)
			}
			r := startRollup(t, alloc)
			oracle, source := datafee.New(datafee.OPStack), r.source()
			for round := range 3 {
				r.mine(t)
				for _, size := range []int{0, 10, 300, 5_000} {
					tx := someTransaction(size)
					if size == 300 {
						tx.Authorizations = []types.SetCodeAuthorization{{Address: common.Address{9}, Nonce: 4, V: 1, R: *uint256.NewInt(77), S: *uint256.NewInt(99)}}
					}
					view, before := source.View(r.Head()), r.node.trips
					quote := oracle.Quote(tx)
					if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{oracle.Reads()}, quote.Questions()...); err != nil {
						t.Fatal(err)
					}
					cost, err := quote.Cost(t.Context(), view)
					if err != nil {
						t.Fatal(err)
					}
					if most := map[bool]int{true: 1, false: 0}[size == 0]; r.node.trips-before > most {
						t.Errorf("round %d, %d bytes: have %d round trips, want at most %d", round, len(tx.Data), r.node.trips-before, most)
					}
					encoded := encodeUnsigned(t, r, tx)
					want, ok := r.call(t, "shared/GasPriceOracle.json", oracleAddress, "getL1Fee", encoded)[0].(*big.Int)
					if !ok || cost.Fee.CmpBig(want) != 0 || cost.Gas != 0 || cost.Fee.IsZero() || cost.Of(1<<40) != cost.Fee {
						t.Errorf("round %d, %d bytes: have %s wei and %d gas, want %s wei", round, len(tx.Data), cost.Fee.Dec(), cost.Gas, want)
					}
				}
			}
		})
	}
}

// Since Isthmus a transaction pays the chain's operator too, by the gas that it uses: as the oracle says, by the formula of each upgrade,
// written down here once more. It is learnt in the round trip of the prices, and both are asked again at each block.
func TestTheOperatorFeeIsTheOracles(t *testing.T) {
	fee := devchain.OperatorFee{Scalar: 1_234_567, Constant: 98_765}
	for upgrade, want := range map[devchain.OPUpgrade]func(used *big.Int) *big.Int{
		devchain.Isthmus: func(used *big.Int) *big.Int {
			return used.Div(used.Mul(used, big.NewInt(1_234_567)), big.NewInt(1_000_000))
		},
		devchain.Jovian: func(used *big.Int) *big.Int { return used.Mul(used, big.NewInt(123_456_700)) },
	} {
		alloc, err := devchain.OPStackContracts(upgrade, devchain.HeavyL1Prices(), fee)
		if err != nil {
			t.Fatal(err)
		}
		r := startRollup(t, alloc)
		oracle, source := datafee.New(datafee.OPStack), r.source()
		for round := range 2 {
			r.mine(t)
			view, before := source.View(r.Head()), r.node.trips
			quote := oracle.Quote(someTransaction(300))
			if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{oracle.Reads()}, quote.Questions()...); err != nil {
				t.Fatal(err)
			}
			cost, err := quote.Cost(t.Context(), view)
			if err != nil {
				t.Fatal(err)
			}
			if trips := r.node.trips - before; trips > 1 {
				t.Errorf("upgrade %d, round %d: have %d round trips, want one", upgrade, round, trips)
			}
			if data := devchain.HeavyL1Prices(); cost.Fee != data.Fee(gas.FastLZLength(encodeUnsigned(t, r, someTransaction(300)))+gas.SignatureBytes) {
				t.Errorf("upgrade %d: have %s wei for data, want what Fjord's formula says", upgrade, cost.Fee.Dec())
			}
			for _, used := range []uint64{0, 1, 21_000, 999_999, 1_000_001, 30_000_000} {
				operator := cost.Of(used)
				operator.Sub(&operator, &cost.Fee)
				told := r.call(t, "shared/GasPriceOracleIsthmus.json", oracleAddress, "getOperatorFee", new(big.Int).SetUint64(used))[0].(*big.Int)
				formula := want(new(big.Int).SetUint64(used))
				if formula.Add(formula, big.NewInt(98_765)); operator.CmpBig(told) != 0 || operator.CmpBig(formula) != 0 {
					t.Errorf("upgrade %d, %d gas: have %s wei, want %s of the contract and %s of the formula", upgrade, used, operator.Dec(), told, formula)
				}
			}
		}
	}
}

// encodeUnsigned is a second way to the bytes that the oracle is asked about: go-ethereum's own, of a transaction with the
// values that stand for what is not known yet.
func encodeUnsigned(t *testing.T, r *rollup, tx datafee.Transaction) []byte {
	t.Helper()
	var inner types.TxData = &types.DynamicFeeTx{
		ChainID: r.ChainConfig().ChainID, Nonce: datafee.SomeNonce, GasTipCap: big.NewInt(datafee.SomeTip),
		GasFeeCap: big.NewInt(datafee.SomeFee), Gas: datafee.SomeGas, To: &tx.To, Data: tx.Data,
	}
	if len(tx.Authorizations) > 0 {
		inner = &types.SetCodeTx{
			ChainID: uint256.MustFromBig(r.ChainConfig().ChainID), Nonce: datafee.SomeNonce, GasTipCap: uint256.NewInt(datafee.SomeTip),
			GasFeeCap: uint256.NewInt(datafee.SomeFee), Gas: datafee.SomeGas, To: tx.To, Data: tx.Data, AuthList: tx.Authorizations,
		}
	}
	signed, err := types.NewTx(inner).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var fields []rlp.RawValue
	if err := rlp.DecodeBytes(signed[1:], &fields); err != nil {
		t.Fatal(err)
	}
	unsigned, err := rlp.EncodeToBytes(fields[:len(fields)-3]) // v, r, s
	if err != nil {
		t.Fatal(err)
	}
	return append(signed[:1:1], unsigned...)
}

// An Arbitrum chain's cost is gas, as its node says, asked in the round trip of another read or by itself.
func TestArbitrumCostIsNodeInterfaces(t *testing.T) {
	alloc, err := devchain.DataFeeContracts(datafee.Arbitrum)
	if err != nil {
		t.Fatal(err)
	}
	r := startRollup(t, alloc)
	oracle := datafee.New(datafee.Arbitrum)
	view := r.source().View(r.Head())
	for _, size := range []int{0, 10, 5_000} {
		tx := someTransaction(size)
		want, ok := r.call(t, "shared/NodeInterface.json", common.Address{19: 0xc8}, "gasEstimateL1Component", tx.To, false, tx.Data)[0].(uint64)
		if !ok || want == 0 {
			t.Fatalf("have %d, want some gas", want)
		}
		for _, alone := range []bool{true, false} {
			r.node.trips = 0
			quote := oracle.Quote(tx)
			if !alone {
				if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{oracle.Reads()}, quote.Questions()...); err != nil {
					t.Fatal(err)
				}
			}
			cost, err := quote.Cost(t.Context(), view)
			if err != nil || cost.Gas != want || !cost.Fee.IsZero() || r.node.trips != 1 {
				t.Errorf("%d bytes, alone %t: have %+v (%v) in %d round trips, want %d gas in one", len(tx.Data), alone, cost, err, r.node.trips, want)
			}
		}
	}
	plain, err := oracle.Quote(someTransaction(9)).Cost(t.Context(), view)
	if err != nil {
		t.Fatal(err)
	}
	tx := someTransaction(9)
	tx.Authorizations = make([]types.SetCodeAuthorization, 2)
	if delegating, err := oracle.Quote(tx).Cost(t.Context(), view); err != nil || delegating.Gas <= plain.Gas {
		t.Errorf("with two authorizations: have %+v (%v), want more than %d gas", delegating, err, plain.Gas)
	}
}

// A chain that is not of the kind is an error that says so; a node that is down is another one; and where nothing is
// charged nothing is asked.
func TestNoOracle(t *testing.T) {
	r := startRollup(t, nil)
	view := r.source().View(r.Head())
	for _, kind := range []datafee.Kind{datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		if _, err := datafee.New(kind).Quote(someTransaction(9)).Cost(t.Context(), view); !errors.Is(err, datafee.ErrNoOracle) {
			t.Errorf("%v: have %v, want %v", kind, err, datafee.ErrNoOracle)
		}
	}
	r.node.down = errors.New("connection refused")
	if _, err := datafee.New(datafee.Arbitrum).Quote(someTransaction(9)).Cost(t.Context(), view); !errors.Is(err, r.node.down) || errors.Is(err, datafee.ErrNoOracle) {
		t.Errorf("down: have %v, want %v", err, r.node.down)
	}
	r.node.trips = 0
	for _, oracle := range []*datafee.Oracle{nil, datafee.New(datafee.None)} {
		quote := oracle.Quote(someTransaction(9))
		if cost, err := quote.Cost(t.Context(), view); err != nil || cost != (datafee.Cost{}) || r.node.trips != 0 || oracle.Reads().Len() != 0 {
			t.Errorf("none: have %+v, %v after %d round trips, want nothing", cost, err, r.node.trips)
		}
	}
}

func TestCostAsGas(t *testing.T) {
	wei := uint256.NewInt
	operator := gas.NewOperatorFee(3_000_000, 10, false) // 3 wei for a gas
	for _, test := range []struct {
		cost        datafee.Cost
		price, used uint64
		want        uint64
	}{
		{datafee.Cost{}, 0, 9, 0},
		{datafee.Cost{Gas: 7}, 0, 9, 7},
		{datafee.Cost{Fee: *wei(10)}, 5, 9, 2},
		{datafee.Cost{Fee: *wei(11)}, 5, 9, 3},
		{datafee.Cost{Fee: *wei(11), Gas: 4}, 5, 9, 7},
		{datafee.Cost{Fee: *wei(1)}, 0, 9, ^uint64(0)},
		{datafee.Cost{Fee: *wei(1), Gas: 1}, 0, 9, ^uint64(0)},
		{datafee.Cost{Fee: *new(uint256.Int).Lsh(wei(1), 70)}, 1, 9, ^uint64(0)},
		{datafee.Cost{Operator: operator}, 5, 0, 2},
		{datafee.Cost{Operator: operator}, 5, 9, 8},
		{datafee.Cost{Fee: *wei(4), Gas: 1, Operator: operator}, 5, 9, 10},
		{datafee.Cost{Fee: *new(uint256.Int).SetAllOne(), Operator: operator}, 5, 9, ^uint64(0)},
		{datafee.Cost{Operator: gas.OperatorFee{PerMillionGas: *new(uint256.Int).SetAllOne()}}, 5, 9, ^uint64(0)},
	} {
		if have := test.cost.At(*wei(test.price), test.used); have != test.want {
			t.Errorf("%+v at %d for %d gas: have %d, want %d", test.cost, test.price, test.used, have, test.want)
		}
	}
}

func TestKindsAreReadAsTheyAreWritten(t *testing.T) {
	for _, kind := range []datafee.Kind{datafee.None, datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		if have, err := datafee.ParseKind(kind.String()); err != nil || have != kind {
			t.Errorf("%v: have %v, %v", kind, have, err)
		}
	}
	if _, err := datafee.ParseKind("zk"); !errors.Is(err, datafee.ErrKind) {
		t.Errorf("have %v, want %v", err, datafee.ErrKind)
	}
}

// What an operation is estimated to cost before it is signed is, but for a few bytes of luck, what it costs in the end.
func TestWorstIsNoLessThanWhatComes(t *testing.T) {
	length := func(op *userop.UserOperation) uint64 { return gas.FastLZLength(op.AppendABI(nil)) }
	rapid.Check(t, func(t *rapid.T) {
		paymaster := common.Address{0xaa}
		version := rapid.SampledFrom(userop.Versions()).Draw(t, "version")
		draft := &userop.UserOperation{
			Version: version, Sender: common.Address{1}, CallData: anyData().Draw(t, "call data"),
			Signature: make([]byte, rapid.IntRange(0, 300).Draw(t, "signature")),
		}
		if rapid.Bool().Draw(t, "paymaster") {
			draft.Paymaster, draft.PaymasterData = &paymaster, make([]byte, rapid.IntRange(0, 200).Draw(t, "paymaster data"))
		}
		before := *draft
		worst := length(datafee.Worst(draft))
		final := *draft
		final.Signature = rapid.SliceOfN(rapid.Byte(), len(draft.Signature), len(draft.Signature)).Draw(t, "signed")
		final.PaymasterData = rapid.SliceOfN(rapid.Byte(), len(draft.PaymasterData), len(draft.PaymasterData)).Draw(t, "sponsored")
		for _, limit := range []*uint64{&final.CallGasLimit, &final.VerificationGasLimit, &final.PreVerificationGas} {
			*limit = uint64(rapid.Uint32().Draw(t, "limit"))
		}
		final.MaxFeePerGas.SetUint64(rapid.Uint64().Draw(t, "fee"))
		const luck = 12
		if have := length(&final); have > worst+luck {
			t.Fatalf("have %d bytes in the end, want at most %d", have, worst)
		}
		if draft.MaxFeePerGas != before.MaxFeePerGas || len(draft.Signature) != len(before.Signature) || draft.CallGasLimit != 0 {
			t.Fatal("the operation given was changed")
		}
	})
}

// The fee of a Scroll chain is what its L1GasPriceOracle says of the signed transaction, to the wei, by every upgrade's rules. The formulas
// here are written down apart from the contract's code.
func TestScrollFeesAreTheContracts(t *testing.T) {
	t.Parallel()
	const at = "0x5300000000000000000000000000000000000002"
	p := devchain.HeavyScrollPrices()
	p.PenaltyFactor = 1_500_000_000
	billion := big.NewInt(1_000_000_000)
	n := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	add := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
	commit, blob := mul(n(p.CommitScalar), n(p.BaseFee)), mul(n(p.BlobScalar), n(p.BlobBaseFee))
	for upgrade, formula := range map[devchain.ScrollUpgrade]func(data []byte) *big.Int{
		devchain.BeforeCurie: func(data []byte) *big.Int {
			used := p.Overhead + 64
			for _, b := range data {
				used += 16
				if b == 0 {
					used -= 12
				}
			}
			return mul(mul(n(used), n(p.BaseFee)), n(p.Scalar))
		},
		devchain.Curie: func(data []byte) *big.Int { return add(commit, mul(blob, n(uint64(len(data))))) },
		devchain.Feynman: func(data []byte) *big.Int {
			sum := mul(mul(add(commit, blob), n(uint64(len(data)))), n(p.PenaltyFactor))
			return sum.Div(sum, billion)
		},
		devchain.Galileo: func(data []byte) *big.Int {
			base := mul(add(commit, blob), n(uint64(len(data))))
			penalty := mul(base, n(uint64(len(data))))
			return add(base, penalty.Div(penalty, n(p.PenaltyFactor)))
		},
	} {
		alloc, err := devchain.ScrollContracts(upgrade, p)
		if err != nil {
			t.Fatal(err)
		}
		r := startRollup(t, alloc)
		for _, tx := range []datafee.Transaction{
			{To: common.Address{1}}, someTransaction(1000), {To: common.Address{2}, Data: []byte{1}, Authorizations: []types.SetCodeAuthorization{{Nonce: 7}}},
		} {
			oracle := datafee.New(datafee.Scroll)
			view := r.source().View(r.Head())
			quote := oracle.Quote(tx)
			if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{oracle.Reads()}, quote.Questions()...); err != nil {
				t.Fatal(err)
			}
			before := r.node.trips
			cost, err := quote.Cost(t.Context(), view)
			if err != nil {
				t.Fatal(err)
			}
			if r.node.trips != before {
				t.Errorf("upgrade %d: the cost took %d round trips of its own", upgrade, r.node.trips-before)
			}
			data := signedTransaction(t, r, tx)
			want := r.call(t, "shared/L1GasPriceOracle.json", common.HexToAddress(at), "getL1Fee", data)[0].(*big.Int)
			if cost.Fee.ToBig().Cmp(want) != 0 || cost.Gas != 0 || want.Cmp(new(big.Int).Div(formula(data), billion)) != 0 {
				t.Errorf("upgrade %d, %d bytes: have %s wei and %d gas, want %s of the contract and %s of the formula", upgrade, len(data), cost.Fee.Dec(), cost.Gas, want, new(big.Int).Div(formula(data), billion))
			}
		}
	}
}

// signedTransaction is a transaction as it is sent, with a key that there is.
func signedTransaction(t *testing.T, r *rollup, tx datafee.Transaction) []byte {
	t.Helper()
	id := new(big.Int).SetUint64(r.ChainID())
	var body types.TxData = &types.DynamicFeeTx{
		ChainID: id, Nonce: datafee.SomeNonce, GasTipCap: big.NewInt(datafee.SomeTip), GasFeeCap: big.NewInt(datafee.SomeFee), Gas: datafee.SomeGas, To: &tx.To, Data: tx.Data,
	}
	if len(tx.Authorizations) > 0 {
		body = &types.SetCodeTx{
			ChainID: uint256.MustFromBig(id), Nonce: datafee.SomeNonce, GasTipCap: uint256.NewInt(datafee.SomeTip), GasFeeCap: uint256.NewInt(datafee.SomeFee), Gas: datafee.SomeGas,
			To: tx.To, Data: tx.Data, AuthList: tx.Authorizations,
		}
	}
	signed, err := types.SignNewTx(r.Keys()[0], types.NewPragueSigner(id), body)
	if err != nil {
		t.Fatal(err)
	}
	data, err := signed.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
