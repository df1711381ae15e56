package proposer

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

type skips = map[*pool.Operation]SkipReason

func TestBestPayingFirst(t *testing.T) {
	s := newScene(t)
	low, high := operation(1, fees(1000, 20)), operation(2, fees(1000, 90))
	s.add(t, low, high)
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{high, low}, nil)
	b := p.Bundle
	if want := (gas.Fees{MaxFee: *uint256.NewInt(137), MaxPriority: *uint256.NewInt(10)}); b.Fees != want || p.Fees != want {
		t.Errorf("fees: have %v, want %v", b.Fees, want)
	}
	if want := entrypoint.EncodeHandleOps(userop.V07, []*userop.UserOperation{high.Op, low.Op}, address('b', 0)); !slices.Equal(b.CallData, want) {
		t.Error("the calldata is not handleOps of the operations")
	}
	if want := b.ExpectedGasUsed * 110; b.ExpectedCost.Uint64() != want { // base fee 100 + priority 10
		t.Errorf("expected cost: have %v, want %v", &b.ExpectedCost, want)
	}
	if b.GasLimit < b.ExpectedGasUsed {
		t.Errorf("gas limit %d is less than the measured gas %d", b.GasLimit, b.ExpectedGasUsed)
	}
	for _, op := range b.Ops {
		if holder := s.pool.Holder(op.Hash); holder != "x" {
			t.Errorf("operation of the bundle is held by %q, want x", holder)
		}
	}
}

// On a rollup the data of the bundle costs too: gas that its limit must allow, and wei that its profit must cover.
func TestDataCostsTheBundle(t *testing.T) {
	s := newScene(t)
	op := operation(1, fees(1000, 20))
	s.add(t, op)
	plain := s.propose(t, request()).Bundle
	s.validator.dataFee, s.validator.dataGas = *uint256.NewInt(7_777), 50_000
	b := s.propose(t, request()).Bundle
	if b.ExpectedGasUsed != plain.ExpectedGasUsed+50_000 || b.GasLimit < plain.GasLimit+55_000 {
		t.Errorf("gas: have %d of %d, want 50,000 more than %d of %d, and a margin", b.ExpectedGasUsed, b.GasLimit, plain.ExpectedGasUsed, plain.GasLimit)
	}
	if want := b.ExpectedGasUsed*110 + 7_777; b.ExpectedCost.Uint64() != want {
		t.Errorf("expected cost: have %v, want %v", &b.ExpectedCost, want)
	}
	s.validator.dataGas = 0
	s.validator.dataFee.Sub(&plain.ExpectedRevenue, &plain.ExpectedCost)
	if p := s.propose(t, request()); p.Bundle == nil {
		t.Errorf("what it earns is just enough: have %v, want a bundle", p.Reason)
	}
	s.validator.dataFee.AddUint64(&s.validator.dataFee, 1)
	if p := s.propose(t, request()); p.Bundle != nil || p.Reason != Unprofitable {
		t.Errorf("one wei short: have %v, want %v", p.Reason, Unprofitable)
	}
}

// EIP-7825: whatever is configured, no transaction has more than the chain's cap.
func TestTheChainsGasCapHolds(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxBundleGas = 1 << 30 })
	one, two := operation(1, fees(1000, 90)), operation(2, fees(1000, 80))
	s.add(t, one, two)
	req := request()
	req.GasCap = 400_000
	p := s.propose(t, req)
	wantBundle(t, p, []*pool.Operation{one}, map[*pool.Operation]SkipReason{two: GasLimitReached})
	if p.Bundle.GasLimit > req.GasCap {
		t.Errorf("have gas limit %d, want at most %d", p.Bundle.GasLimit, req.GasCap)
	}
}

func TestFeeFilter(t *testing.T) {
	exact := operation(1, fees(137, 10))
	cheap := operation(2, fees(136, 10))
	mean := operation(3, fees(1000, 9))
	t.Run("operations must cover the bundle's fees", func(t *testing.T) {
		s := newScene(t)
		s.add(t, exact, cheap, mean)
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{exact}, skips{cheap: MaxFeeTooLow, mean: PriorityFeeTooLow})
		i := slices.IndexFunc(p.Skipped, func(s Skip) bool { return s.Hash == cheap.Hash })
		if p.Skipped[i].Have.Uint64() != 136 || p.Skipped[i].Want.Uint64() != 137 {
			t.Errorf("have %v, want the numbers 136 and 137", p.Skipped[i])
		}
		if s.pool.Len() != 3 {
			t.Error("a skipped operation left the pool")
		}
		for _, op := range []*pool.Operation{cheap, mean} {
			if s.pool.Holder(op.Hash) != "" {
				t.Error("a skipped operation is still claimed")
			}
		}
	})
	t.Run("priority_fee_increase_percent 50 asks half as much again", func(t *testing.T) {
		s := newScene(t, func(c *Config) {
			c.PriorityFeeMode = gas.PriorityFeeMode{Kind: gas.PriorityFeeIncreasePercent, Value: 50}
		})
		fair := operation(4, fees(142, 15))
		s.add(t, exact, fair)
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{fair}, skips{exact: MaxFeeTooLow})
	})
	t.Run("base_fee_percent 40 asks 40 % of the base fee", func(t *testing.T) {
		s := newScene(t, func(c *Config) { c.PriorityFeeMode = gas.PriorityFeeMode{Kind: gas.BaseFeePercent, Value: 40} })
		fair := operation(4, fees(167, 40))
		s.add(t, exact, fair)
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{fair}, skips{exact: MaxFeeTooLow})
	})
	t.Run("a replacement asks only its own fees", func(t *testing.T) {
		s := newScene(t, func(c *Config) {
			c.PriorityFeeMode = gas.PriorityFeeMode{Kind: gas.PriorityFeeIncreasePercent, Value: 500}
		})
		op := operation(4, fees(300, 50))
		s.add(t, op)
		req := request()
		wantReason(t, s.propose(t, req), NoneLeftAfterFeeFilter)
		req.Floor = gas.Fees{MaxFee: *uint256.NewInt(200), MaxPriority: *uint256.NewInt(50)}
		wantBundle(t, s.propose(t, req), []*pool.Operation{op}, nil)
		req.Floor.MaxFee = *uint256.NewInt(301)
		wantReason(t, s.propose(t, req), NoneLeftAfterFeeFilter)
	})
}

func TestNothingThere(t *testing.T) {
	s := newScene(t)
	wantReason(t, s.propose(t, request()), NoOperations)
	s.add(t, operation(1))
	s.pool.Candidates(pool.Query{Builder: "y", EntryPoint: ep07.Address, MaxOps: 9, UntilBlock: 200})
	wantReason(t, s.propose(t, request()), NoOperations)
}

func TestGasLimitOfTheBundle(t *testing.T) {
	a, big, c := operation(1, fees(1000, 90)), operation(2, fees(1000, 80), callGas(400_000)), operation(3, fees(1000, 70))
	limit := func(p Packing) func(*Config) {
		return func(cfg *Config) { cfg.Packing, cfg.MaxBundleGas = p, 500_000 }
	}
	t.Run("priority: the first that does not fit ends the list", func(t *testing.T) {
		s := newScene(t, limit(PackPriority))
		s.add(t, a, big, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a}, skips{big: GasLimitReached, c: ListEnded})
	})
	t.Run("fill: what does not fit is passed over", func(t *testing.T) {
		s := newScene(t, limit(PackFill))
		s.add(t, a, big, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a, c}, skips{big: GasLimitReached})
	})
	t.Run("a share of the block", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, c)
		req := request()
		req.Head.GasLimit = 400_000 // 75 %: 300,000
		wantBundle(t, s.propose(t, req), []*pool.Operation{a}, skips{c: GasLimitReached})
	})
	t.Run("the signer's balance", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, c)
		req := request()
		req.Balance = *uint256.NewInt(137 * 400_000)
		wantBundle(t, s.propose(t, req), []*pool.Operation{a}, skips{c: BalanceReached})
		req.Balance = *uint256.NewInt(137 * 1000)
		wantReason(t, s.propose(t, req), SignerBalanceLow)
	})
	t.Run("nothing fits", func(t *testing.T) {
		s := newScene(t, limit(PackFill), func(c *Config) { c.MaxBundleGas = 100_000 })
		s.add(t, a)
		wantReason(t, s.propose(t, request()), NothingFits)
	})
	t.Run("operations and bytes", func(t *testing.T) {
		s := newScene(t, func(c *Config) { c.MaxBundleSize, c.Packing = 1, PackFill })
		s.add(t, a, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a}, skips{c: BundleFull})
		s = newScene(t, func(c *Config) { c.MaxBundleBytes, c.Packing = 2000, PackFill })
		long := operation(4, fees(1000, 85), calldata(1500))
		s.add(t, a, c, long)
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{a, c}, skips{long: BytesReached})
		s = newScene(t, func(cfg *Config) { cfg.MaxBundleBytes = uint64(len(p.Bundle.CallData)) - 1 })
		s.add(t, a, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a}, skips{c: BytesReached})
		if n := len(p.Bundle.CallData); n > 2000 {
			t.Errorf("calldata has %d bytes, want 2000 at most", n)
		}
	})
	t.Run("the measured limit comes out too high: the last is left out", func(t *testing.T) {
		s := newScene(t, func(c *Config) { c.MaxBundleGas = 430_000 })
		s.validator.callGas = 50_000
		s.add(t, a, c)
		s.proposer.config.GasMarginPercent = 200
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a}, skips{c: GasLimitReached})
	})
}

func TestSecondValidation(t *testing.T) {
	invalid := rejection.New(rejection.InvalidSignature, "AA24 signature error")
	a, b, c := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70))
	t.Run("what fails is to be removed, with its culprit", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, b)
		s.validator.refusals = map[common.Address]error{a.Op.Sender: &Refusal{Rejection: invalid, Culprit: erc7562.Sender}}
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{b}, nil)
		want := []Removal{{Hash: a.Hash, Rejection: invalid, Reason: pool.ValidationFailed, Culprit: erc7562.Sender}}
		if diff := cmp.Diff(want, p.Removed); diff != "" {
			t.Fatalf("removed (-want +have):\n%s", diff)
		}
		if s.pool.Holder(a.Hash) != "x" {
			t.Error("an operation to be removed went back to the others")
		}
	})
	t.Run("all fail", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a)
		s.validator.refusals = map[common.Address]error{a.Op.Sender: invalid}
		wantReason(t, s.propose(t, request()), NoneLeftAfterSimulation)
	})
	t.Run("the node's trouble is not the operation's", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, b)
		s.validator.refusals = map[common.Address]error{a.Op.Sender: errors.New("connection refused")}
		wantBundle(t, s.propose(t, request()), []*pool.Operation{b}, skips{a: NodeTrouble})
	})
	t.Run("a node that is down ends the proposal, and no claim is left", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, b, c)
		down := errors.New("connection refused")
		s.validator.refusals = map[common.Address]error{a.Op.Sender: down, b.Op.Sender: down, c.Op.Sender: down}
		if _, err := s.proposer.Propose(t.Context(), request()); !errors.Is(err, down) {
			t.Fatalf("have error %v, want %v", err, down)
		}
		if held := s.pool.Held("x"); len(held) != 0 {
			t.Errorf("%d claims are left", len(held))
		}
	})
}

func TestTimeRanges(t *testing.T) {
	s := newScene(t)
	a, b, c, d := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70)), operation(4, fees(1000, 60))
	e, f := operation(5, until(1020), fees(1000, 50)), operation(6, fees(1000, 40))
	s.add(t, a, b, c, d, e, f)
	late := rejection.New(rejection.OutOfTimeRange, "expires too soon")
	s.validator.validations = map[common.Address]Validation{
		a.Op.Sender: {ValidAfter: 1001},
		b.Op.Sender: {ValidUntil: 1000},
		c.Op.Sender: {ValidUntil: 1011},
		d.Op.Sender: {ValidUntil: 101, ValidityInBlocks: true},
		f.Op.Sender: {ValidAfter: 1000, ValidUntil: 1012},
	}
	s.validator.refusals = map[common.Address]error{e.Op.Sender: late}
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{f}, skips{a: NotYetValid, c: ExpiresSoon, d: ExpiresSoon, e: ExpiresSoon})
	if len(p.Removed) != 1 || p.Removed[0].Hash != b.Hash || p.Removed[0].Reason != pool.Expired || p.Removed[0].Rejection.Kind != rejection.OutOfTimeRange {
		t.Errorf("removed: have %v, want the expired operation", p.Removed)
	}
}

func TestPaymasterDepositIsARunningSum(t *testing.T) {
	s := newScene(t)
	a, b, c := operation(1, paidBy(1), fees(1000, 90)), operation(2, paidBy(1), fees(1000, 80)), operation(3, paidBy(2), fees(1000, 70))
	s.add(t, a, b, c)
	s.validator.deposits = map[common.Address]uint256.Int{address('p', 1): *uint256.NewInt(300_000_000), address('p', 2): *uint256.NewInt(210_000_000)}
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{a, c}, skips{b: DepositShort})
	if sk := p.Skipped[0]; sk.Have.Uint64() != 90_000_000 || sk.Want.Uint64() != 210_000_000 {
		t.Errorf("have %v, want 90,000,000 left and 210,000,000 needed", sk)
	}
	if s.pool.Get(b.Hash) == nil || len(p.Removed) != 0 {
		t.Error("an operation was punished for its paymaster's deposit")
	}
}

func TestOperationsThatTouchEachOther(t *testing.T) {
	helper := address('h', 1)
	for _, tt := range []struct {
		name string
		a, b Validation
	}{
		{"the second uses the first's sender", Validation{}, Validation{Accessed: []common.Address{address('s', 1)}}},
		{"the first uses the second's sender", Validation{Accessed: []common.Address{address('s', 2)}}, Validation{}},
		{"the second uses what the first creates", Validation{Created: []common.Address{helper}}, Validation{Accessed: []common.Address{helper}}},
		{"the first uses what the second creates", Validation{Accessed: []common.Address{helper}}, Validation{Created: []common.Address{helper}}},
		{"both create the same", Validation{Created: []common.Address{helper}}, Validation{Created: []common.Address{helper}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			a, b, c := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70))
			s.add(t, a, b, c)
			s.validator.validations = map[common.Address]Validation{a.Op.Sender: tt.a, b.Op.Sender: tt.b}
			p := s.propose(t, request())
			wantBundle(t, p, []*pool.Operation{a, c}, skips{b: TouchesOther})
			if p.Skipped[0].Other != a.Hash {
				t.Errorf("have other operation %v, want %v", p.Skipped[0].Other, a.Hash)
			}
		})
	}
	t.Run("using the same contract is no conflict", func(t *testing.T) {
		s := newScene(t)
		a, b := operation(1, fees(1000, 90)), operation(2, fees(1000, 80))
		s.add(t, a, b)
		s.validator.validations = map[common.Address]Validation{
			a.Op.Sender: {Accessed: []common.Address{helper, a.Op.Sender}, Created: []common.Address{a.Op.Sender}},
			b.Op.Sender: {Accessed: []common.Address{helper}},
		}
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a, b}, nil)
	})
}

func TestStakedSender(t *testing.T) {
	a, b, c := operation(1, stakedSender, fees(1000, 90)), operation(1, stakedSender, nonce(0, 1), fees(1000, 95)), operation(1, stakedSender, nonce(0, 2), fees(1000, 95))
	t.Run("all in nonce order, each validated behind the others", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, b, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a, b, c}, nil)
		if diff := cmp.Diff([]uint64{0, 1, 2}, s.validator.ahead); diff != "" {
			t.Errorf("operations ahead (-want +have):\n%s", diff)
		}
	})
	t.Run("nothing behind one that is left out", func(t *testing.T) {
		s := newScene(t, func(c *Config) { c.MaxBundleGas, c.Packing = 430_000, PackFill })
		big := operation(1, stakedSender, nonce(0, 1), fees(1000, 95), callGas(300_000))
		s.add(t, a, big, c)
		wantBundle(t, s.propose(t, request()), []*pool.Operation{a}, skips{big: GasLimitReached, c: PredecessorAbsent})
	})
	t.Run("nothing behind one that fails with the bundle", func(t *testing.T) {
		s := newScene(t)
		s.add(t, a, b, operation(2))
		s.validator.inBundle = map[common.Address]Failure{}
		n := 0
		s.validator.onBundle = func(ops []*userop.UserOperation, _ []types.SetCodeAuthorization) { n = len(ops) }
		s.validator.inBundle[address('s', 2)] = Failure{Rejection: rejection.New(rejection.EntryPointRejected, "AA23 reverted"), Culprit: erc7562.Sender}
		p := s.propose(t, request())
		wantBundle(t, p, []*pool.Operation{a, b}, nil)
		if n != 2 || len(p.Removed) != 1 || p.Removed[0].Reason != pool.BundleFailed {
			t.Errorf("have a last run of %d operations and removed %v", n, p.Removed)
		}
	})
}

func TestWholeBundleIsValidatedUntilItPasses(t *testing.T) {
	s := newScene(t)
	a, b, c := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70))
	s.add(t, a, b, c)
	bad := rejection.New(rejection.EntryPointRejected, "AA23 reverted")
	s.validator.inBundle = map[common.Address]Failure{b.Op.Sender: {Rejection: bad, Culprit: erc7562.Factory}}
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{a, c}, nil)
	if diff := cmp.Diff([]Removal{{b.Hash, bad, pool.BundleFailed, erc7562.Factory}}, p.Removed); diff != "" {
		t.Errorf("removed (-want +have):\n%s", diff)
	}
	want := [][]common.Address{{a.Op.Sender, b.Op.Sender, c.Op.Sender}, {a.Op.Sender, c.Op.Sender}}
	if diff := cmp.Diff(want, s.validator.bundles); diff != "" {
		t.Errorf("runs (-want +have):\n%s", diff)
	}
}

func TestLossIsNotSent(t *testing.T) {
	s := newScene(t)
	op := operation(1)
	s.add(t, op)
	s.validator.revenue = 0.99
	p := s.propose(t, request())
	wantReason(t, p, Unprofitable)
	wantBundle(t, p, nil, skips{op: LossMaking})
	if s.pool.Get(op.Hash) == nil || len(s.pool.Held("x")) != 0 {
		t.Error("the operation is gone, or still claimed")
	}
	s.proposer.config.MinProfit = big.NewInt(-1_000_000_000_000)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{op}, nil)
	s.validator.revenue = 1
	s.proposer.config.MinProfit = big.NewInt(1)
	wantReason(t, s.propose(t, request()), Unprofitable)
	s.proposer.config.MinProfit = nil
	wantBundle(t, s.propose(t, request()), []*pool.Operation{op}, nil)
}

// What is in flight stays claimed even if the next proposal leaves it out.
func TestClaimsOfTheLiveAttemptAreKept(t *testing.T) {
	s := newScene(t)
	a, b := operation(1, fees(200, 90)), operation(2, fees(1000, 80))
	s.add(t, a, b)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{a, b}, nil)
	req := request()
	req.Floor = gas.Fees{MaxFee: *uint256.NewInt(300), MaxPriority: *uint256.NewInt(20)}
	wantBundle(t, s.propose(t, req), []*pool.Operation{b}, skips{a: MaxFeeTooLow})
	if s.pool.Holder(a.Hash) != "x" {
		t.Error("an operation in flight was given to the others")
	}
}

func TestAuthorizations(t *testing.T) {
	auth := types.SetCodeAuthorization{Address: address('d', 1), Nonce: 7}
	with := func(op *pool.Operation) { op.Op.Authorization = &auth }
	s := newScene(t)
	a, b := operation(1, stakedSender, with), operation(1, stakedSender, nonce(0, 1), with)
	s.add(t, a, b)
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{a, b}, nil)
	if diff := cmp.Diff([]types.SetCodeAuthorization{auth}, p.Bundle.Authorizations); diff != "" {
		t.Errorf("authorizations (-want +have):\n%s", diff)
	}
}

func TestEntryPointsInTurn(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxPassedOver = 2 })
	rich, poor := operation(1, fees(1000, 90)), operation(2, at(ep08), fees(1000, 20))
	s.add(t, rich, poor)
	var served []string
	for range 6 {
		p := s.propose(t, request())
		served = append(served, p.Bundle.EntryPoint.Version.String())
		s.pool.Release("x", p.Bundle.Hashes())
	}
	if diff := cmp.Diff([]string{"0.7", "0.7", "0.8", "0.7", "0.7", "0.8"}, served); diff != "" {
		t.Errorf("EntryPoints served (-want +have):\n%s", diff)
	}
	// If nothing comes of the richest, the next is tried.
	s.validator.refusals = map[common.Address]error{rich.Op.Sender: rejection.New(rejection.InvalidSignature, "AA24 signature error")}
	wantBundle(t, s.propose(t, request()), []*pool.Operation{poor}, nil)
	// Reason of the furthest stage: one EntryPoint's are priced out, the other's fail.
	s.validator.refusals[poor.Op.Sender] = rejection.New(rejection.InvalidSignature, "AA24 signature error")
	cheap := operation(3, at(entrypoint.Canonical(userop.V09)), fees(101, 1))
	s.add(t, cheap)
	wantReason(t, s.propose(t, request()), NoneLeftAfterSimulation)
}

// A fruitless turn is a turn: an EntryPoint that waited long does not go first again at once.
func TestFruitlessTurn(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxPassedOver = 2 })
	rich, poor := operation(1, fees(1000, 90)), operation(2, at(ep08), fees(1000, 20))
	s.add(t, rich, poor)
	s.validator.validations = map[common.Address]Validation{poor.Op.Sender: {ValidAfter: 1001}}
	for range 6 {
		p := s.propose(t, request())
		s.pool.Release("x", p.Bundle.Hashes())
	}
	a, b := rich.Op.Sender, poor.Op.Sender
	if diff := cmp.Diff([]common.Address{a, a, b, a, a, b, a, a}, s.validator.validated); diff != "" {
		t.Errorf("validated (-want +have):\n%s", diff)
	}
}

func TestContextsOfPaymasters(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxContextBytes = 100 })
	a, b, c := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70))
	s.add(t, a, b, c)
	s.validator.validations = map[common.Address]Validation{a.Op.Sender: {ContextSize: 60}, b.Op.Sender: {ContextSize: 41}, c.Op.Sender: {ContextSize: 40}}
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{a, c}, skips{b: ContextReached})
	if sk := p.Skipped[0]; sk.Have.Uint64() != 41 || sk.Want.Uint64() != 40 {
		t.Errorf("have %v, want 41 bytes and 40 left", sk)
	}
}

// The pool offers one operation of an unstaked sender; the chooser does not rely on that.
func TestSecondOperationOfAnUnstakedSender(t *testing.T) {
	cfg := DefaultConfig()
	c := newChooser(&cfg, request().Head, gas.Fees{}, gas.Fees{}, uint256.Int{})
	a, b := operation(1), operation(1, nonce(1, 0))
	if !c.fits(a) {
		t.Fatal("an operation does not fit an empty bundle")
	}
	c.accept(a, &Validation{})
	if c.fits(b) || c.skipped[0].Reason != SenderInBundle {
		t.Fatalf("have skipped %v, want %v", c.skipped, SenderInBundle)
	}
}

func TestAggregatedOperationsWait(t *testing.T) {
	s := newScene(t)
	a, b := operation(1, func(op *pool.Operation) { op.Aggregator, op.Staked.Aggregator = address('a', 1), true }), operation(2)
	s.add(t, a, b)
	s.validator.validations = map[common.Address]Validation{b.Op.Sender: {Aggregator: address('a', 1)}}
	p := s.propose(t, request())
	wantReason(t, p, NoneLeftAfterSimulation)
	wantBundle(t, p, nil, skips{a: NeedsAggregator, b: NeedsAggregator})
}

// Only troubles in a row say that the node is down.
func TestTroublesBetweenAnswers(t *testing.T) {
	s := newScene(t)
	s.validator.refusals = make(map[common.Address]error)
	for i := range uint64(6) {
		op := operation(i, fees(1000, 90-i))
		s.add(t, op)
		s.validator.refusals[op.Op.Sender] = errors.New("connection refused")
		if i%2 == 1 {
			s.validator.refusals[op.Op.Sender] = rejection.New(rejection.InvalidSignature, "AA24 signature error")
		}
	}
	p := s.propose(t, request())
	wantReason(t, p, NoneLeftAfterSimulation)
	if len(p.Skipped) != 3 || len(p.Removed) != 3 {
		t.Errorf("have %d skipped and %d removed, want 3 and 3", len(p.Skipped), len(p.Removed))
	}
}

func TestValidatorThatNamesNoOperation(t *testing.T) {
	s := newScene(t)
	s.add(t, operation(1))
	bad := badValidator{s.validator}
	s.proposer = New(fakePool{s.pool}, bad, DefaultConfig())
	if _, err := s.proposer.Propose(t.Context(), request()); !errors.Is(err, ErrValidator) {
		t.Fatalf("have %v, want %v", err, ErrValidator)
	}
	if held := s.pool.Held("x"); len(held) != 0 {
		t.Errorf("%d claims are left", len(held))
	}
}

type badValidator struct{ *fakeValidator }

func (badValidator) ValidateBundle(context.Context, *types.Header, Draft) (*BundleValidation, error) {
	return &BundleValidation{Failed: []Failure{{Index: 1, Rejection: rejection.New(rejection.EntryPointRejected, "AA23 reverted")}}}, nil
}

func TestCancelledProposalLeavesNoClaims(t *testing.T) {
	s := newScene(t)
	s.add(t, operation(1), operation(2))
	ctx, cancel := context.WithCancel(t.Context())
	s.proposer = New(fakePool{s.pool}, cancellingValidator{s.validator, cancel}, DefaultConfig())
	if _, err := s.proposer.Propose(ctx, request()); !errors.Is(err, context.Canceled) {
		t.Fatalf("have %v, want %v", err, context.Canceled)
	}
	if held := s.pool.Held("x"); len(held) != 0 {
		t.Errorf("%d claims are left", len(held))
	}
}

// cancellingValidator is interrupted by its caller.
type cancellingValidator struct {
	*fakeValidator
	cancel context.CancelFunc
}

func (v cancellingValidator) Validate(ctx context.Context, _ *types.Header, _ entrypoint.EntryPoint, _ *userop.UserOperation, _ uint64) (*Validation, error) {
	v.cancel()
	return nil, ctx.Err()
}

func TestFeesOverTheCeilingAreNotOffered(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxFeePerGas = *uint256.NewInt(137) })
	op := operation(1)
	s.add(t, op)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{op}, nil)
	replacement := request()
	replacement.Floor = gas.Fees{MaxFee: *uint256.NewInt(138), MaxPriority: *uint256.NewInt(11)}
	wantReason(t, s.propose(t, replacement), FeesOverBudget)
}

func TestBundleFeeBudgetBoundsTheGas(t *testing.T) {
	one := operation(1)
	units, _ := one.Op.MaxGas()
	two := operation(2, fees(900, 90))
	// The bundle's max fee is 137.
	s := newScene(t, func(c *Config) { c.MaxBundleFee = *uint256.NewInt(137 * (units + units/2)) })
	s.add(t, one, two)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{one}, skips{two: BudgetReached})
	s.proposer.config.MaxBundleFee = *uint256.NewInt(137 * (units - 1))
	p := s.propose(t, request())
	wantReason(t, p, FeesOverBudget)
	wantBundle(t, p, nil, skips{one: BudgetReached, two: ListEnded})
}

func TestDeferredAndExcludedOperationsWait(t *testing.T) {
	s := newScene(t)
	a, b, c, d := operation(1), operation(2, fees(990, 90)), operation(3, fees(980, 80)), operation(4, fees(970, 70))
	s.add(t, a, b, c, d)
	req := request()
	req.Exclude, req.Deferred, req.MaxOps = []common.Hash{a.Hash}, []common.Hash{b.Hash}, 1
	wantBundle(t, s.propose(t, req), []*pool.Operation{c}, skips{a: InLaterBundle, b: UnderSuspicion, d: BundleFull})
}
