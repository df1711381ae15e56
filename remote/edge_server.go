package remote

import (
	"context"

	"baler/entrypoint"
	pb "baler/remote/remotev1"
	"baler/userop"

	"connectrpc.com/connect"
	"github.com/holiman/uint256"
)

// edgeHandler serves [node.EdgePool].
type edgeHandler struct{ server *Server }

var _ pb.EdgeServiceHandler = (*edgeHandler)(nil)

// Precheck implements the service.
func (h *edgeHandler) Precheck(ctx context.Context, r *pb.PrecheckRequest) (*pb.PrecheckResponse, error) {
	op, err := decodePooled(r.GetOperation())
	if err != nil {
		return nil, notUnderstood(err)
	}
	standing, err := termOf(ctx).edge.Precheck(ctx, op, r.GetReceived())
	m := &pb.PrecheckResponse{Standing: encodeStanding(standing)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Lane implements the service.
func (h *edgeHandler) Lane(ctx context.Context, r *pb.LaneRequest) (*pb.LaneResponse, error) {
	var d decoder
	ep, sender, nonce := d.address("entry_point", r.GetEntryPoint()), d.address("sender", r.GetSender()), d.number("nonce", r.GetNonce())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	standing, err := termOf(ctx).edge.Lane(ctx, ep, sender, nonce)
	m := &pb.LaneResponse{Standing: encodeStanding(standing)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Admit implements the service.
func (h *edgeHandler) Admit(ctx context.Context, r *pb.AdmitRequest) (*pb.AdmitResponse, error) {
	op, err := decodePooled(r.GetOperation())
	if err != nil {
		return nil, notUnderstood(err)
	}
	var deposit *uint256.Int
	if r.GetDeposit() != nil {
		var d decoder
		wei := d.number("deposit", r.GetDeposit().GetWei())
		if d.err != nil {
			return nil, notUnderstood(d.err)
		}
		deposit = &wei
	}
	m := new(pb.AdmitResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.Admit(ctx, op, deposit))
	return m, err
}

// UserOperationByHash implements the service.
func (h *edgeHandler) UserOperationByHash(ctx context.Context, r *pb.UserOperationByHashRequest) (*pb.UserOperationByHashResponse, error) {
	var d decoder
	hash := d.hash("hash", r.GetHash())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	info, err := termOf(ctx).edge.UserOperationByHash(ctx, hash)
	m := new(pb.UserOperationByHashResponse)
	if m.Failure, err = failure(ctx, err); err != nil || m.Failure != nil {
		return m, err
	}
	m.Info, err = encodeInfo(info)
	return m, err
}

// UserOperationReceipt implements the service.
func (h *edgeHandler) UserOperationReceipt(ctx context.Context, r *pb.UserOperationReceiptRequest) (*pb.UserOperationReceiptResponse, error) {
	var d decoder
	hash := d.hash("hash", r.GetHash())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	receipt, err := termOf(ctx).edge.UserOperationReceipt(ctx, hash)
	m := &pb.UserOperationReceiptResponse{Receipt: encodeReceipt(receipt)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// UserOperationStatus implements the service.
func (h *edgeHandler) UserOperationStatus(ctx context.Context, r *pb.UserOperationStatusRequest) (*pb.UserOperationStatusResponse, error) {
	var d decoder
	hash := d.hash("hash", r.GetHash())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	status, err := termOf(ctx).edge.UserOperationStatus(ctx, hash)
	m := &pb.UserOperationStatusResponse{Status: encodeStatus(status)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// UserOperationTimeline implements the service.
func (h *edgeHandler) UserOperationTimeline(ctx context.Context, r *pb.UserOperationTimelineRequest) (*pb.UserOperationTimelineResponse, error) {
	var d decoder
	hash := d.hash("hash", r.GetHash())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	entries, err := termOf(ctx).edge.UserOperationTimeline(ctx, hash)
	m := &pb.UserOperationTimelineResponse{Entries: encodeTimeline(entries)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// GasPrice implements the service.
func (h *edgeHandler) GasPrice(ctx context.Context, _ *pb.GasPriceRequest) (*pb.GasPriceResponse, error) {
	price, err := termOf(ctx).edge.GasPrice(ctx)
	m := &pb.GasPriceResponse{Price: encodePrice(price)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// ExplainUserOperation implements the service.
func (h *edgeHandler) ExplainUserOperation(ctx context.Context, r *pb.ExplainUserOperationRequest) (*pb.ExplainUserOperationResponse, error) {
	var d decoder
	hash := d.hash("hash", r.GetHash())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	explanation, err := termOf(ctx).edge.ExplainUserOperation(ctx, hash)
	m := &pb.ExplainUserOperationResponse{Explanation: encodeExplanation(explanation)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Profit implements the service.
func (h *edgeHandler) Profit(ctx context.Context, r *pb.ProfitRequest) (*pb.ProfitResponse, error) {
	q, err := decodeProfitQuery(r)
	if err != nil {
		return nil, notUnderstood(err)
	}
	report, err := termOf(ctx).edge.Profit(ctx, q)
	m := &pb.ProfitResponse{Report: encodeReport(report)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// DropUserOperation implements the service.
func (h *edgeHandler) DropUserOperation(ctx context.Context, r *pb.DropUserOperationRequest) (*pb.DropUserOperationResponse, error) {
	ep, err := decodeEntryPoint(r.GetEntryPoint())
	if err != nil {
		return nil, notUnderstood(err)
	}
	op, err := decodeUserOperation(r.GetOperation())
	if err != nil {
		return nil, notUnderstood(err)
	}
	hash, err := termOf(ctx).edge.DropUserOperation(ctx, ep, op)
	m := &pb.DropUserOperationResponse{Hash: encodeOptionalHash(hash)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// SendBundleNow implements the service.
func (h *edgeHandler) SendBundleNow(ctx context.Context, _ *pb.SendBundleNowRequest) (*pb.SendBundleNowResponse, error) {
	hash, err := termOf(ctx).edge.SendBundleNow(ctx)
	m := &pb.SendBundleNowResponse{Transaction: encodeHash(hash)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// SetBundlingMode implements the service.
func (h *edgeHandler) SetBundlingMode(ctx context.Context, r *pb.SetBundlingModeRequest) (*pb.SetBundlingModeResponse, error) {
	var err error
	m := new(pb.SetBundlingModeResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.SetBundlingMode(ctx, r.GetAuto()))
	return m, err
}

// DumpMempool implements the service, in messages of a bounded size.
func (h *edgeHandler) DumpMempool(ctx context.Context, r *pb.DumpMempoolRequest, stream *connect.ServerStream[pb.DumpMempoolResponse]) error {
	ep, err := decodeEntryPoint(r.GetEntryPoint())
	if err != nil {
		return notUnderstood(err)
	}
	ops, err := termOf(ctx).edge.DumpMempool(ctx, ep)
	m := new(pb.DumpMempoolResponse)
	if m.Failure, err = failure(ctx, err); err != nil {
		return err
	}
	room := answerBytes
	for _, op := range ops {
		encoded, err := encodeUserOperation(op)
		if err != nil {
			return err
		}
		m.Operations = append(m.Operations, encoded)
		if room -= len(encoded.GetJson()); room <= 0 {
			if err := stream.Send(m); err != nil {
				return err
			}
			m, room = new(pb.DumpMempoolResponse), answerBytes
		}
	}
	return stream.Send(m)
}

// ClearState implements the service.
func (h *edgeHandler) ClearState(ctx context.Context, _ *pb.ClearStateRequest) (*pb.ClearStateResponse, error) {
	var err error
	m := new(pb.ClearStateResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.ClearState(ctx))
	return m, err
}

// ClearMempool implements the service.
func (h *edgeHandler) ClearMempool(ctx context.Context, r *pb.ClearMempoolRequest) (*pb.ClearMempoolResponse, error) {
	var only *entrypoint.EntryPoint
	if r.GetEntryPoint() != nil {
		ep, err := decodeEntryPoint(r.GetEntryPoint())
		if err != nil {
			return nil, notUnderstood(err)
		}
		only = &ep
	}
	var err error
	m := new(pb.ClearMempoolResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.ClearMempool(ctx, only))
	return m, err
}

// ClearReputation implements the service.
func (h *edgeHandler) ClearReputation(ctx context.Context, _ *pb.ClearReputationRequest) (*pb.ClearReputationResponse, error) {
	var err error
	m := new(pb.ClearReputationResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.ClearReputation(ctx))
	return m, err
}

// SetReputation implements the service.
func (h *edgeHandler) SetReputation(ctx context.Context, r *pb.SetReputationRequest) (*pb.SetReputationResponse, error) {
	list, err := decodeReputations(r.GetReputations())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.SetReputationResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.SetReputation(ctx, list))
	return m, err
}

// DumpReputation implements the service.
func (h *edgeHandler) DumpReputation(ctx context.Context, _ *pb.DumpReputationRequest) (*pb.DumpReputationResponse, error) {
	list, err := termOf(ctx).edge.DumpReputation(ctx)
	m := &pb.DumpReputationResponse{Reputations: encodeReputations(list)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// StakeStatus implements the service.
func (h *edgeHandler) StakeStatus(ctx context.Context, r *pb.StakeStatusRequest) (*pb.StakeStatusResponse, error) {
	var d decoder
	ep, address := d.entryPoint("entry_point", r.GetEntryPoint()), d.address("address", r.GetAddress())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	status, err := termOf(ctx).edge.StakeStatus(ctx, ep, address)
	m := &pb.StakeStatusResponse{Status: encodeStake(status)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// AddUserOperations implements the service.
func (h *edgeHandler) AddUserOperations(ctx context.Context, r *pb.AddUserOperationsRequest) (*pb.AddUserOperationsResponse, error) {
	ep, err := decodeEntryPoint(r.GetEntryPoint())
	if err != nil {
		return nil, notUnderstood(err)
	}
	ops := make([]*userop.UserOperation, len(r.GetOperations()))
	for i, m := range r.GetOperations() {
		if ops[i], err = decodeUserOperation(m); err != nil {
			return nil, notUnderstood(err)
		}
	}
	m := new(pb.AddUserOperationsResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.AddUserOperations(ctx, ep, ops))
	return m, err
}

// SetConfiguration implements the service.
func (h *edgeHandler) SetConfiguration(ctx context.Context, r *pb.SetConfigurationRequest) (*pb.SetConfigurationResponse, error) {
	var err error
	m := new(pb.SetConfigurationResponse)
	m.Failure, err = failure(ctx, termOf(ctx).edge.SetConfiguration(ctx, r.GetSettings()))
	return m, err
}
