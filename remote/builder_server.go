package remote

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"baler/node"
	"baler/pool"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
	"github.com/ethereum/go-ethereum/common"
)

// answerBytes is how much of operations an answer holds; one operation always fits.
const answerBytes = 2 << 20

// builderHandler serves [node.BuilderPool].
type builderHandler struct{ server *Server }

var _ pb.BuilderServiceHandler = (*builderHandler)(nil)

// EntryPoints implements the service.
func (h *builderHandler) EntryPoints(ctx context.Context, _ *pb.EntryPointsRequest) (*pb.EntryPointsResponse, error) {
	list, err := termOf(ctx).builders.EntryPoints(ctx)
	m := new(pb.EntryPointsResponse)
	for _, ep := range list {
		m.EntryPoints = append(m.EntryPoints, encodeEntryPoint(ep))
	}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Candidates implements the service.
func (h *builderHandler) Candidates(ctx context.Context, r *pb.CandidatesRequest) (*pb.CandidatesResponse, error) {
	q, err := decodeQuery(r.GetQuery())
	if err != nil {
		return nil, notUnderstood(err)
	}
	offer, err := termOf(ctx).builders.Candidates(ctx, q)
	m := &pb.CandidatesResponse{BundleSize: offer.BundleSize, Server: h.server.id}
	if m.Failure, err = failure(ctx, err); err != nil || m.Failure != nil {
		return m, err
	}
	m.Head = encodeHeadHash(offer.Head)
	room := answerBytes
	for _, op := range offer.Operations {
		edition, has := h.server.sent.of(r.GetClient(), op)
		c := &pb.Candidate{Hash: encodeHash(op.Hash), Edition: edition}
		if !has && room > 0 {
			if c.Operation, err = encodePooled(op); err != nil {
				return nil, fmt.Errorf("operation %s: %w", op.Hash, err)
			}
			room -= len(c.Operation.GetRecord())
			h.server.sent.add(r.GetClient(), op.Hash)
		}
		m.Candidates = append(m.Candidates, c)
	}
	return m, nil
}

// lookedUp is how many operations are looked up in the pool at once: what an answer has no room for was looked up in vain.
const lookedUp = 256

// Operations implements the service.
func (h *builderHandler) Operations(ctx context.Context, r *pb.OperationsRequest) (*pb.OperationsResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m, room := new(pb.OperationsResponse), answerBytes
	for some := range slices.Chunk(hashes, lookedUp) {
		ops, err := termOf(ctx).builders.Operations(ctx, some)
		if m.Failure, err = failure(ctx, err); err != nil || m.Failure != nil {
			return m, err
		}
		found := make(map[common.Hash]*pool.Operation, len(ops))
		for _, op := range ops {
			found[op.Hash] = op
		}
		for _, hash := range some {
			if room <= 0 {
				return m, nil
			}
			m.LookedAt++
			op := found[hash]
			if op == nil {
				continue
			}
			operation, err := encodePooled(op)
			if err != nil {
				return nil, fmt.Errorf("operation %s: %w", hash, err)
			}
			room -= len(operation.GetRecord())
			m.Operations = append(m.Operations, operation)
			if client := r.GetClient(); client != 0 {
				h.server.sent.of(client, op)
				h.server.sent.add(client, hash)
			}
		}
	}
	return m, nil
}

// Held implements the service.
func (h *builderHandler) Held(ctx context.Context, r *pb.HeldRequest) (*pb.HeldResponse, error) {
	hashes, err := termOf(ctx).builders.Held(ctx, r.GetBuilder())
	m := &pb.HeldResponse{Hashes: encodeHashes(hashes)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Release implements the service.
func (h *builderHandler) Release(ctx context.Context, r *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.ReleaseResponse)
	m.Failure, err = failure(ctx, termOf(ctx).builders.Release(ctx, r.GetBuilder(), hashes))
	return m, err
}

// Claim implements the service.
func (h *builderHandler) Claim(ctx context.Context, r *pb.ClaimRequest) (*pb.ClaimResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	refused, err := termOf(ctx).builders.Claim(ctx, r.GetBuilder(), hashes, r.GetUntilBlock())
	m := &pb.ClaimResponse{Refused: encodeHashes(refused)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// ExtendClaim implements the service.
func (h *builderHandler) ExtendClaim(ctx context.Context, r *pb.ExtendClaimRequest) (*pb.ExtendClaimResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	missing, err := termOf(ctx).builders.ExtendClaim(ctx, r.GetBuilder(), hashes, r.GetUntilBlock())
	m := &pb.ExtendClaimResponse{Missing: encodeHashes(missing)}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Resume implements the service.
func (h *builderHandler) Resume(ctx context.Context, r *pb.ResumeRequest) (*pb.ResumeResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.ResumeResponse)
	m.Failure, err = failure(ctx, termOf(ctx).builders.Resume(ctx, r.GetBuilder(), hashes, r.GetUntilBlock()))
	return m, err
}

// Leave implements the service.
func (h *builderHandler) Leave(ctx context.Context, r *pb.LeaveRequest) (*pb.LeaveResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.LeaveResponse)
	m.Failure, err = failure(ctx, termOf(ctx).builders.Leave(ctx, r.GetBuilder(), hashes, r.GetUntilBlock()))
	return m, err
}

// Revive implements the service.
func (h *builderHandler) Revive(ctx context.Context, r *pb.ReviveRequest) (*pb.ReviveResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.ReviveResponse)
	m.Failure, err = failure(ctx, termOf(ctx).builders.Revive(ctx, r.GetBuilder(), hashes, r.GetUntilBlock()))
	return m, err
}

// Remove implements the service.
func (h *builderHandler) Remove(ctx context.Context, r *pb.RemoveRequest) (*pb.RemoveResponse, error) {
	var d decoder
	head := d.hash("head", r.GetHead())
	removals, err := decodeRemovals(r.GetRemovals())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	if err != nil {
		return nil, notUnderstood(err)
	}
	applied, err := termOf(ctx).builders.Remove(ctx, head, removals)
	m := &pb.RemoveResponse{Applied: applied}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// Drop implements the service.
func (h *builderHandler) Drop(ctx context.Context, r *pb.DropRequest) (*pb.DropResponse, error) {
	hashes, err := decodeHashes(r.GetHashes())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m := new(pb.DropResponse)
	m.Failure, err = failure(ctx, termOf(ctx).builders.Drop(ctx, hashes))
	return m, err
}

// Convict implements the service.
func (h *builderHandler) Convict(ctx context.Context, r *pb.ConvictRequest) (*pb.ConvictResponse, error) {
	var d decoder
	removal := d.removal(r.GetRemoval())
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	m := new(pb.ConvictResponse)
	err := error(nil)
	if r.GetOperation() == nil {
		m.Failure, err = failure(ctx, termOf(ctx).builders.Convict(ctx, removal, nil))
		return m, err
	}
	operation, err := decodePooled(r.GetOperation())
	if err != nil {
		return nil, notUnderstood(err)
	}
	m.Failure, err = failure(ctx, termOf(ctx).builders.Convict(ctx, removal, operation))
	return m, err
}

// Throttle implements the service.
func (h *builderHandler) Throttle(ctx context.Context, r *pb.ThrottleRequest) (*pb.ThrottleResponse, error) {
	var d decoder
	entities := make([]common.Address, len(r.GetEntities()))
	for i, raw := range r.GetEntities() {
		entities[i] = d.address("entities", raw)
	}
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	m := new(pb.ThrottleResponse)
	var err error
	m.Failure, err = failure(ctx, termOf(ctx).builders.Throttle(ctx, entities))
	return m, err
}

// Answer implements the service.
func (h *builderHandler) Answer(ctx context.Context, r *pb.AnswerRequest) (*pb.AnswerResponse, error) {
	var d decoder
	answer := node.OrderAnswer{ID: r.GetId(), Failed: r.GetFailed(), Nothing: r.GetNothing()}
	if hash := d.optionalHash("hash", r.GetHash()); hash != nil {
		answer.Hash = *hash
	}
	if d.err != nil {
		return nil, notUnderstood(d.err)
	}
	m := new(pb.AnswerResponse)
	var err error
	m.Failure, err = failure(ctx, termOf(ctx).builders.Answer(ctx, answer))
	return m, err
}

// Attend implements the service: orders as they come, and a pulse between them.
func (h *builderHandler) Attend(ctx context.Context, r *pb.AttendRequest, stream *connect.ServerStream[pb.AttendResponse]) error {
	t := termOf(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.over, cancel)() //nolint:contextcheck // the term's end ends the stream, beside the caller's
	var sending sync.Mutex
	send := func(m *pb.AttendResponse) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(m)
	}
	if err := send(new(pb.AttendResponse)); err != nil { // the client knows that it is heard
		return err
	}
	var pulse sync.WaitGroup
	pulse.Go(func() {
		defer cancel() // nobody listens any more
		tick := time.NewTicker(h.server.cfg.Pulse)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if send(new(pb.AttendResponse)) != nil {
					return
				}
			}
		}
	})
	err := t.builders.Attend(ctx, r.GetProcess(), func(o node.Order) error {
		return send(&pb.AttendResponse{Order: &pb.Order{Id: o.ID, Kind: pb.OrderKind(o.Kind), Auto: o.Auto}})
	})
	gone := ctx.Err() != nil
	cancel()
	pulse.Wait()
	if err != nil {
		h.server.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "a builder's orders end", slog.Any("err", err))
	}
	if t.over.Err() != nil {
		return notLeading()
	}
	if err == nil || gone {
		return nil
	}
	return stream.Send(&pb.AttendResponse{Failure: encodeFailure(err)})
}

// notLeading ends a stream of a process that does not serve the pool any more.
func notLeading() error {
	err := connect.NewError(connect.CodeUnavailable, errNotLeading)
	err.Meta().Set(refusedHeader, refusedLeader)
	return err
}

// encodeHeadHash writes a head that may not be there.
func encodeHeadHash(h common.Hash) []byte {
	if h == (common.Hash{}) {
		return nil
	}
	return encodeHash(h)
}
