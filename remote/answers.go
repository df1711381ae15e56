package remote

import (
	"encoding/json"
	"math"

	"baler/profit"
	pb "baler/remote/remotev1"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

func encodeInfo(i *rpc.OperationInfo) (*pb.OperationInfo, error) {
	if i == nil {
		return nil, nil
	}
	op, err := encodeUserOperation(i.Op)
	if err != nil {
		return nil, err
	}
	m := &pb.OperationInfo{Operation: op, EntryPoint: encodeAddress(i.EntryPoint)}
	if at := i.Mined; at != nil {
		m.Mined = &pb.Inclusion{BlockNumber: at.BlockNumber, BlockHash: encodeHash(at.BlockHash), Transaction: encodeHash(at.TransactionHash)}
	}
	return m, nil
}

func decodeInfo(m *pb.OperationInfo) (*rpc.OperationInfo, error) {
	if m == nil {
		return nil, nil
	}
	op, err := decodeUserOperation(m.GetOperation())
	if err != nil {
		return nil, err
	}
	var d decoder
	i := &rpc.OperationInfo{Op: op, EntryPoint: d.address("entry_point", m.GetEntryPoint())}
	if at := m.GetMined(); at != nil {
		i.Mined = &rpc.Inclusion{
			BlockNumber: at.GetBlockNumber(), BlockHash: d.hash("mined.block_hash", at.GetBlockHash()),
			TransactionHash: d.hash("mined.transaction", at.GetTransaction()),
		}
	}
	return i, d.err
}

func encodeReceipt(r *rpc.OperationReceipt) *pb.OperationReceipt {
	if r == nil {
		return nil
	}
	m := &pb.OperationReceipt{
		Hash: encodeHash(r.UserOpHash), EntryPoint: encodeAddress(r.EntryPoint), Sender: encodeAddress(r.Sender), Nonce: encodeNumber(r.Nonce),
		Paymaster: encodeAddress(r.Paymaster), GasCost: encodeNumber(r.ActualGasCost), GasUsed: encodeNumber(r.ActualGasUsed),
		Success: r.Success, Reason: r.Reason, Receipt: r.Receipt,
	}
	for _, l := range r.Logs {
		m.Logs = append(m.Logs, &pb.Log{
			Address: encodeAddress(l.Address), Topics: encodeHashes(l.Topics), Data: l.Data, BlockNumber: l.BlockNumber,
			Transaction: encodeHash(l.TxHash), TransactionIndex: uint32(l.TxIndex), BlockHash: encodeHash(l.BlockHash), //nolint:gosec // a place in a block
			BlockTimestamp: l.BlockTimestamp, Index: uint32(l.Index), Removed: l.Removed, //nolint:gosec // likewise
		})
	}
	return m
}

func decodeReceipt(m *pb.OperationReceipt) (*rpc.OperationReceipt, error) {
	if m == nil {
		return nil, nil
	}
	var d decoder
	r := &rpc.OperationReceipt{
		UserOpHash: d.hash("hash", m.GetHash()), EntryPoint: d.address("entry_point", m.GetEntryPoint()), Sender: d.address("sender", m.GetSender()),
		Nonce: d.number("nonce", m.GetNonce()), Paymaster: d.address("paymaster", m.GetPaymaster()),
		ActualGasCost: d.number("gas_cost", m.GetGasCost()), ActualGasUsed: d.number("gas_used", m.GetGasUsed()),
		Success: m.GetSuccess(), Reason: m.GetReason(), Receipt: m.GetReceipt(),
	}
	for _, l := range m.GetLogs() {
		r.Logs = append(r.Logs, &types.Log{
			Address: d.address("log.address", l.GetAddress()), Topics: d.topics(l.GetTopics()), Data: l.GetData(), BlockNumber: l.GetBlockNumber(),
			TxHash: d.hash("log.transaction", l.GetTransaction()), TxIndex: uint(l.GetTransactionIndex()),
			BlockHash: d.hash("log.block_hash", l.GetBlockHash()), BlockTimestamp: l.GetBlockTimestamp(), Index: uint(l.GetIndex()),
			Removed: l.GetRemoved(),
		})
	}
	if !json.Valid(r.Receipt) {
		d.fail("receipt", "not valid JSON")
	}
	return r, d.err
}

// topics never returns nil: a log without topics says so in JSON with an empty list.
func (d *decoder) topics(raw [][]byte) []common.Hash {
	if len(raw) == 0 {
		return []common.Hash{}
	}
	return d.hashes("log.topics", raw)
}

func encodeState(s rpc.OperationState) pb.OperationState {
	switch s {
	case rpc.StateNotFound:
		return pb.OperationState_OPERATION_STATE_NOT_FOUND
	case rpc.StateRejected:
		return pb.OperationState_OPERATION_STATE_REJECTED
	case rpc.StatePending:
		return pb.OperationState_OPERATION_STATE_PENDING
	case rpc.StateBundled:
		return pb.OperationState_OPERATION_STATE_BUNDLED
	case rpc.StateSubmitted:
		return pb.OperationState_OPERATION_STATE_SUBMITTED
	case rpc.StateIncluded:
		return pb.OperationState_OPERATION_STATE_INCLUDED
	case rpc.StateFailed:
		return pb.OperationState_OPERATION_STATE_FAILED
	case rpc.StateDropped:
		return pb.OperationState_OPERATION_STATE_DROPPED
	default:
		return pb.OperationState_OPERATION_STATE_UNSPECIFIED // the other side refuses it
	}
}

func (d *decoder) state(s pb.OperationState) rpc.OperationState {
	switch s {
	case pb.OperationState_OPERATION_STATE_NOT_FOUND:
		return rpc.StateNotFound
	case pb.OperationState_OPERATION_STATE_REJECTED:
		return rpc.StateRejected
	case pb.OperationState_OPERATION_STATE_PENDING:
		return rpc.StatePending
	case pb.OperationState_OPERATION_STATE_BUNDLED:
		return rpc.StateBundled
	case pb.OperationState_OPERATION_STATE_SUBMITTED:
		return rpc.StateSubmitted
	case pb.OperationState_OPERATION_STATE_INCLUDED:
		return rpc.StateIncluded
	case pb.OperationState_OPERATION_STATE_FAILED:
		return rpc.StateFailed
	case pb.OperationState_OPERATION_STATE_DROPPED:
		return rpc.StateDropped
	default:
		d.fail("state", "have %d, which is not known", s)
		return ""
	}
}

func encodeStatus(s *rpc.OperationStatus) *pb.OperationStatus {
	if s == nil {
		return nil
	}
	return &pb.OperationStatus{State: encodeState(s.State), Transaction: encodeOptionalHash(s.Transaction), Block: s.Block, Reason: valid(s.Reason)}
}

func (d *decoder) status(m *pb.OperationStatus) *rpc.OperationStatus {
	if m == nil {
		return nil
	}
	return &rpc.OperationStatus{
		State: d.state(m.GetState()), Transaction: d.optionalHash("transaction", m.GetTransaction()), Block: m.Block, Reason: m.GetReason(),
	}
}

// encodeOptionalNumber tells zero, which is empty, from none, which is absent.
func encodeOptionalNumber(n *uint256.Int) []byte {
	if n == nil {
		return nil
	}
	return append([]byte{}, n.Bytes()...)
}

func (d *decoder) optionalNumber(field string, raw []byte) *uint256.Int {
	if raw == nil {
		return nil
	}
	n := d.number(field, raw)
	return &n
}

func encodeTimeline(entries []rpc.TimelineEntry) []*pb.TimelineEntry {
	list := make([]*pb.TimelineEntry, len(entries))
	for i, e := range entries {
		list[i] = &pb.TimelineEntry{
			At: e.At, Block: e.Block, Event: valid(e.Event), Reason: valid(e.Reason), Cause: valid(e.Cause), Code: encodeCode(e.Code),
			Rule: valid(e.Rule), Have: encodeOptionalNumber(e.Have), Want: encodeOptionalNumber(e.Want), About: encodeOptionalAddress(e.About),
			Other: encodeOptionalHash(e.Other), Signer: encodeOptionalAddress(e.Signer), Transaction: encodeOptionalHash(e.Transaction),
			Nonce: e.Nonce, Success: e.Success, GasUsed: encodeOptionalNumber(e.GasUsed), GasCost: encodeOptionalNumber(e.GasCost),
			Times: encodeCount(e.Times), LastAt: e.LastAt, LastBlock: e.LastBlock,
		}
		if e.Fees != nil {
			list[i].Fees = encodeFees(*e.Fees)
		}
	}
	return list
}

func (d *decoder) timeline(list []*pb.TimelineEntry) []rpc.TimelineEntry {
	if len(list) == 0 {
		return nil
	}
	entries := make([]rpc.TimelineEntry, len(list))
	for i, m := range list {
		entries[i] = rpc.TimelineEntry{
			At: m.GetAt(), Block: m.GetBlock(), Event: m.GetEvent(), Reason: m.GetReason(), Cause: m.GetCause(), Code: int(m.GetCode()),
			Rule: m.GetRule(), Have: d.optionalNumber("have", m.GetHave()), Want: d.optionalNumber("want", m.GetWant()),
			About: d.optionalAddress("about", m.GetAbout()), Other: d.optionalHash("other", m.GetOther()),
			Signer: d.optionalAddress("signer", m.GetSigner()), Transaction: d.optionalHash("transaction", m.GetTransaction()),
			Nonce: m.Nonce, Success: m.Success, GasUsed: d.optionalNumber("gas_used", m.GetGasUsed()),
			GasCost: d.optionalNumber("gas_cost", m.GetGasCost()), Times: d.small("times", m.GetTimes()),
			LastAt: m.GetLastAt(), LastBlock: m.GetLastBlock(),
		}
		if m.GetFees() != nil {
			fees := d.fees("fees", m.GetFees())
			entries[i].Fees = &fees
		}
	}
	return entries
}

func encodePrice(p *rpc.GasPrice) *pb.GasPrice {
	if p == nil {
		return nil
	}
	return &pb.GasPrice{
		Block: p.Block, BaseFee: encodeNumber(p.BaseFee), Required: encodeFees(p.Required),
		Slow: encodeFees(p.Slow), Standard: encodeFees(p.Standard), Fast: encodeFees(p.Fast),
	}
}

func decodePrice(m *pb.GasPrice) (*rpc.GasPrice, error) {
	if m == nil {
		return nil, nil
	}
	var d decoder
	p := &rpc.GasPrice{
		Block: m.GetBlock(), BaseFee: d.number("base_fee", m.GetBaseFee()), Required: d.fees("required", m.GetRequired()),
		Slow: d.fees("slow", m.GetSlow()), Standard: d.fees("standard", m.GetStandard()), Fast: d.fees("fast", m.GetFast()),
	}
	return p, d.err
}

func encodeExplanation(e *rpc.Explanation) *pb.Explanation {
	if e == nil {
		return nil
	}
	m := &pb.Explanation{Status: encodeStatus(e.Status), Timeline: encodeTimeline(e.Timeline)}
	if x := e.Expected; x != nil {
		m.Expected = &pb.Expectation{
			Block: x.Block, BaseFee: encodeNumber(x.BaseFee), Offers: encodeFees(x.Offers), Required: encodeFees(x.Required),
			HighestBaseFee: encodeOptionalNumber(x.HighestBaseFee), EarliestBlock: x.EarliestBlock, Predecessors: x.Predecessors,
			PayingMore: encodeCount(x.PayingMore), ValidAfter: x.ValidAfter, ValidUntil: x.ValidUntil, InBlocks: x.InBlocks, Held: x.Held,
		}
		for _, text := range x.Waits {
			m.Expected.Waits = append(m.Expected.Waits, valid(text))
		}
	}
	return m
}

func decodeExplanation(m *pb.Explanation) (*rpc.Explanation, error) {
	if m == nil {
		return nil, nil
	}
	var d decoder
	e := &rpc.Explanation{Status: d.status(m.GetStatus()), Timeline: d.timeline(m.GetTimeline())}
	if x := m.GetExpected(); x != nil {
		e.Expected = &rpc.Expectation{
			Block: x.GetBlock(), BaseFee: d.number("base_fee", x.GetBaseFee()), Offers: d.fees("offers", x.GetOffers()),
			Required: d.fees("required", x.GetRequired()), HighestBaseFee: d.optionalNumber("highest_base_fee", x.GetHighestBaseFee()),
			EarliestBlock: x.EarliestBlock, Predecessors: x.GetPredecessors(), PayingMore: d.small("paying_more", x.GetPayingMore()),
			ValidAfter: x.GetValidAfter(), ValidUntil: x.GetValidUntil(), InBlocks: x.GetInBlocks(), Held: x.GetHeld(), Waits: x.GetWaits(),
		}
	}
	return e, d.err
}

func encodeProfitQuery(q profit.Query) *pb.ProfitRequest {
	m := &pb.ProfitRequest{Since: uint64(q.Since), Bundles: encodeCount(q.Bundles)}
	if q.Signer != (common.Address{}) {
		m.Signer = encodeAddress(q.Signer)
	}
	return m
}

func decodeProfitQuery(m *pb.ProfitRequest) (profit.Query, error) {
	var d decoder
	q := profit.Query{Since: profit.Day(m.GetSince()), Bundles: d.small("bundles", m.GetBundles())}
	if signer := d.optionalAddress("signer", m.GetSigner()); signer != nil {
		q.Signer = *signer
	}
	return q, d.err
}

func encodeSum(s *profit.Sum) *pb.ProfitSum {
	return &pb.ProfitSum{
		Bundles: s.Bundles, Reverted: s.Reverted, Cancellations: s.Cancellations, Operations: s.Operations,
		GasLimit: s.GasLimit, GasUsed: s.GasUsed, ChargedGas: s.ChargedGas,
		Earned: encodeNumber(s.Earned), Cost: encodeNumber(s.Cost), L1Fee: encodeNumber(s.L1Fee), Wasted: encodeNumber(s.Wasted),
	}
}

func (d *decoder) sum(m *pb.ProfitSum) profit.Sum {
	return profit.Sum{
		Bundles: m.GetBundles(), Reverted: m.GetReverted(), Cancellations: m.GetCancellations(), Operations: m.GetOperations(),
		GasLimit: m.GetGasLimit(), GasUsed: m.GetGasUsed(), ChargedGas: m.GetChargedGas(),
		Earned: d.number("earned", m.GetEarned()), Cost: d.number("cost", m.GetCost()), L1Fee: d.number("l1_fee", m.GetL1Fee()),
		Wasted: d.number("wasted", m.GetWasted()),
	}
}

func encodeReport(r *profit.Report) *pb.ProfitReport {
	if r == nil {
		return nil
	}
	m := &pb.ProfitReport{Total: encodeSum(&r.Total)}
	for _, s := range r.Signers {
		m.Signers = append(m.Signers, &pb.SignerSum{Signer: encodeAddress(s.Signer), Sum: encodeSum(&s.Sum)})
	}
	for _, s := range r.Days {
		m.Days = append(m.Days, &pb.DaySum{Day: uint64(s.Day), Sum: encodeSum(&s.Sum)})
	}
	for _, e := range r.Entries {
		m.Entries = append(m.Entries, encodeEntry(&e))
	}
	return m
}

func decodeReport(m *pb.ProfitReport) (*profit.Report, error) {
	if m == nil {
		return nil, nil
	}
	var d decoder
	r := &profit.Report{Total: d.sum(m.GetTotal())}
	for _, s := range m.GetSigners() {
		r.Signers = append(r.Signers, profit.SignerSum{Signer: d.address("signer", s.GetSigner()), Sum: d.sum(s.GetSum())})
	}
	for _, s := range m.GetDays() {
		if s.GetDay() > math.MaxInt32 {
			d.fail("day", "have %d", s.GetDay())
		}
		r.Days = append(r.Days, profit.DaySum{Day: profit.Day(s.GetDay()), Sum: d.sum(s.GetSum())})
	}
	for _, e := range m.GetEntries() {
		r.Entries = append(r.Entries, d.entry(e))
	}
	return r, d.err
}

func encodeReputations(list []rpc.Reputation) []*pb.Reputation {
	messages := make([]*pb.Reputation, len(list))
	for i, r := range list {
		messages[i] = &pb.Reputation{Address: encodeAddress(r.Address), Seen: r.OpsSeen, Included: r.OpsIncluded, Status: valid(r.Status)}
	}
	return messages
}

func decodeReputations(messages []*pb.Reputation) ([]rpc.Reputation, error) {
	var d decoder
	list := make([]rpc.Reputation, len(messages))
	for i, m := range messages {
		switch m.GetStatus() {
		case "", "ok", "throttled", "banned":
		default:
			d.fail("status", "have %.32q, which is not known", m.GetStatus())
		}
		list[i] = rpc.Reputation{
			Address: d.address("address", m.GetAddress()), OpsSeen: m.GetSeen(), OpsIncluded: m.GetIncluded(), Status: m.GetStatus(),
		}
	}
	return list, d.err
}

func encodeStake(s *rpc.StakeStatus) *pb.StakeStatus {
	if s == nil {
		return nil
	}
	return &pb.StakeStatus{
		Address: encodeAddress(s.Address), Stake: encodeNumber(s.Stake), UnstakeDelay: s.UnstakeDelaySec, Staked: s.Staked,
	}
}

func decodeStake(m *pb.StakeStatus) (*rpc.StakeStatus, error) {
	if m == nil {
		return nil, nil
	}
	var d decoder
	s := &rpc.StakeStatus{
		Address: d.address("address", m.GetAddress()), Stake: d.number("stake", m.GetStake()), UnstakeDelaySec: m.GetUnstakeDelay(),
		Staked: m.GetStaked(),
	}
	return s, d.err
}
