package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"baler/store"

	"github.com/ethereum/go-ethereum/common"
)

// buildersGrace is how long a pool that begins anew hands nothing out for the sake of builders that have not said yet what their live
// transactions hold. It is longer than confirmTime: a builder that was offered operations in the pool's last life either comes
// in time, or does not send them any more.
const buildersGrace = 5 * time.Second

// InFlight returns the operations that whoever holds a key, or held it last, has in transactions: in those that may be mined (live), and
// in those whose blocks a reorg may still take back.
type InFlight func(ctx context.Context, key common.Address) (live, mined []common.Hash, err error)

// register knows the builders of other processes: which have said, in this life of the pool, what they hold.
//
// A pool that begins anew has no claims. Until it knows what the builders of its last life have in flight it would hand the same
// operations to another one, and one of the two bundles would revert.
type register struct {
	lease    Lease // of the pool; nil: for ever
	inFlight InFlight

	mu     sync.Mutex
	here   map[string]bool // have resumed
	absent map[string]bool // are known from the last life, and have not resumed
	begun  time.Time       // zero: the pool does not have its operations yet
	open   bool            // operations are handed out
}

func newRegister(config *Config) *register {
	return &register{lease: config.Lease, inFlight: config.InFlight, here: make(map[string]bool), absent: make(map[string]bool)}
}

// begin starts the time for the builders of the last life.
func (r *register) begin(n *Node) {
	if r == nil {
		return
	}
	names, err := n.config.Store.Builders()
	if err != nil {
		n.log.Error("which builders there were could not be read back", "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if !r.here[name] {
			r.absent[name] = true
		}
	}
	r.begun = time.Now()
}

// ready: the pool is this process's and has its operations.
func (r *register) ready() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serves()
}

// serves is ready with the lock.
func (r *register) serves() error {
	switch {
	case r.lease != nil && !r.lease.Valid():
		return fmt.Errorf("%w: its lease is over", ErrUnreachable)
	case r.begun.IsZero():
		return fmt.Errorf("%w: it has not begun yet", ErrUnreachable)
	default:
		return nil
	}
}

// complete reports, as an error, that operations are not handed out yet. When the grace is over, what the absent have in flight is
// claimed for them, as far as their journals say.
func (r *register) complete(ctx context.Context, n *Node) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.serves(); err != nil || r.open {
		return err
	}
	if len(r.absent) > 0 && time.Since(r.begun) < buildersGrace {
		return fmt.Errorf("%w: it waits for %d builders to say what they hold", ErrUnreachable, len(r.absent))
	}
	for name := range r.absent {
		held, err := r.claim(ctx, n, name)
		if err != nil {
			return fmt.Errorf("%w: what an absent builder has in flight could not be read: %w", ErrUnreachable, err)
		}
		if !held { // the next life need not wait for it
			delete(r.absent, name)
		}
	}
	r.open = true
	return r.keep(ctx, n)
}

// claim keeps what an absent builder has in flight out of bundles for some blocks. The caller has the lock.
func (r *register) claim(ctx context.Context, n *Node, name string) (held bool, err error) {
	if r.inFlight == nil {
		n.log.Warn("a builder has not come back; what it has in flight is not known", "signer", name)
		return false, nil
	}
	live, mined, err := r.inFlight(ctx, common.HexToAddress(name))
	if err != nil {
		return false, err
	}
	n.log.Warn("a builder has not come back; what it has in flight stays out of bundles for some blocks", "signer", name, "ops", len(live))
	n.left.gone(name)
	n.hold(name, slices.Concat(live, mined), n.head.Load().number()+leftClaimBlocks)
	return len(live) > 0, nil
}

// forBuilder does something with the claims of a builder that has resumed. What a process whose lease ended meanwhile has done counts
// for nothing.
func (r *register) forBuilder(name string, do func()) error {
	if r == nil {
		do()
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.serves(); err != nil {
		return err
	}
	if !r.here[name] {
		return ErrNotResumed
	}
	do()
	return r.serves()
}

// came and went take note of builders. Their names are durable before they are told so: the pool's next life has to wait for them.
func (r *register) came(ctx context.Context, n *Node, name string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.here[name]
	delete(r.absent, name)
	r.here[name] = true
	if known {
		return nil
	}
	err := r.keep(ctx, n)
	if err != nil {
		delete(r.here, name) // it asks again
	}
	return err
}

func (r *register) went(ctx context.Context, n *Node, name string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.here, name)
	delete(r.absent, name)
	return r.keep(ctx, n)
}

// keep writes the names down. The caller has the lock.
func (r *register) keep(ctx context.Context, n *Node) error {
	names := slices.Concat(slices.Collect(maps.Keys(r.here)), slices.Collect(maps.Keys(r.absent)))
	slices.Sort(names)
	if err := n.config.Store.Commit(ctx, store.SetBuilders(names)); err != nil {
		return fmt.Errorf("keep the builders' names: %w", err)
	}
	return nil
}

// count returns how many builders have resumed.
func (r *register) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.here)
}

// Builders returns how many bundle senders of other processes use this process's pool.
func (n *Node) Builders() int { return n.desk.register.count() }
