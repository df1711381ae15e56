package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"baler/bundlesender"
	"baler/node"
	"baler/signer"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
)

// keyServer is a KeyHolder of a test: it says which keys are free, and can take one back. Each key has a journal that
// stays where it is.
type keyServer struct {
	t   *testing.T
	dir string

	mu    sync.Mutex
	taken map[common.Address]bool
	held  map[common.Address]*testLease
}

type testLease struct{ lost chan struct{} }

func (l *testLease) Valid() bool {
	select {
	case <-l.lost:
		return false
	default:
		return true
	}
}
func (l *testLease) Lost() <-chan struct{} { return l.lost }

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	return &keyServer{t: t, dir: t.TempDir(), taken: make(map[common.Address]bool), held: make(map[common.Address]*testLease)}
}

func (k *keyServer) Hold(_ context.Context, key signer.Signer) (*node.HeldKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken[key.Address()] || k.held[key.Address()] != nil {
		return nil, node.ErrKeyTaken
	}
	kept, err := store.Open(k.dir+"/"+key.Address().Hex(), store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		return nil, err
	}
	lease := &testLease{lost: make(chan struct{})}
	k.held[key.Address()] = lease
	return &node.HeldKey{Signer: key, Store: kept, Lease: lease, Release: func(context.Context) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.held, key.Address())
		return nil
	}}, nil
}

// InFlight reads the key's journal, unless somebody here has it open.
func (k *keyServer) InFlight(_ context.Context, key common.Address) (live, mined []common.Hash, err error) {
	if k.holds(key) {
		return nil, nil, nil
	}
	kept, err := store.Open(k.dir+"/"+key.Hex(), store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = kept.Close() }()
	journal, err := kept.Journal(key)
	if err != nil {
		return nil, nil, err
	}
	return journal.InFlight()
}

// set says whether another process has a key.
func (k *keyServer) set(key common.Address, taken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken[key] = taken
	if lease := k.held[key]; taken && lease != nil {
		close(lease.lost)
	}
}

func (k *keyServer) holds(key common.Address) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[key] != nil
}

// leased makes the node ask the key server for its keys.
func leased(keys *keyServer, taken ...int) func(*node.Config) {
	return func(c *node.Config) {
		c.Keys = keys
		for _, i := range taken {
			keys.set(c.Signers[i].Address(), true)
		}
	}
}

func (s *stack) key(i int) common.Address { return s.config.Signers[i].Address() }

// held waits until the node holds exactly these keys.
func (s *stack) holds(t *testing.T, want ...common.Address) {
	t.Helper()
	eventually(t, "the node holds its keys", func() error {
		var have []common.Address
		keys, err := s.node.Keys(t.Context())
		if err != nil {
			return err
		}
		for _, state := range keys {
			if state.Held {
				have = append(have, state.Key)
			}
		}
		slices.SortFunc(have, common.Address.Cmp)
		slices.SortFunc(want, common.Address.Cmp)
		if !slices.Equal(have, want) {
			return fmt.Errorf("have %v, want %v", have, want)
		}
		return nil
	})
}

func TestAKeyIsWaitedForAndUsedOnceItIsFree(t *testing.T) {
	keys := newKeyServer(t)
	s := startStack(t, leased(keys, 0, 1))
	s.holds(t)
	a := s.accounts(t, s.config.EntryPoints[0].Version, 1, true)[0]
	a.send(t, a.op(t))
	s.refused(t, -32603, "", "debug_bundler_sendBundleNow")
	keys.set(s.key(1), false)
	s.holds(t, s.key(1))
	var tx common.Hash
	s.call(t, &tx, "debug_bundler_sendBundleNow")
	s.mine(t, 1)
	if receipt, err := s.eth.TransactionReceipt(t.Context(), tx); err != nil || receipt.Status != 1 {
		t.Errorf("have %+v, %v, want the bundle mined", receipt, err)
	}
}

func TestANodeHoldsNoMoreKeysThanItMay(t *testing.T) {
	keys := newKeyServer(t)
	s := startStack(t, leased(keys), func(c *node.Config) { c.MaxKeys = 1 })
	s.holds(t, s.key(0))
	keys.set(s.key(0), true)
	s.holds(t, s.key(1))
}

func TestADrainedKeyFinishesItsTransactionsAndIsFree(t *testing.T) {
	keys := newKeyServer(t)
	s := startStack(t, leased(keys, 1))
	s.holds(t, s.key(0))
	list := s.accounts(t, s.config.EntryPoints[0].Version, 2, true)
	list[0].send(t, list[0].op(t))
	var tx common.Hash
	s.call(t, &tx, "debug_bundler_sendBundleNow")

	state, err := s.node.DrainKey(t.Context(), s.key(0))
	if err != nil || !state.Held || !state.Draining {
		t.Fatalf("have %+v, %v, want a key that is held and drained", state, err)
	}
	list[1].send(t, list[1].op(t))
	if !keys.holds(s.key(0)) {
		t.Error("the key is given back while its transaction waits")
	}
	s.mine(t, 1)
	s.holds(t)
	eventually(t, "the key is given back", func() error {
		if keys.holds(s.key(0)) {
			return errors.New("it is held")
		}
		return nil
	})
	if receipt, err := s.eth.TransactionReceipt(t.Context(), tx); err != nil || receipt.Status != 1 {
		t.Errorf("have %+v, %v, want its transaction mined", receipt, err)
	}
	if nonce, err := s.eth.PendingNonceAt(t.Context(), s.key(0)); err != nil || nonce != 1 {
		t.Errorf("have nonce %d, %v, want 1: nothing new is sent with it", nonce, err)
	}
	if state, err := s.node.DrainKey(t.Context(), s.key(0)); err != nil || state.Held {
		t.Errorf("asked again, have %+v, %v, want that it is not held", state, err)
	}
	if _, err := s.node.DrainKey(t.Context(), common.Address{1}); err == nil {
		t.Errorf("have %v, want that the key is unknown", err)
	}
	s.node.SetKeys(s.config.Signers)
	s.holds(t, s.key(0))
}

func TestAKeyThatIsTakenAwaySignsNothingMore(t *testing.T) {
	keys := newKeyServer(t)
	s := startStack(t, leased(keys, 1))
	s.holds(t, s.key(0))
	list := s.accounts(t, s.config.EntryPoints[0].Version, 2, true)
	hash := list[0].send(t, list[0].op(t))
	var tx common.Hash
	s.call(t, &tx, "debug_bundler_sendBundleNow")
	keys.set(s.key(0), true)
	s.holds(t)
	list[1].send(t, list[1].op(t))
	s.refused(t, -32603, "", "debug_bundler_sendBundleNow")
	s.mine(t, 1)
	if nonce, err := s.eth.NonceAt(t.Context(), s.key(0), nil); err != nil || nonce != 1 {
		t.Errorf("have nonce %d, %v, want 1", nonce, err)
	}
	eventually(t, "its operation is mined", func() error {
		var receipt map[string]any
		s.call(t, &receipt, "eth_getUserOperationReceipt", hash)
		if receipt == nil {
			return errors.New("no receipt")
		}
		return nil
	})
	// Its next life goes on from the journal, with the next nonce.
	keys.set(s.key(0), false)
	s.holds(t, s.key(0))
	s.call(t, &tx, "debug_bundler_sendBundleNow")
	s.mine(t, 1)
	if nonce, err := s.eth.NonceAt(t.Context(), s.key(0), nil); err != nil || nonce != 2 {
		t.Errorf("have nonce %d, %v, want 2", nonce, err)
	}
}

// A bundle that is in the journal when its key is lost is not sent by this process, but by whoever holds the key next: until then nobody
// else has its operations.
func TestABundleInTheJournalOfALostKeyKeepsItsOperations(t *testing.T) {
	keys := newKeyServer(t)
	var lose sync.Once
	s := startStack(t, leased(keys, 1), func(c *node.Config) {
		c.Boundary = func(at string) {
			if at == "bundle journaled" {
				lose.Do(func() { keys.set(c.Signers[0].Address(), true) })
			}
		}
	})
	s.holds(t, s.key(0))
	a := s.accounts(t, s.config.EntryPoints[0].Version, 1, true)[0]
	hash := a.send(t, a.op(t))
	var tx common.Hash
	_ = s.client.CallContext(t.Context(), &tx, "debug_bundler_sendBundleNow") // the key goes meanwhile
	s.holds(t)
	keys.set(s.key(1), false)
	s.holds(t, s.key(1))
	s.sendsNothing(t)
	keys.set(s.key(0), false)
	s.holds(t, s.key(0), s.key(1))
	eventually(t, "its operation is mined", func() error {
		s.mine(t, 1)
		if have := s.status(t, hash); have.Status != "included" {
			return fmt.Errorf("have %v", have)
		}
		return nil
	})
	for i, want := range []uint64{1, 0} {
		if nonce, err := s.eth.NonceAt(t.Context(), s.key(i), nil); err != nil || nonce != want {
			t.Errorf("key %d: have nonce %d, %v, want %d", i, nonce, err, want)
		}
	}
}

func TestNewKeysJoinAndMissingOnesLeaveWithoutARestart(t *testing.T) {
	s := startStack(t, func(c *node.Config) { c.Sender = bundlesender.DefaultConfig() })
	s.holds(t, s.key(0), s.key(1))
	third := signer.NewPrivateKey(s.chain.Keys()[2])
	s.node.SetKeys([]signer.Signer{third, s.config.Signers[0]})
	s.holds(t, s.key(0), third.Address())
}
