package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"baler/entrypoint"
	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/proposer"
	pb "baler/remote/remotev1"

	"github.com/ethereum/go-ethereum/common"
)

// builderPort is [node.BuilderPool] at the other end.
type builderPort struct{ *Client }

var _ node.BuilderPool = builderPort{}

// Builder returns the pool as bundle senders see it. All of its calls may be repeated, and are until their time is over.
func (c *Client) Builder() node.BuilderPool { return builderPort{c} }

// ask makes one of a builder's calls.
func (p builderPort) method(name string) method { return method{name: name, time: p.cfg.BuilderTime} }

// EntryPoints implements [node.BuilderPool].
func (p builderPort) EntryPoints(ctx context.Context) ([]entrypoint.EntryPoint, error) {
	answer, err := call(ctx, p.Client, p.method("EntryPoints"), new(pb.EntryPointsRequest),
		func(e *endpoint, ctx context.Context, r *pb.EntryPointsRequest) (*pb.EntryPointsResponse, error) {
			return e.builder.EntryPoints(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	var d decoder
	var list []entrypoint.EntryPoint
	for _, m := range answer.GetEntryPoints() {
		list = append(list, d.entryPoint("entry_points", m))
	}
	return list, misunderstood("EntryPoints", d.err)
}

// Candidates implements [node.BuilderPool]. What the pool's process has sent before comes as a hash, and is the same
// *pool.Operation as before.
func (p builderPort) Candidates(ctx context.Context, q pool.Query) (node.Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.BuilderTime)
	defer cancel()
	answer, err := call(ctx, p.Client, p.method("Candidates"), &pb.CandidatesRequest{Client: p.id, Query: encodeQuery(q)},
		func(e *endpoint, ctx context.Context, r *pb.CandidatesRequest) (*pb.CandidatesResponse, error) {
			return e.builder.Candidates(ctx, r)
		})
	if err != nil {
		return node.Offer{}, err
	}
	offer := node.Offer{BundleSize: answer.GetBundleSize()}
	if offer.Head, err = decodeHead(answer.GetHead()); err != nil {
		return node.Offer{}, misunderstood("Candidates", err)
	}
	offer.Operations, err = p.gather(ctx, answer)
	return offer, err
}

// gather puts the operations of an answer together: those that came with it, those that came before, and those that have to be
// asked for. One that has left the pool meanwhile is left out.
func (p builderPort) gather(ctx context.Context, answer *pb.CandidatesResponse) ([]*pool.Operation, error) {
	var d decoder
	server := answer.GetServer()
	ops := make([]*pool.Operation, 0, len(answer.GetCandidates()))
	missing := make(map[common.Hash]int) // places in ops
	var ask []common.Hash
	for _, c := range answer.GetCandidates() {
		hash := d.hash("candidate.hash", c.GetHash())
		if d.err != nil {
			return nil, misunderstood("Candidates", d.err)
		}
		op := p.cached.get(server, c.GetEdition(), hash)
		if c.GetOperation() != nil {
			var err error
			if op, err = decodePooled(c.GetOperation()); err == nil && op.Hash != hash {
				err = fmt.Errorf("%w: operation %s comes as %s", ErrMessage, op.Hash, hash)
			}
			if err != nil {
				return nil, misunderstood("Candidates", err)
			}
			p.cached.put(server, c.GetEdition(), op)
		}
		if op == nil {
			missing[hash] = len(ops)
			ask = append(ask, hash)
		}
		ops = append(ops, op)
	}
	if len(ask) == 0 {
		return ops, nil
	}
	found, err := p.operations(ctx, ask, p.id)
	if err != nil {
		return nil, err
	}
	for _, op := range found {
		at := missing[op.Hash]
		p.cached.put(server, answer.GetCandidates()[at].GetEdition(), op)
		ops[at] = op
	}
	there := ops[:0]
	for _, op := range ops {
		if op != nil {
			there = append(there, op)
		}
	}
	return there, nil
}

// operations asks for operations by hash, as often as they need to fit.
func (p builderPort) operations(ctx context.Context, hashes []common.Hash, client uint64) ([]*pool.Operation, error) {
	wanted := make(map[common.Hash]struct{}, len(hashes))
	for _, hash := range hashes {
		wanted[hash] = struct{}{}
	}
	var ops []*pool.Operation
	for len(hashes) > 0 {
		answer, err := call(ctx, p.Client, p.method("Operations"), &pb.OperationsRequest{Hashes: encodeHashes(hashes), Client: client},
			func(e *endpoint, ctx context.Context, r *pb.OperationsRequest) (*pb.OperationsResponse, error) {
				return e.builder.Operations(ctx, r)
			})
		if err != nil {
			return nil, err
		}
		for _, m := range answer.GetOperations() {
			op, err := decodePooled(m)
			if err != nil {
				return nil, misunderstood("Operations", err)
			}
			if _, asked := wanted[op.Hash]; !asked {
				return nil, misunderstood("Operations", fmt.Errorf("%w: operation %s was not asked for", ErrMessage, op.Hash))
			}
			ops = append(ops, op)
		}
		if n := int(answer.GetLookedAt()); n < 1 || n > len(hashes) {
			return nil, misunderstood("Operations", fmt.Errorf("%w: looked at %d of %d", ErrMessage, n, len(hashes)))
		}
		hashes = hashes[answer.GetLookedAt():]
	}
	return ops, nil
}

// Operations implements [node.BuilderPool].
func (p builderPort) Operations(ctx context.Context, hashes []common.Hash) ([]*pool.Operation, error) {
	return p.operations(ctx, hashes, 0)
}

// Held implements [node.BuilderPool].
func (p builderPort) Held(ctx context.Context, builder string) ([]common.Hash, error) {
	answer, err := call(ctx, p.Client, p.method("Held"), &pb.HeldRequest{Builder: valid(builder)},
		func(e *endpoint, ctx context.Context, r *pb.HeldRequest) (*pb.HeldResponse, error) {
			return e.builder.Held(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	hashes, err := decodeHashes(answer.GetHashes())
	return hashes, misunderstood("Held", err)
}

// Release implements [node.BuilderPool].
func (p builderPort) Release(ctx context.Context, builder string, operations []common.Hash) error {
	_, err := call(ctx, p.Client, p.method("Release"), &pb.ReleaseRequest{Builder: valid(builder), Hashes: encodeHashes(operations)},
		func(e *endpoint, ctx context.Context, r *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
			return e.builder.Release(ctx, r)
		})
	return err
}

// Claim implements [node.BuilderPool].
func (p builderPort) Claim(ctx context.Context, builder string, operations []common.Hash, until uint64) ([]common.Hash, error) {
	answer, err := call(ctx, p.Client, p.method("Claim"),
		&pb.ClaimRequest{Builder: valid(builder), Hashes: encodeHashes(operations), UntilBlock: until},
		func(e *endpoint, ctx context.Context, r *pb.ClaimRequest) (*pb.ClaimResponse, error) {
			return e.builder.Claim(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	refused, err := decodeHashes(answer.GetRefused())
	return refused, misunderstood("Claim", err)
}

// ExtendClaim implements [node.BuilderPool].
func (p builderPort) ExtendClaim(ctx context.Context, builder string, operations []common.Hash, until uint64) ([]common.Hash, error) {
	answer, err := call(ctx, p.Client, p.method("ExtendClaim"),
		&pb.ExtendClaimRequest{Builder: valid(builder), Hashes: encodeHashes(operations), UntilBlock: until},
		func(e *endpoint, ctx context.Context, r *pb.ExtendClaimRequest) (*pb.ExtendClaimResponse, error) {
			return e.builder.ExtendClaim(ctx, r)
		})
	if err != nil {
		return nil, err
	}
	missing, err := decodeHashes(answer.GetMissing())
	return missing, misunderstood("ExtendClaim", err)
}

// Resume implements [node.BuilderPool].
func (p builderPort) Resume(ctx context.Context, builder string, operations []common.Hash, until uint64) error {
	_, err := call(ctx, p.Client, p.method("Resume"),
		&pb.ResumeRequest{Builder: valid(builder), Hashes: encodeHashes(operations), UntilBlock: until},
		func(e *endpoint, ctx context.Context, r *pb.ResumeRequest) (*pb.ResumeResponse, error) {
			return e.builder.Resume(ctx, r)
		})
	return err
}

// Leave implements [node.BuilderPool].
func (p builderPort) Leave(ctx context.Context, builder string, operations []common.Hash, until uint64) error {
	_, err := call(ctx, p.Client, p.method("Leave"),
		&pb.LeaveRequest{Builder: valid(builder), Hashes: encodeHashes(operations), UntilBlock: until},
		func(e *endpoint, ctx context.Context, r *pb.LeaveRequest) (*pb.LeaveResponse, error) {
			return e.builder.Leave(ctx, r)
		})
	return err
}

// Revive implements [node.BuilderPool].
func (p builderPort) Revive(ctx context.Context, builder string, operations []common.Hash, until uint64) error {
	_, err := call(ctx, p.Client, p.method("Revive"),
		&pb.ReviveRequest{Builder: valid(builder), Transaction: encodeHash(common.Hash{}), Hashes: encodeHashes(operations), UntilBlock: until},
		func(e *endpoint, ctx context.Context, r *pb.ReviveRequest) (*pb.ReviveResponse, error) {
			return e.builder.Revive(ctx, r)
		})
	return err
}

// Remove implements [node.BuilderPool].
func (p builderPort) Remove(ctx context.Context, head common.Hash, removals []proposer.Removal) (bool, error) {
	r := &pb.RemoveRequest{Head: encodeHash(head)}
	for _, x := range removals {
		r.Removals = append(r.Removals, encodeRemoval(x))
	}
	answer, err := call(ctx, p.Client, p.method("Remove"), r,
		func(e *endpoint, ctx context.Context, r *pb.RemoveRequest) (*pb.RemoveResponse, error) {
			return e.builder.Remove(ctx, r)
		})
	if err != nil {
		return false, err
	}
	return answer.GetApplied(), nil
}

// Drop implements [node.BuilderPool].
func (p builderPort) Drop(ctx context.Context, operations []common.Hash) error {
	_, err := call(ctx, p.Client, p.method("Drop"), &pb.DropRequest{Hashes: encodeHashes(operations)},
		func(e *endpoint, ctx context.Context, r *pb.DropRequest) (*pb.DropResponse, error) {
			return e.builder.Drop(ctx, r)
		})
	return err
}

// Convict implements [node.BuilderPool].
func (p builderPort) Convict(ctx context.Context, removal proposer.Removal, operation *pool.Operation) error {
	r := &pb.ConvictRequest{Removal: encodeRemoval(removal)}
	if operation != nil {
		var err error
		if r.Operation, err = encodePooled(operation); err != nil {
			return err
		}
	}
	_, err := call(ctx, p.Client, p.method("Convict"), r,
		func(e *endpoint, ctx context.Context, r *pb.ConvictRequest) (*pb.ConvictResponse, error) {
			return e.builder.Convict(ctx, r)
		})
	return err
}

// Throttle implements [node.BuilderPool].
func (p builderPort) Throttle(ctx context.Context, entities []common.Address) error {
	r := new(pb.ThrottleRequest)
	for i := range entities {
		r.Entities = append(r.Entities, entities[i][:])
	}
	_, err := call(ctx, p.Client, p.method("Throttle"), r,
		func(e *endpoint, ctx context.Context, r *pb.ThrottleRequest) (*pb.ThrottleResponse, error) {
			return e.builder.Throttle(ctx, r)
		})
	return err
}

// Tell implements [node.BuilderPool]. It does not wait: the events are told in the background, once to whoever serves the pool.
func (p builderPort) Tell(_ context.Context, events []event.Event) error {
	p.outbox.put(events)
	return nil
}

// Untold implements [node.BuilderPool].
func (p builderPort) Untold() bool { return !p.outbox.empty() }

// Answer implements [node.BuilderPool].
func (p builderPort) Answer(ctx context.Context, answer node.OrderAnswer) error {
	r := &pb.AnswerRequest{Id: answer.ID, Failed: valid(answer.Failed), Nothing: answer.Nothing}
	if answer.Hash != (common.Hash{}) {
		r.Hash = encodeHash(answer.Hash)
	}
	_, err := call(ctx, p.Client, p.method("Answer"), r,
		func(e *endpoint, ctx context.Context, r *pb.AnswerRequest) (*pb.AnswerResponse, error) {
			return e.builder.Answer(ctx, r)
		})
	return err
}

// Attend implements [node.BuilderPool]. A stream on which nothing comes for too long, not even a pulse, has broken.
func (p builderPort) Attend(ctx context.Context, process string, take func(node.Order) error) error {
	callers := ctx
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	watchdog := time.AfterFunc(p.cfg.Stale, func() { cut(errSilent) })
	defer watchdog.Stop()
	defer context.AfterFunc(p.turn.Load().over, func() { cut(errSilent) })() //nolint:contextcheck // the turn's end ends the stream too
	e, at := p.leading()
	err := p.attend(ctx, e, process, take, func() { watchdog.Reset(p.cfg.Stale) })
	if callers.Err() != nil {
		return callers.Err()
	}
	if broken, ours := errors.AsType[*Error](err); ours && broken.Cause != PeerFailed {
		p.moveOn(at)
	}
	return err
}

func (p builderPort) attend(ctx context.Context, e *endpoint, process string, take func(node.Order) error, alive func()) error {
	stream, err := e.builder.Attend(ctx, &pb.AttendRequest{Process: valid(process)})
	if err != nil {
		return p.broken(ctx, "Attend", err)
	}
	defer stream.Close() //nolint:errcheck // it has ended
	for stream.Receive() {
		alive()
		m := stream.Msg()
		if m.GetFailure() != nil {
			return decodeFailure("Attend", m.GetFailure())
		}
		if m.GetOrder() == nil {
			continue
		}
		order, err := decodeOrder(m.GetOrder())
		if err != nil {
			return misunderstood("Attend", err)
		}
		if err := take(order); err != nil {
			return err
		}
		alive() // however long that took
	}
	return p.broken(ctx, "Attend", stream.Err())
}

func decodeOrder(m *pb.Order) (node.Order, error) {
	o := node.Order{ID: m.GetId(), Kind: node.OrderKind(m.GetKind()), Auto: m.GetAuto()} //nolint:gosec // checked below
	switch m.GetKind() {
	case pb.OrderKind_ORDER_KIND_MODE, pb.OrderKind_ORDER_KIND_SEND_NOW, pb.OrderKind_ORDER_KIND_RESUME:
		return o, nil
	case pb.OrderKind_ORDER_KIND_UNSPECIFIED:
	}
	return node.Order{}, fmt.Errorf("%w: order.kind: have %d, which is not known", ErrMessage, m.GetKind())
}

// decodeHead reads a head that may not be there.
func decodeHead(raw []byte) (common.Hash, error) {
	var d decoder
	if hash := d.optionalHash("head", raw); hash != nil {
		return *hash, d.err
	}
	return common.Hash{}, d.err
}

// misunderstood is the error of an answer that does not decode; nil for nil.
func misunderstood(method string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Method: method, Cause: NotUnderstood, Sent: true, err: err}
}
