package remote

import (
	"context"

	"baler/entrypoint"
	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/profit"
	pb "baler/remote/remotev1"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// edgePort is [node.EdgePool] at the other end.
type edgePort struct{ *Client }

var _ node.EdgePool = edgePort{}

// Edge returns the pool as the JSON-RPC edge sees it. Its calls are repeated until their time is over, but for SendBundleNow
// and DropUserOperation: when they may have been carried out, the caller is told of the error.
func (c *Client) Edge() node.EdgePool { return edgePort{c} }

func (p edgePort) method(name string) method { return method{name: name, time: p.cfg.EdgeTime} }

// Precheck implements [node.EdgePool].
func (p edgePort) Precheck(ctx context.Context, op *pool.Operation, received bool) (node.Standing, error) {
	operation, err := encodePooled(op)
	if err != nil {
		return node.Standing{}, err
	}
	answer, err := call(ctx, p.Client, p.method("Precheck"), &pb.PrecheckRequest{Operation: operation, Received: received},
		func(e *endpoint, ctx context.Context, r *pb.PrecheckRequest) (*pb.PrecheckResponse, error) {
			return e.edge.Precheck(ctx, r)
		})
	if err != nil {
		return node.Standing{}, err
	}
	standing, err := decodeStanding(answer.GetStanding())
	return standing, misunderstood("Precheck", err)
}

// Lane implements [node.EdgePool].
func (p edgePort) Lane(ctx context.Context, entryPoint, sender common.Address, nonce uint256.Int) (node.Standing, error) {
	answer, err := call(ctx, p.Client, p.method("Lane"),
		&pb.LaneRequest{EntryPoint: encodeAddress(entryPoint), Sender: encodeAddress(sender), Nonce: encodeNumber(nonce)},
		func(e *endpoint, ctx context.Context, r *pb.LaneRequest) (*pb.LaneResponse, error) {
			return e.edge.Lane(ctx, r)
		})
	if err != nil {
		return node.Standing{}, err
	}
	standing, err := decodeStanding(answer.GetStanding())
	return standing, misunderstood("Lane", err)
}

// Admit implements [node.EdgePool]. An operation is admitted once however often it is asked for: its hash is its identity.
func (p edgePort) Admit(ctx context.Context, op *pool.Operation, deposit *uint256.Int) error {
	operation, err := encodePooled(op)
	if err != nil {
		return err
	}
	r := &pb.AdmitRequest{Operation: operation}
	if deposit != nil {
		r.Deposit = &pb.Amount{Wei: encodeNumber(*deposit)}
	}
	_, err = call(ctx, p.Client, p.method("Admit"), r,
		func(e *endpoint, ctx context.Context, r *pb.AdmitRequest) (*pb.AdmitResponse, error) {
			return e.edge.Admit(ctx, r)
		})
	return err
}

// Tell implements [node.EdgePool], as [node.BuilderPool]'s.
func (p edgePort) Tell(_ context.Context, events []event.Event) error {
	p.outbox.put(events)
	return nil
}

// UserOperationByHash implements [rpc.Backend].
func (p edgePort) UserOperationByHash(ctx context.Context, hash common.Hash) (*rpc.OperationInfo, error) {
	answer, err := call(ctx, p.Client, p.method("UserOperationByHash"), &pb.UserOperationByHashRequest{Hash: encodeHash(hash)},
		func(e *endpoint, ctx context.Context, r *pb.UserOperationByHashRequest) (*pb.UserOperationByHashResponse, error) {
			return e.edge.UserOperationByHash(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	info, err := decodeInfo(answer.GetInfo())
	return info, misunderstood("UserOperationByHash", err)
}

// UserOperationReceipt implements [rpc.Backend].
func (p edgePort) UserOperationReceipt(ctx context.Context, hash common.Hash) (*rpc.OperationReceipt, error) {
	answer, err := call(ctx, p.Client, p.method("UserOperationReceipt"), &pb.UserOperationReceiptRequest{Hash: encodeHash(hash)},
		func(e *endpoint, ctx context.Context, r *pb.UserOperationReceiptRequest) (*pb.UserOperationReceiptResponse, error) {
			return e.edge.UserOperationReceipt(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	receipt, err := decodeReceipt(answer.GetReceipt())
	return receipt, misunderstood("UserOperationReceipt", err)
}

// UserOperationStatus implements [rpc.BalerBackend].
func (p edgePort) UserOperationStatus(ctx context.Context, hash common.Hash) (*rpc.OperationStatus, error) {
	answer, err := call(ctx, p.Client, p.method("UserOperationStatus"), &pb.UserOperationStatusRequest{Hash: encodeHash(hash)},
		func(e *endpoint, ctx context.Context, r *pb.UserOperationStatusRequest) (*pb.UserOperationStatusResponse, error) {
			return e.edge.UserOperationStatus(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	var d decoder
	status := d.status(answer.GetStatus())
	return status, misunderstood("UserOperationStatus", d.err)
}

// UserOperationTimeline implements [rpc.BalerBackend].
func (p edgePort) UserOperationTimeline(ctx context.Context, hash common.Hash) ([]rpc.TimelineEntry, error) {
	answer, err := call(ctx, p.Client, p.method("UserOperationTimeline"), &pb.UserOperationTimelineRequest{Hash: encodeHash(hash)},
		func(e *endpoint, ctx context.Context, r *pb.UserOperationTimelineRequest) (*pb.UserOperationTimelineResponse, error) {
			return e.edge.UserOperationTimeline(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	var d decoder
	entries := d.timeline(answer.GetEntries())
	return entries, misunderstood("UserOperationTimeline", d.err)
}

// GasPrice implements [rpc.BalerBackend].
func (p edgePort) GasPrice(ctx context.Context) (*rpc.GasPrice, error) {
	answer, err := call(ctx, p.Client, p.method("GasPrice"), new(pb.GasPriceRequest),
		func(e *endpoint, ctx context.Context, r *pb.GasPriceRequest) (*pb.GasPriceResponse, error) {
			return e.edge.GasPrice(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	price, err := decodePrice(answer.GetPrice())
	return price, misunderstood("GasPrice", err)
}

// ExplainUserOperation implements [rpc.BalerBackend].
func (p edgePort) ExplainUserOperation(ctx context.Context, hash common.Hash) (*rpc.Explanation, error) {
	answer, err := call(ctx, p.Client, p.method("ExplainUserOperation"), &pb.ExplainUserOperationRequest{Hash: encodeHash(hash)},
		func(e *endpoint, ctx context.Context, r *pb.ExplainUserOperationRequest) (*pb.ExplainUserOperationResponse, error) {
			return e.edge.ExplainUserOperation(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	explanation, err := decodeExplanation(answer.GetExplanation())
	return explanation, misunderstood("ExplainUserOperation", err)
}

// Profit implements [rpc.BalerBackend].
func (p edgePort) Profit(ctx context.Context, q profit.Query) (*profit.Report, error) {
	answer, err := call(ctx, p.Client, p.method("Profit"), encodeProfitQuery(q),
		func(e *endpoint, ctx context.Context, r *pb.ProfitRequest) (*pb.ProfitResponse, error) {
			return e.edge.Profit(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	report, err := decodeReport(answer.GetReport())
	return report, misunderstood("Profit", err)
}

// DropUserOperation implements [rpc.BalerBackend].
func (p edgePort) DropUserOperation(ctx context.Context, ep entrypoint.EntryPoint, request *userop.UserOperation) (*common.Hash, error) {
	operation, err := encodeUserOperation(request)
	if err != nil {
		return nil, err
	}
	m := p.method("DropUserOperation")
	m.once = true
	answer, err := call(ctx, p.Client, m, &pb.DropUserOperationRequest{EntryPoint: encodeEntryPoint(ep), Operation: operation},
		func(e *endpoint, ctx context.Context, r *pb.DropUserOperationRequest) (*pb.DropUserOperationResponse, error) {
			return e.edge.DropUserOperation(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	var d decoder
	hash := d.optionalHash("hash", answer.GetHash())
	return hash, misunderstood("DropUserOperation", d.err)
}

// SendBundleNow implements [rpc.DebugBackend].
func (p edgePort) SendBundleNow(ctx context.Context) (common.Hash, error) {
	answer, err := call(ctx, p.Client, method{name: "SendBundleNow", time: p.cfg.SendTime, once: true}, new(pb.SendBundleNowRequest),
		func(e *endpoint, ctx context.Context, r *pb.SendBundleNowRequest) (*pb.SendBundleNowResponse, error) {
			return e.edge.SendBundleNow(ctx, r)
		})
	if err != nil {
		return common.Hash{}, err
	}
	var d decoder
	hash := d.hash("transaction", answer.GetTransaction())
	return hash, misunderstood("SendBundleNow", d.err)
}

// SetBundlingMode implements [rpc.DebugBackend].
func (p edgePort) SetBundlingMode(ctx context.Context, auto bool) error {
	_, err := call(ctx, p.Client, p.method("SetBundlingMode"), &pb.SetBundlingModeRequest{Auto: auto},
		func(e *endpoint, ctx context.Context, r *pb.SetBundlingModeRequest) (*pb.SetBundlingModeResponse, error) {
			return e.edge.SetBundlingMode(ctx, r)
		})
	return err
}

// DumpMempool implements [rpc.DebugBackend].
func (p edgePort) DumpMempool(ctx context.Context, ep entrypoint.EntryPoint) ([]*userop.UserOperation, error) {
	var ops []*userop.UserOperation
	_, err := call(ctx, p.Client, method{name: "DumpMempool", time: 3 * p.cfg.EdgeTime}, &pb.DumpMempoolRequest{EntryPoint: encodeEntryPoint(ep)},
		func(e *endpoint, ctx context.Context, r *pb.DumpMempoolRequest) (*pb.DumpMempoolResponse, error) {
			stream, err := e.edge.DumpMempool(ctx, r)
			if err != nil {
				return nil, err
			}
			defer stream.Close() //nolint:errcheck // what is wrong, Err says
			ops = nil            // an attempt before may have come half way
			for stream.Receive() {
				if stream.Msg().GetFailure() != nil {
					return stream.Msg(), nil
				}
				for _, m := range stream.Msg().GetOperations() {
					op, err := decodeUserOperation(m)
					if err != nil {
						return nil, &Error{Method: "DumpMempool", Cause: NotUnderstood, Sent: true, err: err}
					}
					ops = append(ops, op)
				}
			}
			return new(pb.DumpMempoolResponse), stream.Err()
		})
	if err != nil {
		return nil, err
	}
	return ops, nil
}

// ClearState implements [rpc.DebugBackend].
func (p edgePort) ClearState(ctx context.Context) error {
	_, err := call(ctx, p.Client, p.method("ClearState"), new(pb.ClearStateRequest),
		func(e *endpoint, ctx context.Context, r *pb.ClearStateRequest) (*pb.ClearStateResponse, error) {
			return e.edge.ClearState(ctx, r)
		})
	return err
}

// ClearMempool implements [rpc.DebugBackend].
func (p edgePort) ClearMempool(ctx context.Context, ep *entrypoint.EntryPoint) error {
	r := new(pb.ClearMempoolRequest)
	if ep != nil {
		r.EntryPoint = encodeEntryPoint(*ep)
	}
	_, err := call(ctx, p.Client, p.method("ClearMempool"), r,
		func(e *endpoint, ctx context.Context, r *pb.ClearMempoolRequest) (*pb.ClearMempoolResponse, error) {
			return e.edge.ClearMempool(ctx, r)
		})
	return err
}

// ClearReputation implements [rpc.DebugBackend].
func (p edgePort) ClearReputation(ctx context.Context) error {
	_, err := call(ctx, p.Client, p.method("ClearReputation"), new(pb.ClearReputationRequest),
		func(e *endpoint, ctx context.Context, r *pb.ClearReputationRequest) (*pb.ClearReputationResponse, error) {
			return e.edge.ClearReputation(ctx, r)
		})
	return err
}

// SetReputation implements [rpc.DebugBackend].
func (p edgePort) SetReputation(ctx context.Context, entries []rpc.Reputation) error {
	_, err := call(ctx, p.Client, p.method("SetReputation"), &pb.SetReputationRequest{Reputations: encodeReputations(entries)},
		func(e *endpoint, ctx context.Context, r *pb.SetReputationRequest) (*pb.SetReputationResponse, error) {
			return e.edge.SetReputation(ctx, r)
		})
	return err
}

// DumpReputation implements [rpc.DebugBackend].
func (p edgePort) DumpReputation(ctx context.Context) ([]rpc.Reputation, error) {
	answer, err := call(ctx, p.Client, p.method("DumpReputation"), new(pb.DumpReputationRequest),
		func(e *endpoint, ctx context.Context, r *pb.DumpReputationRequest) (*pb.DumpReputationResponse, error) {
			return e.edge.DumpReputation(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	list, err := decodeReputations(answer.GetReputations())
	return list, misunderstood("DumpReputation", err)
}

// StakeStatus implements [rpc.DebugBackend].
func (p edgePort) StakeStatus(ctx context.Context, ep entrypoint.EntryPoint, address common.Address) (*rpc.StakeStatus, error) {
	answer, err := call(ctx, p.Client, p.method("StakeStatus"),
		&pb.StakeStatusRequest{EntryPoint: encodeEntryPoint(ep), Address: encodeAddress(address)},
		func(e *endpoint, ctx context.Context, r *pb.StakeStatusRequest) (*pb.StakeStatusResponse, error) {
			return e.edge.StakeStatus(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	status, err := decodeStake(answer.GetStatus())
	return status, misunderstood("StakeStatus", err)
}

// AddUserOperations implements [rpc.DebugBackend].
func (p edgePort) AddUserOperations(ctx context.Context, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error {
	r := &pb.AddUserOperationsRequest{EntryPoint: encodeEntryPoint(ep)}
	for _, op := range ops {
		m, err := encodeUserOperation(op)
		if err != nil {
			return err
		}
		r.Operations = append(r.Operations, m)
	}
	_, err := call(ctx, p.Client, p.method("AddUserOperations"), r,
		func(e *endpoint, ctx context.Context, r *pb.AddUserOperationsRequest) (*pb.AddUserOperationsResponse, error) {
			return e.edge.AddUserOperations(ctx, r)
		})
	return err
}

// SetConfiguration implements [rpc.DebugBackend].
func (p edgePort) SetConfiguration(ctx context.Context, settings map[string]uint64) error {
	r := &pb.SetConfigurationRequest{Settings: make(map[string]uint64, len(settings))}
	for name, value := range settings {
		r.Settings[valid(name)] = value
	}
	_, err := call(ctx, p.Client, p.method("SetConfiguration"), r,
		func(e *endpoint, ctx context.Context, r *pb.SetConfigurationRequest) (*pb.SetConfigurationResponse, error) {
			return e.edge.SetConfiguration(ctx, r)
		})
	return err
}

func encodeStanding(s node.Standing) *pb.Standing {
	return &pb.Standing{Known: s.Known, Ahead: s.Ahead, Head: encodeHeadHash(s.Head), BundleSize: s.BundleSize}
}

func decodeStanding(m *pb.Standing) (node.Standing, error) {
	s := node.Standing{Known: m.GetKnown(), Ahead: m.GetAhead(), BundleSize: m.GetBundleSize()}
	var err error
	s.Head, err = decodeHead(m.GetHead())
	return s, err
}

func decodeEntryPoint(m *pb.EntryPoint) (entrypoint.EntryPoint, error) {
	var d decoder
	ep := d.entryPoint("entry_point", m)
	return ep, d.err
}
