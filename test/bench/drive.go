package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"baler/load"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// sample is one operation's way.
type sample struct {
	sent     time.Time
	head     uint64        // when it was sent
	accepted time.Duration // the bundler's answer; 0: none yet
	included time.Time     // zero: not
	block    uint64
}

// driver sends a fleet's operations to a bundler, one in flight for each account, and notes what becomes of them.
type driver struct {
	scenario scenario
	fleet    *load.Fleet
	watch    *watch
	bundler  *rpc.Client
	address  common.Address

	mu      sync.Mutex
	samples map[common.Hash]*sample
	account map[common.Hash]int // of an operation in flight
	refused map[string]int
	idle    chan int  // accounts with nothing in flight
	left    int       // operations in flight
	sending [2]uint64 // blocks between which the scenario sent
	settled chan struct{}
}

// connections is how many requests are under way at once at most.
const connections = 64

func newDriver(ctx context.Context, s scenario, fleet *load.Fleet, w *watch, url string, entryPoint common.Address) (*driver, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	client, err := rpc.DialOptions(ctx, url, rpc.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return nil, err
	}
	d := &driver{
		scenario: s, fleet: fleet, watch: w, bundler: client, address: entryPoint,
		samples: make(map[common.Hash]*sample), account: make(map[common.Hash]int), refused: make(map[string]int),
		idle: make(chan int, fleet.Len()*max(1, s.deep)), settled: make(chan struct{}, 1),
	}
	for range max(1, s.deep) {
		for i := range fleet.Len() {
			d.idle <- i
		}
	}
	return d, nil
}

// signed is an operation that is ready to be sent.
type signed struct {
	account int
	op      json.RawMessage
	hash    common.Hash
}

func (d *driver) sign(account int) (signed, error) {
	op, hash, err := d.fleet.Next(account)
	if err != nil {
		return signed{}, err
	}
	raw, err := marshal(op)
	return signed{account, raw, hash}, err
}

func marshal(op *userop.UserOperation) (json.RawMessage, error) { return json.Marshal(op) }

// run sends what the scenario asks for, and returns when everything that was accepted is mined, or the time for that has ended.
func (d *driver) run(ctx context.Context) error {
	d.watch.listen(d.arrived)
	queue := make(chan signed, connections)
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for s := range queue {
				d.send(ctx, s)
			}
		})
	}
	d.sending[0] = d.watch.now()
	err := d.scenario.feed(ctx, d, queue)
	close(queue)
	d.sending[1] = d.watch.now()
	group.Wait()
	if err != nil || d.scenario.leaves { // the course clears up
		return err
	}
	return d.settle(ctx)
}

// send sends one operation and notes the answer.
func (d *driver) send(ctx context.Context, s signed) {
	one := &sample{sent: time.Now(), head: d.watch.now()}
	d.mu.Lock()
	d.samples[s.hash], d.account[s.hash] = one, s.account
	d.left++
	d.mu.Unlock()
	var have common.Hash
	err := d.bundler.CallContext(ctx, &have, "eth_sendUserOperation", s.op, d.address)
	took := time.Since(one.sent)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil && have == s.hash:
		one.accepted = took
		return
	case err == nil:
		d.refused[fmt.Sprintf("another hash: %s", have)]++
	default:
		d.refused[err.Error()]++
	}
	if one.included.IsZero() {
		delete(d.samples, s.hash)
		delete(d.account, s.hash)
		d.fleet.Return(s.account)
		d.left--
		d.idle <- s.account
	}
}

// arrived notes what a block included.
func (d *driver) arrived(b block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, hash := range b.ops {
		one := d.samples[hash]
		if one == nil || !one.included.IsZero() {
			continue
		}
		one.included, one.block = b.seen, b.number
		d.left--
		d.idle <- d.account[hash]
		delete(d.account, hash)
	}
	if d.left == 0 {
		select {
		case d.settled <- struct{}{}:
		default:
		}
	}
}

// settle waits until all is mined, for some time after the last operation was sent: what is not then is a figure, no failure.
func (d *driver) settle(ctx context.Context) error {
	timer := time.NewTimer(d.scenario.settle)
	defer timer.Stop()
	for {
		d.mu.Lock()
		left := d.left
		d.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-d.settled:
		case <-timer.C:
			return nil // the table says how many are unsettled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unsettled returns how many operations are in flight.
func (d *driver) unsettled() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left
}

// scenario is a way of sending.
type scenario struct {
	name    string
	what    string
	feed    func(ctx context.Context, d *driver, queue chan<- signed) error
	settle  time.Duration // how long what was accepted may take to be mined after the last operation was sent
	leaves  bool          // operations are left pending when it ends
	keeps   bool          // it keeps the bundler saturated: the share of the block gas is that of the blocks meanwhile
	pending int           // operations in the pool, if that is what it is about
	deep    int           // operations in flight of one account; 0: one
	flags   []string      // for Baler
}

// steady sends at an even rate.
func steady(rate int, duration time.Duration) scenario {
	return scenario{
		name: fmt.Sprintf("steady %d/s", rate), what: fmt.Sprintf("%d operations a second for %s", rate, duration),
		feed: func(ctx context.Context, d *driver, queue chan<- signed) error {
			ticker := time.NewTicker(time.Second / time.Duration(rate))
			defer ticker.Stop()
			end := time.Now().Add(duration)
			for time.Now().Before(end) {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-ticker.C:
				}
				if err := d.next(ctx, queue); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// burst sends many at once: they are signed before the first is sent.
func burst(operations int) scenario {
	return scenario{
		name: fmt.Sprintf("burst %d", operations), what: fmt.Sprintf("%d operations as fast as the bundler takes them", operations),
		feed: func(ctx context.Context, d *driver, queue chan<- signed) error {
			if have := d.fleet.Len() * max(1, d.scenario.deep); have < operations {
				return fmt.Errorf("have room for %d operations in flight, want %d: more --accounts", have, operations)
			}
			ready := make([]signed, operations)
			for i := range ready {
				var err error
				if ready[i], err = d.sign(<-d.idle); err != nil {
					return err
				}
			}
			for _, s := range ready {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case queue <- s:
				}
			}
			return nil
		},
	}
}

// deep is how many operations of one account are in flight where the pool is to be deep: SAME_SENDER_MEMPOOL_COUNT.
const deep = 4

// pending fills the pool while nothing is bundled, and then looks at how bundles of a hundred are made of it for some blocks.
func pending(operations int) scenario {
	const looks = 12 // blocks
	return scenario{
		name: fmt.Sprintf("pending %d", operations), what: fmt.Sprintf("bundles of 100 out of %d pending operations", operations),
		leaves: true, deep: deep, pending: operations, flags: []string{"--max-bundle-size=100", "--rpc-debug"},
		feed: func(ctx context.Context, d *driver, queue chan<- signed) error {
			if err := d.setMode(ctx, "manual"); err != nil {
				return err
			}
			if err := burst(operations).feed(ctx, d, queue); err != nil {
				return err
			}
			if err := d.answered(ctx); err != nil {
				return err
			}
			if err := d.setMode(ctx, "auto"); err != nil {
				return err
			}
			return d.watch.await(ctx, d.watch.now()+looks)
		},
	}
}

// setMode is debug_bundler_setBundlingMode.
func (d *driver) setMode(ctx context.Context, mode string) error {
	var answer string
	return d.bundler.CallContext(ctx, &answer, "debug_bundler_setBundlingMode", mode)
}

// answered waits until no operation waits for the bundler's answer.
func (d *driver) answered(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for d.unanswered() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

func (d *driver) unanswered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.samples {
		if one.accepted == 0 {
			return true
		}
	}
	return false
}

// saturation keeps an operation of every account in flight.
func saturation(duration time.Duration) scenario {
	return scenario{
		name: "saturation", what: fmt.Sprintf("each account sends again as soon as it may, for %s", duration), keeps: true,
		feed: func(ctx context.Context, d *driver, queue chan<- signed) error {
			ctx, cancel := context.WithTimeout(ctx, duration)
			defer cancel()
			for ctx.Err() == nil {
				if err := d.next(ctx, queue); err != nil && ctx.Err() == nil {
					return err
				}
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return nil
		},
	}
}

// next signs and sends the next operation of the account that has waited longest.
func (d *driver) next(ctx context.Context, queue chan<- signed) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case account := <-d.idle:
		s, err := d.sign(account)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			d.fleet.Return(account)
			d.idle <- account
			return ctx.Err()
		case queue <- s:
			return nil
		}
	}
}
