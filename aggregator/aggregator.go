package aggregator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// Node is the JSON-RPC node that answers for the chain's state, such as *rpc.Client.
type Node interface {
	CallContext(ctx context.Context, result any, method string, args ...any) error
	BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error
}

// Aggregator speaks for one aggregator contract. The methods with an ERC-7766 name do what the contract's functions of
// that name do, on the state of the block with the hash. It is safe for concurrent use.
type Aggregator interface {
	// Address is the contract's.
	Address() common.Address
	// Gas is what the contract's check costs a bundle.
	Gas() gas.Aggregation
	// ValidateUserOpSignature checks an operation's own signature and returns the one to put in its place in a bundle.
	ValidateUserOpSignature(ctx context.Context, block common.Hash, op *userop.UserOperation) ([]byte, error)
	// AggregateSignatures returns the signature of a group of operations, given with their own signatures.
	AggregateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation) ([]byte, error)
	// ValidateSignatures checks the signature of a group of operations, given as they stand in the bundle.
	ValidateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation, signature []byte) error
}

// Errors of this package.
var (
	// ErrUnknown says that no aggregator with that address is configured.
	ErrUnknown = errors.New("aggregator is not configured")
	// ErrDuplicate says that an address is configured twice.
	ErrDuplicate = errors.New("aggregator is configured twice")
)

// Bundled returns the operation as it stands in a bundle: with the signature that ValidateUserOpSignature gave.
func Bundled(op *userop.UserOperation, signature []byte) *userop.UserOperation {
	bundled := *op
	bundled.Signature = signature
	return &bundled
}

// Set is the aggregators a bundler serves. It never changes; the empty one serves none.
type Set struct {
	byAddress map[common.Address]Aggregator
}

// NewSet returns the set of the aggregators. One address twice is an error that wraps [ErrDuplicate].
func NewSet(list ...Aggregator) (*Set, error) {
	s := &Set{make(map[common.Address]Aggregator, len(list))}
	for _, a := range list {
		if s.byAddress[a.Address()] != nil {
			return nil, fmt.Errorf("%w: %s", ErrDuplicate, a.Address())
		}
		s.byAddress[a.Address()] = a
	}
	return s, nil
}

// Addresses returns the contracts' addresses in order.
func (s *Set) Addresses() []common.Address {
	list := make([]common.Address, 0, len(s.byAddress))
	for address := range s.byAddress {
		list = append(list, address)
	}
	slices.SortFunc(list, common.Address.Cmp)
	return list
}

// Gas returns what an aggregator's check costs a bundle, and whether it is configured.
func (s *Set) Gas(address common.Address) (gas.Aggregation, bool) {
	a := s.byAddress[address]
	if a == nil {
		return gas.Aggregation{}, false
	}
	return a.Gas(), true
}

// Accept checks an operation's own signature with its aggregator and returns the operation as it goes into a bundle, and
// the signature of a group of it alone: what a simulation by handleAggregatedOps needs. An aggregator that is not
// configured is a rejection of the kind UnsupportedSigAggr.
func (s *Set) Accept(ctx context.Context, block common.Hash, address common.Address, op *userop.UserOperation) (*userop.UserOperation, []byte, error) {
	a := s.byAddress[address]
	if a == nil {
		r := rejection.New(rejection.UnsupportedSigAggr, "signature aggregator %s is not supported", address)
		r.Data.Aggregator = &address
		return nil, nil, r
	}
	alternative, err := a.ValidateUserOpSignature(ctx, block, op)
	if err != nil {
		return nil, nil, err
	}
	signature, err := a.AggregateSignatures(ctx, block, []*userop.UserOperation{op})
	if err != nil {
		return nil, nil, err
	}
	return Bundled(op, alternative), signature, nil
}

// Aggregate returns the signature of a group. ops carry their own signatures.
func (s *Set) Aggregate(ctx context.Context, block common.Hash, address common.Address, ops []*userop.UserOperation) ([]byte, error) {
	a := s.byAddress[address]
	if a == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, address)
	}
	return a.AggregateSignatures(ctx, block, ops)
}

// Culprits returns the indexes of the operations whose signatures make their group fail, in ascending order, and why
// each does. It halves the group as long as a part fails: few culprits among many operations are found with few checks.
// bundled are the operations as they stand in the bundle.
//
// None is an answer too: signatures may be wrong one by one and yet add up to what was signed together.
func (s *Set) Culprits(ctx context.Context, block common.Hash, address common.Address, ops, bundled []*userop.UserOperation) ([]int, []*rejection.Rejection, error) {
	a := s.byAddress[address]
	if a == nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknown, address)
	}
	if len(ops) != len(bundled) {
		return nil, nil, fmt.Errorf("aggregator %s: have %d operations as sent and %d as bundled, want as many", address, len(ops), len(bundled))
	}
	if f, ok := a.(interface {
		forget(ops []*userop.UserOperation)
	}); ok {
		f.forget(ops)
	}
	search := search{a: a, block: block, ops: ops, bundled: bundled}
	if err := search.part(ctx, 0, len(ops)); err != nil {
		return nil, nil, err
	}
	return search.culprits, search.reasons, nil
}

// search is a search for culprits.
type search struct {
	a            Aggregator
	block        common.Hash
	ops, bundled []*userop.UserOperation
	culprits     []int
	reasons      []*rejection.Rejection
}

// part searches ops[from:to].
func (s *search) part(ctx context.Context, from, to int) error {
	if from == to {
		return nil
	}
	reason, err := s.check(ctx, from, to)
	if err != nil || reason == nil {
		return err
	}
	if to-from == 1 {
		s.culprits, s.reasons = append(s.culprits, from), append(s.reasons, reason)
		return nil
	}
	middle := from + (to-from)/2
	if err := s.part(ctx, from, middle); err != nil {
		return err
	}
	return s.part(ctx, middle, to)
}

// check returns why ops[from:to] fail as a group, or nil if they do not.
func (s *search) check(ctx context.Context, from, to int) (*rejection.Rejection, error) {
	signature, err := s.a.AggregateSignatures(ctx, s.block, s.ops[from:to])
	if err == nil {
		err = s.a.ValidateSignatures(ctx, s.block, s.bundled[from:to], signature)
	}
	if refused, ok := errors.AsType[*rejection.Rejection](err); ok {
		return refused, nil
	}
	return nil, err
}

// refuse is the rejection of a wrong signature (ERC-7769, -32507).
func refuse(aggregator common.Address, format string, args ...any) *rejection.Rejection {
	r := rejection.New(rejection.InvalidSignature, "signature aggregator %s: %s", aggregator, fmt.Sprintf(format, args...))
	r.Data.Aggregator = &aggregator
	return r
}
