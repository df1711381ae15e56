package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"baler/rpc"
)

// orders is what the pool's process asks of the processes with bundle senders, in its debug methods.
type orders struct {
	mu      sync.Mutex
	next    uint64
	open    []*attendance
	pending map[uint64]chan<- OrderAnswer
	auto    *bool // bundling mode, if it was set since the start
}

// attendance is one process that takes orders.
type attendance struct {
	process string
	inbox   *mailbox[Order]
	ended   chan struct{}
}

func newOrders() *orders { return &orders{pending: make(map[uint64]chan<- OrderAnswer)} }

// Attend implements [BuilderPool].
func (d *desk) Attend(ctx context.Context, process string, take func(Order) error) error {
	if d.orders == nil {
		return errors.New("the bundle senders are in the pool's process")
	}
	if err := d.register.ready(); err != nil {
		return err
	}
	a := d.orders.begin(process)
	defer d.orders.end(a)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.inbox.ready:
			for _, order := range a.inbox.take() {
				if err := take(order); err != nil {
					return err
				}
			}
		}
	}
}

func (o *orders) begin(process string) *attendance {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := &attendance{process: process, inbox: newMailbox[Order](), ended: make(chan struct{})}
	o.open = append(o.open, a)
	a.inbox.post(Order{Kind: OrderResume})
	if o.auto != nil {
		a.inbox.post(Order{Kind: OrderMode, Auto: *o.auto})
	}
	return a
}

func (o *orders) end(a *attendance) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.open {
		if o.open[i] == a {
			o.open = append(o.open[:i:i], o.open[i+1:]...)
			break
		}
	}
	close(a.ended)
}

// setMode tells every process, and those that come later.
func (o *orders) setMode(auto bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.auto = &auto
	for _, a := range o.open {
		a.inbox.post(Order{Kind: OrderMode, Auto: auto})
	}
}

// inTurn returns the processes, another one first each time.
func (o *orders) inTurn() []*attendance {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]*attendance, 0, len(o.open))
	o.next++
	for i := range o.open {
		list = append(list, o.open[(int(o.next%uint64(len(o.open)))+i)%len(o.open)])
	}
	return list
}

// ask orders a bundle of one process and waits for the answer.
func (o *orders) ask(ctx context.Context, a *attendance) (OrderAnswer, error) {
	answered := make(chan OrderAnswer, 1)
	o.mu.Lock()
	o.next++
	id := o.next
	o.pending[id] = answered
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.pending, id)
	}()
	a.inbox.post(Order{ID: id, Kind: OrderSendNow})
	select {
	case answer := <-answered:
		return answer, nil
	case <-a.ended:
		return OrderAnswer{}, fmt.Errorf("%s has gone", a.process)
	case <-ctx.Done():
		return OrderAnswer{}, ctx.Err()
	}
}

// Answer implements [BuilderPool]. An answer that nobody waits for is dropped.
func (d *desk) Answer(_ context.Context, answer OrderAnswer) error {
	if d.orders == nil {
		return nil
	}
	d.orders.mu.Lock()
	defer d.orders.mu.Unlock()
	if waiting := d.orders.pending[answer.ID]; waiting != nil {
		waiting <- answer
		delete(d.orders.pending, answer.ID)
	}
	return nil
}

// allBusy is why a process does not send a bundle now: all its bundle senders wait for transactions. It is asked again.
const allBusy = "every bundle sender waits for a transaction"

// busyPause is between two rounds of asking, while somebody is busy and nobody else sends.
const busyPause = 250 * time.Millisecond

// orderBundle asks the processes with bundle senders in turn, until one has sent a bundle, or none has anything to send.
func (n *Node) orderBundle(ctx context.Context) (OrderAnswer, error) {
	for {
		answer, busy, err := n.orderRound(ctx)
		if err == nil || !busy {
			return answer, err
		}
		if err := pause(ctx, busyPause); err != nil {
			return OrderAnswer{}, err
		}
	}
}

// orderRound asks each process once.
func (n *Node) orderRound(ctx context.Context) (sent OrderAnswer, busy bool, last error) {
	last = fmt.Errorf("send bundle: %w", errNoSender)
	for _, a := range n.desk.orders.inTurn() {
		answer, err := n.desk.orders.ask(ctx, a)
		switch {
		case ctx.Err() != nil:
			return OrderAnswer{}, false, ctx.Err()
		case err != nil:
			last = fmt.Errorf("send bundle: %w", err)
		case answer.Failed == "":
			return answer, false, nil
		case answer.Failed == allBusy:
			busy = true
		case answer.Nothing:
			last = &nothingElsewhere{answer.Failed}
		default:
			last = fmt.Errorf("send bundle: %s", answer.Failed)
		}
	}
	return OrderAnswer{}, busy, last
}

// nothingElsewhere is the answer of another process that has nothing to send, in its words.
type nothingElsewhere struct{ text string }

func (e *nothingElsewhere) Error() string { return e.text }
func (e *nothingElsewhere) Unwrap() error { return rpc.ErrNothingToSend }
