package node

import (
	"context"
	"errors"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"baler/chain"
	"baler/event"
	"baler/lease"
	"baler/rejection"
	"baler/rpc"
	"baler/signer"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Lease says for how long a key is this process's. A nil Lease is for ever.
type Lease interface {
	// Valid reports whether the key may be used at this moment. It asks nobody.
	Valid() bool
	// Lost is closed when it is not valid any more, and never will be again.
	Lost() <-chan struct{}
}

// HeldKey is a key that this process may use, with what belongs to it.
type HeldKey struct {
	Signer signer.Signer
	// Store has the key's journal: the node's own, or one of the key's alone. Then the node runs its committer as long as it holds the key.
	Store *store.Store
	Lease Lease
	// Fence is the number of this holding of the key: that of each later one is greater.
	Fence uint64
	// Release gives the key back, after everything of it has been written down; nil: nobody waits for it.
	Release func(context.Context) error
}

// KeyHolder gets keys that other processes use too.
type KeyHolder interface {
	// Hold makes the key this process's, with the journal that its last holder left. It does not wait for another holder:
	// ErrKeyTaken.
	Hold(ctx context.Context, key signer.Signer) (*HeldKey, error)
	// InFlight is [InFlight].
	InFlight(ctx context.Context, key common.Address) (live, mined []common.Hash, err error)
}

// ErrKeyTaken says that a key is not free.
var ErrKeyTaken = errors.New("the key is not free")

const (
	// keyPause is how long a key that another process holds is left alone.
	keyPause = time.Second
	// releaseTime is how long giving a key back may take. Later its lease ends by itself.
	releaseTime = 5 * time.Second
	// journalTries is how often it is tried to read what a key that is not held here has in flight: without it other keys would bundle the same.
	journalTries = 5
)

// keyring has one worker for each key that this process holds. It looks for keys to hold as long as it holds less than it may.
type keyring struct {
	node   *Node
	holder KeyHolder // nil: the keys are this process's alone
	most   int       // keys held at once; 0: all

	changed chan struct{} // holds a token after a change
	group   sync.WaitGroup

	mu       sync.Mutex
	wanted   []signer.Signer
	workers  []*worker
	drained  map[common.Address]bool
	awaited  map[common.Address]string // what was said of keys that are not free
	restored bool                      // the pool has what the store kept
	auto     *bool                     // bundling mode, if it was set since the start
}

func newKeyring(n *Node, config *Config) *keyring {
	return &keyring{
		node: n, holder: config.Keys, most: config.MaxKeys, wanted: slices.Clone(config.Signers), changed: make(chan struct{}, 1),
		drained: make(map[common.Address]bool), awaited: make(map[common.Address]string),
	}
}

// all returns the workers of the keys that are held now.
func (k *keyring) all() []*worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.workers)
}

func (k *keyring) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// run looks for keys until the context ends, and then waits for all workers. fail is told why one that nothing can replace ended.
func (k *keyring) run(ctx context.Context, fail context.CancelCauseFunc) {
	defer k.group.Wait()
	var again <-chan time.Time
	if k.holder != nil {
		ticker := time.NewTicker(keyPause)
		defer ticker.Stop()
		again = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
		case <-again:
		}
		if err := k.fill(ctx, fail); err != nil {
			fail(err)
		}
	}
}

// fill starts a worker for each key that can be held. An error is about a key that is this process's alone.
func (k *keyring) fill(ctx context.Context, fail context.CancelCauseFunc) error {
	for _, key := range k.free() {
		err := k.start(ctx, key, fail)
		switch {
		case err == nil:
		case errors.Is(err, ErrKeyTaken):
			k.waits(key, err)
		case ctx.Err() != nil:
			return ctx.Err()
		case k.holder == nil:
			return err
		default:
			k.node.log.Error("a key could not be taken; it is tried again", "signer", key.Address(), "err", err)
		}
	}
	return nil
}

// waits says, once for each reason, what a key is waited for.
func (k *keyring) waits(key signer.Signer, err error) {
	why := "another process holds it"
	if errors.Is(err, lease.ErrYoung) {
		why = lease.ErrYoung.Error() + ": it may have forgotten who holds it"
	}
	k.mu.Lock()
	known := k.awaited[key.Address()] == why
	k.awaited[key.Address()] = why
	k.mu.Unlock()
	if !known {
		k.node.log.Info("a key is waited for", "signer", key.Address(), "why", why)
	}
}

// free returns the wanted keys that are not held, if more may be held.
func (k *keyring) free() []signer.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full() {
		return nil
	}
	var list []signer.Signer
	for _, key := range k.wanted {
		if k.of(key.Address()) == nil && !k.drained[key.Address()] {
			list = append(list, key)
		}
	}
	return list
}

// full reports whether no more keys may be held. The caller has the lock.
func (k *keyring) full() bool { return k.most > 0 && len(k.workers) >= k.most }

// of returns the worker of a key, nil if it is not held. The caller has the lock.
func (k *keyring) of(key common.Address) *worker {
	for _, w := range k.workers {
		if w.key.Address() == key {
			return w
		}
	}
	return nil
}

// position returns the place of a key among those that this process may hold, -1 for another.
func (k *keyring) position(key common.Address) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.IndexFunc(k.wanted, func(s signer.Signer) bool { return s.Address() == key })
}

// start holds a key and starts its worker.
func (k *keyring) start(ctx context.Context, key signer.Signer, fail context.CancelCauseFunc) error {
	k.mu.Lock()
	full := k.full()
	k.mu.Unlock()
	if full {
		return nil
	}
	held := &HeldKey{Signer: key, Store: k.node.config.Store}
	if k.holder != nil {
		var err error
		if held, err = k.holder.Hold(ctx, key); err != nil {
			return err
		}
	}
	h := &holding{HeldKey: held, ended: make(chan error, 1)}
	h.begin(ctx, k.node)
	w, err := newWorker(k.node, held)
	if err == nil {
		err = w.resume(ctx)
	}
	if err != nil {
		return errors.Join(err, h.end(ctx))
	}
	k.join(ctx, w)
	k.tell(h.HeldKey, true, "taken")
	k.group.Go(func() {
		var err error
		pprof.Do(ctx, pprof.Labels("owner", "senders"), func(ctx context.Context) { err = w.run(ctx) })
		k.leave(ctx, w)
		k.tell(h.HeldKey, false, leaving(ctx, w, err))
		err = errors.Join(err, h.end(ctx))
		switch {
		case k.holder == nil && err != nil:
			fail(err)
		case err != nil && ctx.Err() == nil:
			k.node.log.Warn("a key was given up", "signer", w.builder, "err", err)
		}
		k.wake()
	})
	return nil
}

// tell says that a leased key was won, or is not used any more.
func (k *keyring) tell(h *HeldKey, held bool, cause string) {
	if k.holder != nil {
		k.node.sink(event.LeaseMoved{Signer: h.Signer.Address(), Held: held, Fence: h.Fence, Cause: cause})
	}
}

// leaving is why a worker has ended.
func leaving(ctx context.Context, w *worker, err error) string {
	switch {
	case errors.Is(err, ErrLeaseLost):
		return "lost"
	case err != nil:
		return "journal failed"
	case ctx.Err() != nil:
		return "stopped"
	case w.draining.Load():
		return "drained"
	default:
		return "ended"
	}
}

// join makes the worker one of those that hear of heads and calls.
func (k *keyring) join(ctx context.Context, w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.workers = append(k.workers, w)
	delete(k.awaited, w.key.Address())
	if k.auto != nil {
		w.inbox.post(message{event: modeSet(*k.auto)})
	}
	if !k.restored {
		return // the first head comes soon
	}
	k.claim(ctx, w)
	// Heads that it has missed may have replaced each other.
	w.inbox.post(message{head: &chain.Update{Head: k.node.head.Load().header, Gap: true}})
}

// claim takes the operations of a resumed sender's live transactions before anybody else can, and frees what was claimed for
// proposals of the key's last holder. The caller has the lock.
func (k *keyring) claim(ctx context.Context, w *worker) {
	until := k.node.head.Load().number() + claimBlocks
	w.ask(ctx, errand{what: "claiming what is in flight", run: func(ctx context.Context) error {
		return k.node.port.Resume(ctx, w.builder, w.resumed, until)
	}})
}

// claimRestored does so for those who were there before the pool had its operations. What other processes have in flight with the
// other keys, a dead one's among them, is kept out of bundles here until it is mined, or its key is held here, or for some blocks. So
// is what this process had in flight with keys that it may not hold any more.
func (k *keyring) claimRestored(ctx context.Context) {
	inFlight := k.inFlight(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.restored = true
	until := k.node.head.Load().number() + leftClaimBlocks
	for _, w := range k.workers {
		k.claim(ctx, w)
	}
	for key, operations := range inFlight {
		if k.of(key) == nil {
			k.node.left.gone(key.Hex())
			k.node.hold(key.Hex(), operations, until)
		}
	}
}

// inFlight reads what there is in transactions of keys that are not held here. With the pool elsewhere nobody here has to know.
func (k *keyring) inFlight(ctx context.Context) map[common.Address][]common.Hash {
	found := make(map[common.Address][]common.Hash)
	if k.node.remote() {
		return found
	}
	read := func(key common.Address, look InFlight) {
		live, mined, err := look(ctx, key)
		for attempt := 1; err != nil && attempt < journalTries && pause(ctx, backoffTime(attempt)) == nil; attempt++ {
			live, mined, err = look(ctx, key)
		}
		if err != nil {
			k.node.log.Warn("what a key that is not held here has in flight could not be read", "signer", key, "err", err)
		}
		found[key] = slices.Concat(live, mined)
	}
	held := make(map[common.Address]bool)
	for _, state := range k.states() {
		if held[state.Key] = state.Held; !state.Held && k.holder != nil {
			read(state.Key, k.holder.InFlight)
		}
	}
	left, err := k.node.config.Store.Journals()
	if err != nil {
		k.node.log.Warn("the journals of keys that are not used any more could not be listed", "err", err)
	}
	for _, key := range left {
		if _, leased := found[key]; !held[key] && !leased {
			read(key, func(_ context.Context, key common.Address) (live, mined []common.Hash, err error) {
				journal, err := k.node.config.Store.Journal(key)
				if err != nil {
					return nil, nil, err
				}
				return journal.InFlight()
			})
		}
	}
	return found
}

// leave takes a worker that has ended out of the ring. What it has in transactions stays claimed for a while.
func (k *keyring) leave(ctx context.Context, w *worker) {
	k.mu.Lock()
	k.workers = slices.DeleteFunc(k.workers, func(x *worker) bool { return x == w })
	k.mu.Unlock()
	if at := k.node.head.Load(); at != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		if err := k.node.port.Leave(ctx, w.builder, w.carries(), at.number()+leftClaimBlocks); err != nil {
			k.node.log.Warn("the pool does not know that a bundle sender has ended", "signer", w.builder, "err", err)
		}
	}
	close(w.ended)
}

// heads tells every worker of a step of the chain.
func (k *keyring) heads(update *chain.Update) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		w.inbox.post(message{head: update})
	}
}

// coming tells every worker of the head that it will hear of when the pool has taken its block in.
func (k *keyring) coming(head *types.Header) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		w.inbox.post(message{coming: head})
	}
}

// setMode sets the bundling mode, for keys that are held later too.
func (k *keyring) setMode(auto bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.auto = &auto
	for _, w := range k.workers {
		w.inbox.post(message{event: modeSet(auto)})
	}
}

// holding is a held key with its committer.
type holding struct {
	*HeldKey
	stop  context.CancelFunc // of the committer; nil: the node runs it
	ended chan error
}

// begin runs the committer of the key's own store. It outlives the worker, to commit what that has left.
func (h *holding) begin(ctx context.Context, n *Node) {
	if h.Store == n.config.Store {
		return
	}
	committing, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	go func() { h.ended <- h.Store.Run(committing) }()
}

// end commits what is left and gives the key back.
func (h *holding) end(ctx context.Context) error {
	var errs []error
	if h.stop != nil {
		h.stop()
		errs = append(errs, <-h.ended, h.Store.Close())
	}
	if h.Release != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		errs = append(errs, h.Release(ctx))
	}
	return errors.Join(errs...)
}

// SetKeys replaces the keys that this process may hold. New ones are taken as soon as they are free; one that is missing finishes
// its live transactions and is given back, as after [Node.DrainKey].
func (n *Node) SetKeys(keys []signer.Signer) {
	n.keys.mu.Lock()
	n.keys.wanted = slices.Clone(keys)
	clear(n.keys.drained)
	for _, w := range n.keys.workers {
		if !slices.ContainsFunc(keys, func(s signer.Signer) bool { return s.Address() == w.key.Address() }) {
			w.drain()
		}
	}
	n.keys.mu.Unlock()
	n.keys.wake()
}

// Keys implements [rpc.AdminBackend].
func (n *Node) Keys(context.Context) ([]rpc.KeyStatus, error) { return n.keys.states(), nil }

// states says where all keys stand that may be held or are.
func (k *keyring) states() []rpc.KeyStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []rpc.KeyStatus{}
	for _, w := range k.workers {
		list = append(list, w.keyStatus())
	}
	for _, key := range k.wanted {
		if k.of(key.Address()) == nil {
			list = append(list, rpc.KeyStatus{Key: key.Address(), Draining: k.drained[key.Address()]})
		}
	}
	return list
}

// DrainKey implements [rpc.AdminBackend]. This process does not take the key again until [Node.SetKeys] names it or it starts anew.
func (n *Node) DrainKey(_ context.Context, key common.Address) (*rpc.KeyStatus, error) {
	n.keys.mu.Lock()
	defer n.keys.mu.Unlock()
	w := n.keys.of(key)
	if w == nil && !slices.ContainsFunc(n.keys.wanted, func(s signer.Signer) bool { return s.Address() == key }) {
		return nil, rejection.New(rejection.InvalidFields, "this process has no key %s", key)
	}
	n.keys.drained[key] = true
	status := rpc.KeyStatus{Key: key, Draining: true}
	if w != nil {
		w.drain()
		status = w.keyStatus()
	}
	return &status, nil
}
