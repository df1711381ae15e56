package remote

import (
	"fmt"

	"baler/erc7562"
	"baler/pool"
	"baler/proposer"
	"baler/rejection"
	pb "baler/remote/remotev1"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// encodePooled writes an operation as the store keeps it.
func encodePooled(op *pool.Operation) (*pb.PooledOperation, error) {
	record, err := store.EncodeOperation(op)
	if err != nil {
		return nil, err
	}
	return &pb.PooledOperation{Record: record}, nil
}

func decodePooled(m *pb.PooledOperation) (*pool.Operation, error) {
	op, err := store.DecodeOperation(m.GetRecord())
	if err != nil {
		return nil, fmt.Errorf("%w: operation: %w", ErrMessage, err)
	}
	return op, nil
}

func encodeUserOperation(op *userop.UserOperation) (*pb.UserOperation, error) {
	text, err := op.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return &pb.UserOperation{Version: encodeVersion(op.Version), Json: text}, nil
}

func decodeUserOperation(m *pb.UserOperation) (*userop.UserOperation, error) {
	var d decoder
	version := d.version("user operation", m.GetVersion())
	if d.err != nil {
		return nil, d.err
	}
	op, err := userop.Decode(m.GetJson(), version)
	if err != nil {
		return nil, fmt.Errorf("%w: user operation: %w", ErrMessage, err)
	}
	return op, nil
}

func encodeRejection(r *rejection.Rejection) *pb.Rejection {
	if r == nil {
		return nil
	}
	d := &r.Data
	return &pb.Rejection{
		Code: int32(r.Kind), Message: valid(r.Message), //nolint:gosec // JSON-RPC error codes are 5 digits long
		Paymaster: encodeOptionalAddress(d.Paymaster), Factory: encodeOptionalAddress(d.Factory),
		Sender: encodeOptionalAddress(d.Sender), Aggregator: encodeOptionalAddress(d.Aggregator),
		ValidUntil: valid(d.ValidUntil), ValidAfter: valid(d.ValidAfter), MinimumStake: valid(d.MinimumStake),
		MinimumUnstakeDelay: valid(d.MinimumUnstakeDelay), Rule: valid(d.Rule), RevertData: valid(d.RevertData),
	}
}

func (d *decoder) rejection(field string, m *pb.Rejection) *rejection.Rejection {
	if m == nil {
		return nil
	}
	kind := rejection.Kind(m.GetCode())
	if !known(kind) {
		d.fail(field+".code", "have %d, which is no refusal", kind)
	}
	return &rejection.Rejection{Kind: kind, Message: m.GetMessage(), Data: rejection.Data{
		Paymaster: d.optionalAddress(field+".paymaster", m.GetPaymaster()), Factory: d.optionalAddress(field+".factory", m.GetFactory()),
		Sender: d.optionalAddress(field+".sender", m.GetSender()), Aggregator: d.optionalAddress(field+".aggregator", m.GetAggregator()),
		ValidUntil: m.GetValidUntil(), ValidAfter: m.GetValidAfter(), MinimumStake: m.GetMinimumStake(),
		MinimumUnstakeDelay: m.GetMinimumUnstakeDelay(), Rule: m.GetRule(), RevertData: m.GetRevertData(),
	}}
}

// known reports whether a kind is one of the refusals of ERC-7769.
func known(kind rejection.Kind) bool {
	switch kind {
	case rejection.InvalidFields, rejection.EntryPointRejected, rejection.PaymasterRejected, rejection.OpcodeViolation,
		rejection.OutOfTimeRange, rejection.Throttled, rejection.StakeTooLow, rejection.UnsupportedSigAggr,
		rejection.InvalidSignature, rejection.PaymasterDepositLow, rejection.ExecutionReverted:
		return true
	default:
		return false
	}
}

func encodeQuery(q pool.Query) *pb.Query {
	m := &pb.Query{
		Builder: valid(q.Builder), EntryPoint: encodeAddress(q.EntryPoint), BaseFee: encodeNumber(q.BaseFee),
		MaxOps: encodeCount(q.MaxOps), UntilBlock: q.UntilBlock,
	}
	if q.Shard != (pool.Shard{}) {
		m.Shard = &pb.Shard{Index: q.Shard.Index, Count: q.Shard.Count}
	}
	return m
}

func decodeQuery(m *pb.Query) (pool.Query, error) {
	var d decoder
	q := pool.Query{
		Builder: m.GetBuilder(), EntryPoint: d.address("query.entry_point", m.GetEntryPoint()),
		BaseFee: d.number("query.base_fee", m.GetBaseFee()), MaxOps: d.small("query.max_ops", m.GetMaxOps()),
		UntilBlock: m.GetUntilBlock(), Shard: pool.Shard{Index: m.GetShard().GetIndex(), Count: m.GetShard().GetCount()},
	}
	if q.Shard.Count > 1 && q.Shard.Index >= q.Shard.Count {
		d.fail("query.shard", "have part %d of %d", q.Shard.Index, q.Shard.Count)
	}
	return q, d.err
}

func encodeRemoval(r proposer.Removal) *pb.Removal {
	return &pb.Removal{
		Hash: encodeHash(r.Hash), Reason: pb.Reason(r.Reason), Culprit: pb.Entity(r.Culprit), Rejection: encodeRejection(r.Rejection),
	}
}

func (d *decoder) removal(m *pb.Removal) proposer.Removal {
	return proposer.Removal{
		Hash: d.hash("removal.hash", m.GetHash()), Reason: d.reason(m.GetReason()), Culprit: d.entity(m.GetCulprit()),
		Rejection: d.rejection("removal.rejection", m.GetRejection()),
	}
}

// reason reads why an operation leaves. The schema's numbers are the pool's.
func (d *decoder) reason(r pb.Reason) pool.Reason {
	if r <= pb.Reason_REASON_UNSPECIFIED || r > pb.Reason(pool.Cleared) {
		d.fail("removal.reason", "have %d, which is not known", r)
		return 0
	}
	return pool.Reason(r)
}

// entity reads who is to blame. The schema's numbers are those of package erc7562.
func (d *decoder) entity(e pb.Entity) erc7562.Entity {
	if e < 0 || e > pb.Entity(erc7562.Aggregator) {
		d.fail("removal.culprit", "have %d, which is not known", e)
		return 0
	}
	return erc7562.Entity(e)
}

func decodeRemovals(list []*pb.Removal) ([]proposer.Removal, error) {
	var d decoder
	removals := make([]proposer.Removal, len(list))
	for i, m := range list {
		removals[i] = d.removal(m)
	}
	return removals, d.err
}

func decodeHashes(raw [][]byte) ([]common.Hash, error) {
	var d decoder
	list := d.hashes("hashes", raw)
	return list, d.err
}
