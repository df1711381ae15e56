package rpc

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	"baler/edge"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// Rates are how often somebody may ask. They can be changed while the server serves.
type Rates struct {
	// PerIP is for the requests, and once more for the calls, of one address that is not a loopback one.
	PerIP edge.Rate
	// PerSender is for the operations of one account that are sent or estimated, whoever sends them.
	PerSender edge.Rate
}

// limiter holds the buckets.
type limiter struct{ now atomic.Pointer[buckets] }

type buckets struct {
	requests, calls *edge.Rates[netip.Addr]
	senders         *edge.Rates[common.Address]
}

// SetRates replaces the rates. All buckets are full again.
func (s *Server) SetRates(r Rates) { s.limits.set(r) }

func (l *limiter) set(r Rates) {
	l.now.Store(&buckets{edge.NewRates[netip.Addr](r.PerIP), edge.NewRates[netip.Addr](r.PerIP), edge.NewRates[common.Address](r.PerSender)})
}

// request reports whether an address may send a request or a message now.
func (l *limiter) request(remote string) bool {
	ip := edge.AddrOf(remote)
	return ip.IsLoopback() || l.now.Load().requests.Allow(ip)
}

// call refuses a call of an address that makes too many: a batch is many.
func (l *limiter) call(ctx context.Context) error {
	ip := edge.AddrOf(rpc.PeerInfoFromContext(ctx).RemoteAddr)
	if ip.IsLoopback() || l.now.Load().calls.Allow(ip) {
		return nil
	}
	return &callError{code: codeLimitExceeded, message: "too many calls from this address, try again later"}
}

// sender refuses an operation of an account that sends too many.
func (l *limiter) sender(account common.Address) error {
	if l.now.Load().senders.Allow(account) {
		return nil
	}
	return &callError{code: codeLimitExceeded, message: "too many operations of this sender, try again later"}
}

// shaped refuses what would cost memory before it is refused for what it is.
func (s *Server) shaped(body []byte) *callError {
	depth, elements := edge.Shape(body)
	switch {
	case depth > s.cfg.MaxDepth:
		return &callError{code: codeInvalidRequest, message: fmt.Sprintf("nested too deeply: want at most %d levels", s.cfg.MaxDepth)}
	case elements > s.cfg.MaxBatchItems:
		return &callError{code: codeInvalidRequest, message: fmt.Sprintf("batch too large: have %d calls, want at most %d", elements, s.cfg.MaxBatchItems)}
	default:
		return nil
	}
}
