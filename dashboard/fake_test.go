package dashboard_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	"baler/dashboard"
	"baler/edge"

	"github.com/ethereum/go-ethereum/common"
)

// token proves an operator in tests.
const token = "a-token-of-the-tests"

// fakeBundler is a bundler whose every answer a test can set.
type fakeBundler struct {
	mu         sync.Mutex
	head       dashboard.Head
	senders    []dashboard.Sender
	mempool    dashboard.Mempool
	endpoints  []dashboard.Endpoint
	operations map[common.Hash]*dashboard.Operation
	earnings   []dashboard.Earning
	totals     dashboard.Totals
	looks      int
	acts       []string
}

func (f *fakeBundler) set(change func(*fakeBundler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeBundler) Chain() dashboard.Chain {
	return dashboard.Chain{ID: 1337, EntryPoints: []dashboard.EntryPoint{{Version: "0.7", Address: common.Address{0x71}}}}
}

func (f *fakeBundler) Head(context.Context) (dashboard.Head, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return f.head, f.head.Number > 0
}

func (f *fakeBundler) Senders(context.Context) []dashboard.Sender {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]dashboard.Sender{}, f.senders...)
}

func (f *fakeBundler) Mempool() dashboard.Mempool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mempool
}

func (f *fakeBundler) Endpoints(context.Context) []dashboard.Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.endpoints
}

func (f *fakeBundler) Operation(_ context.Context, hash common.Hash) (*dashboard.Operation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.operations[hash], nil
}

func (f *fakeBundler) OperationsOf(account common.Address, limit int) []common.Hash {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hashes []common.Hash
	for hash, op := range f.operations {
		if op.Sender != nil && *op.Sender == account && len(hashes) < limit {
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

func (f *fakeBundler) Books(limit int) ([]dashboard.Earning, dashboard.Totals) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.earnings[max(0, len(f.earnings)-limit):], f.totals
}

// did remembers an operator's act; an act on a key that no sender has is refused.
func (f *fakeBundler) did(what string, signer common.Address) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.senders {
		if f.senders[i].Signer == signer {
			f.acts = append(f.acts, what+" "+signer.Hex())
			return nil
		}
	}
	return errors.Join(dashboard.ErrNotFound, errors.New("no bundle sender has the key "+signer.Hex()))
}

func (f *fakeBundler) Pause(_ context.Context, signer common.Address, paused bool) error {
	what := "resume"
	if paused {
		what = "pause"
	}
	err := f.did(what, signer)
	f.set(func(f *fakeBundler) {
		for i := range f.senders {
			if f.senders[i].Signer == signer {
				f.senders[i].Paused = paused
			}
		}
	})
	return err
}

func (f *fakeBundler) CancelNow(_ context.Context, signer common.Address) error {
	return f.did("cancel", signer)
}

func (f *fakeBundler) DrainKey(_ context.Context, signer common.Address) error {
	return f.did("drain", signer)
}

func (f *fakeBundler) Ban(_ context.Context, entity common.Address) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts = append(f.acts, "ban "+entity.Hex())
	return 3, nil
}

func (f *fakeBundler) acted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.acts...)
}

// served is a page on a listener of its own.
type served struct {
	page *dashboard.Dashboard
	url  string
	addr string
	stop func() // the listener
}

// serve serves the page of a bundler until the test ends. operator may be nil.
func serve(t *testing.T, bundler dashboard.Bundler, operator dashboard.Operator) *served {
	t.Helper()
	return servePage(t, "127.0.0.1:0", dashboard.New(slog.New(slog.DiscardHandler)), bundler, operator)
}

func servePage(t *testing.T, addr string, page *dashboard.Dashboard, bundler dashboard.Bundler, operator dashboard.Operator) *served {
	t.Helper()
	s := &served{page: page, addr: addr}
	page.Show(bundler, operator)
	s.mend(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { s.page.Run(ctx) })
	t.Cleanup(func() {
		s.cut()
		stop()
		running.Wait()
	})
	return s
}

// cut closes the listener and every connection.
func (s *served) cut() { s.stop() }

// mend opens the listener, at the same address as before.
func (s *served) mend(t *testing.T) {
	t.Helper()
	server := edge.NewServer(edge.Config{Token: token, Logger: slog.New(slog.DiscardHandler)})
	s.page.Mount(server)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	s.url = "http://" + s.addr
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx, listener); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	s.stop = func() {
		stop()
		running.Wait()
	}
}
