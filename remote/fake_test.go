package remote

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/proposer"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// fakePool stands behind a server. What a test does not set answers with nothing.
type fakePool struct {
	node.BuilderPool // calls that no test makes
	name             string

	mu         sync.Mutex
	operations []*pool.Operation
	admitted   map[common.Hash]int
	told       []event.Event
	asked      []common.Hash // by Operations
	orders     chan node.Order
	fail       error
	block      chan struct{} // calls of Held wait for it
	held       chan struct{} // gets one for each call of Held
	watches    chan watched  // gets each watch
}

func newFakePool(name string) *fakePool {
	return &fakePool{name: name, admitted: make(map[common.Hash]int), orders: make(chan node.Order, 16), held: make(chan struct{}, 1024), watches: make(chan watched, 16)}
}

func (f *fakePool) EntryPoints(context.Context) ([]entrypoint.EntryPoint, error) {
	return []entrypoint.EntryPoint{entrypoint.Canonical(userop.V07)}, f.fail
}

func (f *fakePool) Candidates(_ context.Context, q pool.Query) (node.Offer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return node.Offer{Head: common.Hash{1}, BundleSize: 3, Operations: f.operations[:min(len(f.operations), q.MaxOps)]}, f.fail
}

func (f *fakePool) Operations(_ context.Context, hashes []common.Hash) (found []*pool.Operation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, hashes...)
	wanted := make(map[common.Hash]struct{}, len(hashes))
	for _, hash := range hashes {
		wanted[hash] = struct{}{}
	}
	for _, op := range f.operations {
		if _, is := wanted[op.Hash]; is {
			found = append(found, op)
		}
	}
	return found, f.fail
}

// Held answers with the name of the pool, as a hash.
func (f *fakePool) Held(ctx context.Context, _ string) ([]common.Hash, error) {
	f.held <- struct{}{}
	if f.block != nil {
		select {
		case <-f.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []common.Hash{common.BytesToHash([]byte(f.name))}, f.fail
}

func (f *fakePool) Release(context.Context, string, []common.Hash) error { return f.fail }

func (f *fakePool) Remove(context.Context, common.Hash, []proposer.Removal) (bool, error) {
	return true, f.fail
}

func (f *fakePool) Tell(_ context.Context, events []event.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, events...)
	return f.fail
}

func (f *fakePool) heard() []event.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]event.Event(nil), f.told...)
}

func (f *fakePool) Attend(ctx context.Context, _ string, take func(node.Order) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case o := <-f.orders:
			if o.ID == 0 {
				return f.fail
			}
			if err := take(o); err != nil {
				return err
			}
		}
	}
}

// fakeEdge is the same pool as the JSON-RPC edge sees it.
type fakeEdge struct {
	node.EdgePool // calls that no test makes
	pool          *fakePool
}

func (f fakeEdge) Admit(_ context.Context, op *pool.Operation, _ *uint256.Int) error {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	f.pool.admitted[op.Hash]++
	return f.pool.fail
}

func (f fakeEdge) SendBundleNow(ctx context.Context) (common.Hash, error) {
	f.pool.held <- struct{}{}
	if f.pool.block != nil {
		select {
		case <-f.pool.block:
		case <-ctx.Done():
			return common.Hash{}, ctx.Err()
		}
	}
	return common.Hash{9}, f.pool.fail
}

func (f fakeEdge) DumpMempool(context.Context, entrypoint.EntryPoint) ([]*userop.UserOperation, error) {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	var ops []*userop.UserOperation
	for _, op := range f.pool.operations {
		ops = append(ops, op.Op)
	}
	return ops, f.pool.fail
}

// served is a running server.
type served struct {
	*Server
	addr string
	stop func()
}

// url is where the server is.
func (s *served) url() string {
	if s.tls != nil {
		return "https://" + s.addr
	}
	return "http://" + s.addr
}

// quick has short times, so that no test waits long, and patience where a loaded machine needs it.
func quick() ServerConfig {
	return ServerConfig{Pulse: 50 * time.Millisecond, ShutdownTime: 5 * time.Second, Logger: quiet()}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve starts a server on a port of its own, or the one given. With a pool it leads.
func serve(t testing.TB, cfg ServerConfig, addr string, p *fakePool) *served {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p != nil {
		s.Lead(p, fakeEdge{pool: p})
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return &served{Server: s, addr: l.Addr().String(), stop: stop}
}

// connected is a client that runs.
func connected(t testing.TB, cfg ClientConfig, urls ...string) *Client {
	t.Helper()
	cfg.URLs = urls
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	cfg.BuilderTime = cmp.Or(cfg.BuilderTime, 30*time.Second)
	cfg.EdgeTime = cmp.Or(cfg.EdgeTime, 30*time.Second)
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("client: %v", err)
		}
	})
	return c
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still not so: %s", what)
		}
	}
}

// whoServes asks the pool for its name.
func whoServes(ctx context.Context, c *Client) (string, error) {
	held, err := c.Builder().Held(ctx, "builder")
	if err != nil || len(held) != 1 {
		return "", errors.Join(err, errors.New("no answer"))
	}
	return string(common.TrimLeftZeroes(held[0][:])), nil
}

// pooled is an operation of the pool.
func pooled(n int, calldata int) *pool.Operation {
	op := &userop.UserOperation{
		Version: userop.V07, Sender: common.BigToAddress(big.NewInt(int64(n) + 1)), CallData: make([]byte, calldata), CallGasLimit: 100_000,
		MaxFeePerGas: *uint256.NewInt(1_000_000_000), Signature: make([]byte, 65),
	}
	return &pool.Operation{
		Op: op, Hash: common.BigToHash(big.NewInt(int64(n) + 1)), EntryPoint: entrypoint.Canonical(userop.V07), Prefund: *uint256.NewInt(7),
		CodeHashes: erc7562.CodeHashes{{Account: common.Address{1}, Hash: common.Hash{2}}}, AddedBlock: 100,
	}
}

// authority signs certificates for tests.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	ca   string // its certificate's file
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "authority", true)
	a.ca = filepath.Join(a.dir, "authority.pem")
	return a
}

// pair writes a certificate and its key, and returns their files.
func (a *authority) pair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	a.sign(t, name, false)
	return filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
}

func (a *authority) sign(t *testing.T, name string, authority bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: authority, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := template, key
	if !authority {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: raw}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
