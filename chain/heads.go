package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ReorgDepth is how many blocks back a reorg is followed block by block.
const ReorgDepth = 64

// Update is one step of the canonical chain. Every block that joins has an Update of its own, in order: when several
// arrived while nobody looked, none is skipped.
type Update struct {
	Removed []*types.Header // left the canonical chain just before Head joined, newest first
	Head    *types.Header   // the new head
	// Gap: Head does not follow the last update's head, and what lies between is unknown (a reorg or an outage
	// deeper than ReorgDepth). What was derived from logs must be checked against the state again.
	Gap bool
	// Last: no later block is known yet. Work that only the newest head is worth waits for it.
	Last bool
}

// headSource is what following the chain needs from a node.
type headSource interface {
	Latest(ctx context.Context) (*types.Header, error)
	HeaderByHash(ctx context.Context, hash common.Hash) (*types.Header, error)
}

// headerTries is how often a header is asked for before the walk back to it pauses.
const headerTries = 3

// Follower turns "there is a new head" into Updates. It remembers the last ReorgDepth headers.
type Follower struct {
	source headSource
	chain  []*types.Header               // oldest first, linked by parent hash
	walked map[common.Hash]*types.Header // read on the way to a head that was not reached yet
}

// Advance returns the updates that lead from the last head to this one, and remembers it. It returns none if the head
// is known already. On an error the call can be repeated: it goes on where it failed, so that a node that fails now and then
// is followed however many blocks were missed.
func (f *Follower) Advance(ctx context.Context, head *types.Header) ([]Update, error) {
	if len(f.chain) == 0 {
		f.chain = []*types.Header{head}
		return []Update{{Head: head, Gap: true, Last: true}}, nil
	}
	joined := []*types.Header{head} // newest first
	ancestor := f.index(head.Hash())
	if ancestor == len(f.chain)-1 {
		return nil, nil
	}
	for ancestor < 0 {
		oldest := joined[len(joined)-1]
		if ancestor = f.index(oldest.ParentHash); ancestor >= 0 {
			break
		}
		// Nothing below our oldest header can be linked, and a long outage is not walked.
		if oldest.Number.Uint64() <= f.chain[0].Number.Uint64() || len(joined) > ReorgDepth {
			f.chain, f.walked = []*types.Header{head}, nil
			return []Update{{Head: head, Gap: true, Last: true}}, nil
		}
		parent, err := f.parent(ctx, oldest)
		if err != nil {
			return nil, err
		}
		joined = append(joined, parent)
	}
	f.walked = nil
	if f.chain[ancestor].Hash() == head.Hash() {
		// The head went back to a block we know: its descendants left, and it stands as the head again.
		joined = joined[:1]
		ancestor--
	}
	return f.link(ancestor, joined), nil
}

// parent reads the header before one that joins.
func (f *Follower) parent(ctx context.Context, header *types.Header) (*types.Header, error) {
	if known := f.walked[header.ParentHash]; known != nil {
		return known, nil
	}
	parent, err := f.source.HeaderByHash(ctx, header.ParentHash)
	for tried := 1; err != nil && tried < headerTries && ctx.Err() == nil; tried++ {
		parent, err = f.source.HeaderByHash(ctx, header.ParentHash)
	}
	if err != nil {
		return nil, fmt.Errorf("header %s (parent of block %d): %w", header.ParentHash, header.Number, err)
	}
	if f.walked == nil || len(f.walked) > 4*ReorgDepth { // heads of branches that were given up
		f.walked = make(map[common.Hash]*types.Header)
	}
	f.walked[header.ParentHash] = parent
	return parent, nil
}

// link replaces everything above the ancestor by the joined headers (newest first) and returns the updates.
func (f *Follower) link(ancestor int, joined []*types.Header) []Update {
	var removed []*types.Header
	for i := len(f.chain) - 1; i > ancestor; i-- {
		removed = append(removed, f.chain[i])
	}
	f.chain = f.chain[:ancestor+1]
	updates := make([]Update, 0, len(joined))
	for i, header := range slices.Backward(joined) {
		f.chain = append(f.chain, header)
		updates = append(updates, Update{Removed: removed, Head: header, Last: i == 0})
		removed = nil
	}
	if extra := len(f.chain) - 2*ReorgDepth; extra > 0 {
		f.chain = slices.Clone(f.chain[extra:])
	}
	return updates
}

// passed reports whether the head is a block below the last one.
func (f *Follower) passed(head *types.Header) bool {
	at := f.index(head.Hash())
	return at >= 0 && at < len(f.chain)-1
}

func (f *Follower) index(hash common.Hash) int {
	for i, header := range slices.Backward(f.chain) {
		if header.Hash() == hash {
			return i
		}
	}
	return -1
}

// FollowOptions says how new heads are noticed.
type FollowOptions struct {
	PollInterval time.Duration   // between looks at the latest block, where heads are polled
	Hurry        <-chan struct{} // asks for a look at once; nil: nobody does
	Log          *slog.Logger
}

// Follow sends every update to out until the context ends, and never skips one. With subscriptions (a WebSocket
// client in `heads`) the node pushes its heads; without, they are polled. An error of the node is retried with backoff
// for ever: only the context ends it. Its caller owns the goroutine it runs on.
func (c *Client) Follow(ctx context.Context, heads *Client, options FollowOptions, out chan<- Update) error {
	follower := &Follower{source: nodeHeads{c}}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 5*time.Second
	for {
		err := c.follow(ctx, heads, follower, options, out, wait.Reset)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := wait.NextBackOff()
		options.Log.Warn("following heads failed, trying again", "err", err, "in", pause.Round(time.Millisecond))
		if sleepErr := sleep(ctx, pause); sleepErr != nil {
			return sleepErr
		}
	}
}

// follow runs until an error. alive is called whenever the node has answered.
func (c *Client) follow(ctx context.Context, heads *Client, follower *Follower, options FollowOptions, out chan<- Update, alive func()) error {
	var pushed chan *types.Header
	var failed <-chan error
	if heads != nil {
		pushed = make(chan *types.Header, 16)
		subscription, err := heads.eth.SubscribeNewHead(ctx, pushed)
		if err != nil {
			return heads.clean("eth_subscribe newHeads", err)
		}
		defer subscription.Unsubscribe()
		failed = subscription.Err()
	}
	ticker := time.NewTicker(pollInterval(heads != nil, options.PollInterval))
	defer ticker.Stop()
	agreed := c.agreed()
	head, err := follower.source.Latest(ctx)
	for {
		if err != nil {
			return err
		}
		walked := len(follower.walked)
		updates, advanceErr := follower.Advance(ctx, head)
		if advanceErr == nil || len(follower.walked) > walked {
			alive()
		}
		if advanceErr != nil {
			return advanceErr
		}
		for _, update := range updates {
			select {
			case out <- update:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case lost := <-failed:
			if lost == nil { // the node closed it without a word
				lost = errors.New("closed")
			}
			return heads.clean("newHeads subscription", lost)
		case <-ticker.C:
			head, err = follower.source.Latest(ctx)
		case <-options.Hurry:
			head, err = follower.source.Latest(ctx)
		case <-agreed:
			agreed = c.agreed()
			head, err = follower.source.Latest(ctx)
		case head = <-pushed:
			if follower.passed(head) { // pushed before the last look, or the chain went back to it: the node knows
				head, err = follower.source.Latest(ctx)
			}
		}
	}
}

// agreed returns a channel that is closed when several endpoints agree on a new head; nil with one node.
func (c *Client) agreed() <-chan struct{} {
	if c.several == nil {
		return nil
	}
	return c.several.next()
}

// Latest returns the header of the node's newest block; of several endpoints, each is asked, and it may be that they agree on the
// block a moment later only.
func (c *Client) Latest(ctx context.Context) (*types.Header, error) {
	if c.several != nil {
		return c.several.newest(ctx)
	}
	return nodeHeads{c}.Latest(ctx)
}

// Header returns a block's header.
func (c *Client) Header(ctx context.Context, block common.Hash) (*types.Header, error) {
	return nodeHeads{c}.HeaderByHash(ctx, block)
}

// Genesis returns the hash of the chain's first block: chains with the same id are told apart by it.
func (c *Client) Genesis(ctx context.Context) (common.Hash, error) {
	var block *struct {
		Hash common.Hash `json:"hash"`
	}
	if err := c.CallContext(ctx, &block, "eth_getBlockByNumber", "0x0", false); err != nil {
		return common.Hash{}, err
	}
	if block == nil {
		return common.Hash{}, errors.New("the node has no genesis block")
	}
	return block.Hash, nil
}

// nodeHeads reads headers from a node.
type nodeHeads struct{ client *Client }

func (n nodeHeads) Latest(ctx context.Context) (*types.Header, error) {
	if n.client.several != nil {
		return n.client.several.latest()
	}
	var header *types.Header
	if err := n.client.CallContext(ctx, &header, "eth_getBlockByNumber", "latest", false); err != nil {
		return nil, err
	}
	if header == nil {
		return nil, errors.New("the node has no latest block")
	}
	return header, nil
}

func (n nodeHeads) HeaderByHash(ctx context.Context, hash common.Hash) (*types.Header, error) {
	var header *types.Header
	if err := n.client.CallContext(ctx, &header, "eth_getBlockByHash", hash, false); err != nil {
		return nil, err
	}
	if header == nil {
		return nil, ethereum.NotFound
	}
	return header, nil
}

// pollInterval is how often the latest block is asked for. A subscription that fell silent is noticed by a slow poll.
func pollInterval(subscribed bool, configured time.Duration) time.Duration {
	if configured <= 0 {
		configured = 500 * time.Millisecond
	}
	if subscribed {
		return max(configured, 15*time.Second)
	}
	return configured
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
