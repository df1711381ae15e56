package proposer

import (
	"context"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

var (
	ep07 = entrypoint.Canonical(userop.V07)
	ep08 = entrypoint.Canonical(userop.V08)
)

func address(role byte, n uint64) (a common.Address) {
	a[0] = role
	binary.BigEndian.PutUint64(a[12:], n)
	return a
}

type change func(*pool.Operation)

func fees(maxFee, tip uint64) change {
	return func(op *pool.Operation) {
		op.Op.MaxFeePerGas, op.Op.MaxPriorityFeePerGas = *uint256.NewInt(maxFee), *uint256.NewInt(tip)
	}
}
func callGas(n uint64) change { return func(op *pool.Operation) { op.Op.CallGasLimit = n } }
func calldata(n int) change   { return func(op *pool.Operation) { op.Op.CallData = make([]byte, n) } }

func nonce(key, seq uint64) change {
	return func(op *pool.Operation) { op.Op.Nonce = uint256.Int{seq, key}; op.NonceAhead = seq }
}
func stakedSender(op *pool.Operation) { op.Staked.Sender = true }
func at(ep entrypoint.EntryPoint) change {
	return func(op *pool.Operation) { op.EntryPoint, op.Op.Version = ep, ep.Version }
}
func until(t uint64) change { return func(op *pool.Operation) { op.ValidUntil = t } }
func paidBy(n uint64) change {
	return func(op *pool.Operation) {
		pm := address('p', n)
		op.Op.Paymaster = &pm
		op.Staked.Paymaster = true
	}
}

// operation returns an operation of sender n with 210,000 gas and a maximum fee of 1,000.
func operation(n uint64, changes ...change) *pool.Operation {
	op := &pool.Operation{
		Op: &userop.UserOperation{
			Version: userop.V07, Sender: address('s', n), CallGasLimit: 50_000, VerificationGasLimit: 100_000, PreVerificationGas: 60_000,
			MaxFeePerGas: *uint256.NewInt(1000), MaxPriorityFeePerGas: *uint256.NewInt(100),
		},
		EntryPoint: ep07,
	}
	for _, c := range changes {
		c(op)
	}
	op.Prefund = op.Op.MaxCost()
	op.Hash = crypto.Keccak256Hash(op.Op.Hash(op.EntryPoint.Address, 1, common.Address{}).Bytes())
	return op
}

// fakePool is the real pool behind the port.
type fakePool struct{ *pool.Pool }

func (f fakePool) EntryPoints(context.Context) ([]entrypoint.EntryPoint, error) {
	return f.Pool.EntryPoints(), nil
}

func (f fakePool) Candidates(_ context.Context, q pool.Query) ([]*pool.Operation, error) {
	return f.Pool.Candidates(q), nil
}

func (f fakePool) Held(_ context.Context, builder string) ([]common.Hash, error) {
	return f.Pool.Held(builder), nil
}

func (f fakePool) Release(ctx context.Context, builder string, hashes []common.Hash) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.Pool.Release(builder, hashes)
	return nil
}

// fakeValidator passes everything but what the test gives it.
type fakeValidator struct {
	validations map[common.Address]Validation // by sender; Prefund is filled in
	refusals    map[common.Address]error      // by sender: second validation
	inBundle    map[common.Address]Failure    // by sender: whole bundle
	deposits    map[common.Address]uint256.Int
	callGas     uint64  // of each operation; 0: half its limits
	revenue     float64 // times the cost; 0: 2
	dataFee     uint256.Int
	dataGas     uint64
	lossWith    common.Address // a bundle with its operation earns nothing
	most        int            // operations in a bundle that does not run out of gas; 0: any number

	validated []common.Address
	ahead     []uint64
	bundles   [][]common.Address
	drafts    []Draft
	badSum    map[common.Address]func(Draft) bool // of an aggregator
	onBundle  func([]*userop.UserOperation, []types.SetCodeAuthorization)
}

func (f *fakeValidator) Validate(_ context.Context, _ *types.Header, _ entrypoint.EntryPoint, op *userop.UserOperation, ahead uint64) (*Validation, error) {
	f.validated = append(f.validated, op.Sender)
	f.ahead = append(f.ahead, ahead)
	if err := f.refusals[op.Sender]; err != nil {
		return nil, err
	}
	v := f.validations[op.Sender]
	v.Prefund = op.MaxCost()
	return &v, nil
}

func (f *fakeValidator) Prepare(context.Context, *types.Header, entrypoint.EntryPoint, []*userop.UserOperation) error {
	return nil
}

func (f *fakeValidator) ValidateBundle(_ context.Context, _ *types.Header, d Draft) (*BundleValidation, error) {
	ops, fees, auths := d.Ops, d.Fees, d.Authorizations
	f.drafts = append(f.drafts, d)
	for _, g := range d.Groups {
		if bad := f.badSum[g.Aggregator]; bad != nil && bad(d) {
			return &BundleValidation{BadSignatures: g.Aggregator}, nil
		}
	}
	if f.most > 0 && len(ops) > f.most {
		return &BundleValidation{OutOfGas: true}, nil
	}
	var senders []common.Address
	res := new(BundleValidation)
	for i, op := range ops {
		senders = append(senders, op.Sender)
		if failure, ok := f.inBundle[op.Sender]; ok {
			failure.Index = i
			res.Failed = append(res.Failed, failure)
		}
		units, _ := op.MaxGas()
		call := f.callGas
		if call == 0 {
			call = op.CallGasLimit / 2
		}
		res.CallGas += call
		res.ExecutionGas += call + (units-op.CallGasLimit)/2
		price := op.EffectivePriorityFee(&baseFee)
		price.Add(&price, &baseFee)
		res.Charged = append(res.Charged, Charge{Gas: call + (units-op.CallGasLimit)/2, Cost: *price.Mul(&price, uint256.NewInt(units))})
	}
	f.bundles = append(f.bundles, senders)
	if f.onBundle != nil {
		f.onBundle(ops, auths)
	}
	res.GasUsed = res.ExecutionGas + 21_000
	times := f.revenue
	if times == 0 {
		times = 2
	}
	price := fees.EffectivePrice(baseFee)
	res.Revenue = *uint256.NewInt(uint64(float64(res.GasUsed) * times * float64(price.Uint64())))
	res.DataFee, res.DataGas = f.dataFee, f.dataGas
	if slices.Contains(senders, f.lossWith) {
		res.Revenue.Clear()
	}
	return res, nil
}

func (f *fakeValidator) Deposits(_ context.Context, _ *types.Header, _ entrypoint.EntryPoint, list []common.Address) (map[common.Address]uint256.Int, error) {
	out := make(map[common.Address]uint256.Int)
	for _, a := range list {
		out[a] = f.deposits[a]
	}
	return out, nil
}

var baseFee = *uint256.NewInt(100)

// scene is a proposer with its neighbours.
type scene struct {
	pool      *pool.Pool
	validator *fakeValidator
	proposer  *Proposer
}

func newScene(t testing.TB, changes ...func(*Config)) *scene {
	t.Helper()
	cfg := DefaultConfig()
	for _, c := range changes {
		c(&cfg)
	}
	s := &scene{pool: pool.New(pool.DefaultConfig()), validator: new(fakeValidator)}
	s.pool.Head(pool.Head{Number: 100, Timestamp: 1000, BaseFee: baseFee})
	s.proposer = New(fakePool{s.pool}, s.validator, cfg)
	return s
}

func (s *scene) add(t testing.TB, ops ...*pool.Operation) {
	t.Helper()
	for _, op := range ops {
		if pm := op.Op.Paymaster; pm != nil {
			s.pool.SetDeposit(op.EntryPoint.Address, *pm, *uint256.NewInt(1e18))
		}
		if _, err := s.pool.Add(op); err != nil {
			t.Fatalf("Add: %v", err)
		}
	}
}

// request asks with a priority fee of 10: the bundle's fees are 137 and 10.
func request() Request {
	return Request{
		Builder: "x", Head: &types.Header{Number: big.NewInt(100), Time: 1000, GasLimit: 60_000_000},
		BaseFee: baseFee, Priority: *uint256.NewInt(10), Balance: *uint256.NewInt(1e18), ClaimUntil: 105, Beneficiary: address('b', 0),
	}
}

func (s *scene) propose(t testing.TB, req Request) *Proposal {
	t.Helper()
	p, err := s.proposer.Propose(t.Context(), req)
	if err != nil {
		t.Fatalf("Propose: %v", err)
	}
	return p
}

// wantBundle compares a bundle's operations, and the reasons for which others were skipped.
func wantBundle(t *testing.T, p *Proposal, want []*pool.Operation, skipped map[*pool.Operation]SkipReason) {
	t.Helper()
	var have []common.Hash
	if p.Bundle != nil {
		have = p.Bundle.Hashes()
	}
	var wanted []common.Hash
	for _, op := range want {
		wanted = append(wanted, op.Hash)
	}
	if diff := cmp.Diff(wanted, have); diff != "" {
		t.Fatalf("bundle (-want +have):\n%s\nskipped: %v\nremoved: %v", diff, p.Skipped, p.Removed)
	}
	haveSkips, wantSkips := make(map[common.Hash]string), make(map[common.Hash]string)
	for _, s := range p.Skipped {
		haveSkips[s.Hash] = s.Reason.String()
	}
	for op, r := range skipped {
		wantSkips[op.Hash] = r.String()
	}
	if diff := cmp.Diff(wantSkips, haveSkips); diff != "" {
		t.Fatalf("skipped (-want +have):\n%s", diff)
	}
}

func wantReason(t *testing.T, p *Proposal, want Reason) {
	t.Helper()
	if p.Bundle != nil || p.Reason != want {
		t.Fatalf("have bundle %v, reason %q, want no bundle, %q", p.Bundle, p.Reason, want)
	}
}
