package gas

import (
	"slices"

	"baler/userop"

	"github.com/ethereum/go-ethereum/params"
)

// Aggregation is what an aggregator contract (ERC-7766) costs a bundle: handleAggregatedOps calls its
// validateSignatures outside of any operation, so the bundler pays for that and asks for it as preVerificationGas.
type Aggregation struct {
	// GroupGas is what a group costs beside its calldata, however many operations are in it: the call of the contract, the
	// part of its check that does not grow, the EntryPoint's loop and event.
	GroupGas uint64
	// OperationGas is what each operation of the group adds to that.
	OperationGas uint64
	// SignatureBytes is the length of an aggregated signature.
	SignatureBytes uint64
	// ExpectedOperations is the number of operations a group is expected to have when operations are accepted or
	// estimated one by one. Zero: 1, which covers the group whatever comes.
	ExpectedOperations uint64
}

// Words of handleAggregatedOps that a group adds to those of its operations: the offset of the group; in it the offset of
// the operations, the aggregator, the offset of the signature; the number of operations; the signature's length.
const groupNumbers = 5

// Tokens (EIP-7623) of a word that holds a number of at most three non-zero bytes, and of one that holds an address.
const (
	numberTokens  = 32 + 3*(params.TxTokenPerNonZeroByte-1)
	addressTokens = 32 + 20*(params.TxTokenPerNonZeroByte-1)
)

// Shared returns the gas that the operations of one group share: GroupGas and the calldata of the group and its
// signature (EIP-2028), each number counted with three non-zero bytes.
func (a Aggregation) Shared() uint64 {
	tokens := satAdd(groupNumbers*numberTokens+addressTokens, satMul(satAdd(a.SignatureBytes, 31)/32*32, params.TxTokenPerNonZeroByte))
	return satAdd(a.GroupGas, DataGas(tokens))
}

// Share returns an operation's part of [Aggregation.Shared] in a group of n operations, rounded up.
func (a Aggregation) Share(n uint64) uint64 {
	n = max(n, 1)
	shared := a.Shared()
	share := shared / n
	if shared%n != 0 {
		share++
	}
	return share
}

// Aggregated is an operation of a group.
type Aggregated struct {
	// Op is the operation as it stands in the bundle, with the signature its aggregator gave it in place of its own.
	Op *userop.UserOperation
	// VerificationGasUsed is what its validation used.
	VerificationGasUsed uint64
	// SignatureGas is what checking its signature was measured to add to the aggregator's work. Zero: the aggregation's
	// OperationGas.
	SignatureGas uint64
}

// RequiredAggregated returns the preVerificationGas that an operation must offer at least in a group of n operations:
// what [PreVerification.Required] asks of it as it stands in the bundle, what the check of its signature costs, and its
// share of the group. n is the group's real size, or 0 for the size expected.
func (p PreVerification) RequiredAggregated(op Aggregated, a Aggregation, n uint64) uint64 {
	if n == 0 {
		n = a.ExpectedOperations
	}
	return satAdd(p.ownAggregated(op, a), a.Share(n))
}

// ownAggregated is the part of the required preVerificationGas that does not depend on the group.
func (p PreVerification) ownAggregated(op Aggregated, a Aggregation) uint64 {
	signature := op.SignatureGas
	if signature == 0 {
		signature = a.OperationGas
	}
	// The check of the signature is execution too: it counts against the calldata floor.
	return satAdd(p.Required(op.Op, satAdd(op.VerificationGasUsed, signature)), signature)
}

// EstimateAggregated is [PreVerification.Estimate] for an operation that is not signed yet, in a group of the size
// expected. It counts op's own dummy signature although the bundle will not carry it.
func (p PreVerification) EstimateAggregated(op *userop.UserOperation, verificationGasUsed uint64, a Aggregation) uint64 {
	own := p.Estimate(op, satAdd(verificationGasUsed, a.OperationGas))
	return satAdd(satAdd(own, a.OperationGas), a.Share(a.ExpectedOperations))
}

// Covered returns the indexes, in ascending order, of the largest part of a group whose operations all offer what is
// required of them in a group of that part's size. Fewer operations have to bear more each, so an operation that asks
// others to bear its share falls out, and with it perhaps those that relied on it.
//
// That part is unique: the operations that offer most beyond their own costs, as many as can bear the shares together.
func (p PreVerification) Covered(group []Aggregated, a Aggregation) []int {
	type offer struct {
		index int
		rest  uint64 // what it offers beyond its own costs
	}
	offers := make([]offer, 0, len(group))
	for i, op := range group {
		own := p.ownAggregated(op, a)
		if op.Op.PreVerificationGas >= own {
			offers = append(offers, offer{i, op.Op.PreVerificationGas - own})
		}
	}
	slices.SortStableFunc(offers, func(x, y offer) int {
		switch {
		case x.rest > y.rest:
			return -1
		case x.rest < y.rest:
			return 1
		default:
			return 0
		}
	})
	for n := len(offers); n > 0; n-- {
		if offers[n-1].rest < a.Share(uint64(n)) {
			continue
		}
		covered := make([]int, n)
		for i := range covered {
			covered[i] = offers[i].index
		}
		slices.Sort(covered)
		return covered
	}
	return nil
}
