package evm

import (
	"context"
	"errors"
	"slices"
)

// maxGathered is how many keys a read may have to travel with others. A larger one would make them wait.
const maxGathered = 256

// gather is the reads of a view that are under way, and those that wait. The view's mutex guards it.
type gather struct {
	trips   int
	waiting []*errand
}

// errand is a read that waits to travel.
type errand struct {
	mine claims
	lead chan struct{} // closed when its caller is to read for everybody that waits
	err  error         // set before mine.done is closed
}

// errLeader says that the caller who read for others failed, for reasons that may be its own: read again.
var errLeader = errors.New("the read that this one travelled with failed")

// fetch reads the claimed keys and settles their entries. Entries that failed are forgotten before they are settled,
// so that the next caller tries again.
func (v *View) fetch(ctx context.Context, mine claims, questions []*Question) error {
	switch n := mine.keys.len(); {
	case n == 0 && len(questions) == 0:
		return nil
	case len(questions) > 0 || n > maxGathered:
		return v.travel(ctx, mine, questions)
	}
	v.mu.Lock()
	if v.gather.trips < v.source.pace.trips() {
		v.gather.trips++
		v.mu.Unlock()
		defer v.handOver()
		return v.travel(ctx, mine, nil)
	}
	e := &errand{mine: mine, lead: make(chan struct{})}
	v.gather.waiting = append(v.gather.waiting, e)
	v.mu.Unlock()
	select {
	case <-mine.done:
		return e.err
	case <-ctx.Done():
		if v.giveUp(ctx, e) {
			return v.fail(ctx.Err())
		}
		select { // it has been taken along, or is to lead
		case <-mine.done:
			return e.err
		case <-e.lead:
		}
	case <-e.lead:
	}
	defer v.handOver()
	return v.travelTogether(ctx, e)
}

// giveUp takes an errand out of those that wait; false: it is under way, or is to lead.
func (v *View) giveUp(ctx context.Context, e *errand) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := slices.Index(v.gather.waiting, e)
	if at < 0 {
		return false
	}
	select {
	case <-e.lead:
		return false
	default:
	}
	v.gather.waiting = slices.Delete(v.gather.waiting, at, at+1)
	v.settleClaims(e.mine, values{}, v.fail(ctx.Err()))
	return true
}

// handOver ends a trip: the one that waits longest may go, with all the others. If one is about to go already, it takes them.
func (v *View) handOver() {
	v.mu.Lock()
	defer v.mu.Unlock()
	about := slices.ContainsFunc(v.gather.waiting, func(e *errand) bool { return isClosed(e.lead) })
	if len(v.gather.waiting) == 0 || about {
		v.gather.trips--
		return
	}
	close(v.gather.waiting[0].lead)
}

// travelTogether reads the leader's keys and those of everybody that waits.
func (v *View) travelTogether(ctx context.Context, leader *errand) error {
	v.mu.Lock()
	together := claims{keys: leader.mine.keys, done: make(chan struct{})}
	together.keys.accounts, together.accounts = slices.Clone(leader.mine.keys.accounts), slices.Clone(leader.mine.accounts)
	together.keys.nonces, together.nonces = slices.Clone(leader.mine.keys.nonces), slices.Clone(leader.mine.nonces)
	together.keys.slots, together.slots = slices.Clone(leader.mine.keys.slots), slices.Clone(leader.mine.slots)
	var others, left []*errand
	for _, e := range v.gather.waiting {
		switch {
		case e == leader:
		case together.keys.len()+e.mine.keys.len() > v.source.opts.MaxReads:
			left = append(left, e)
		default:
			others = append(others, e)
			together.append(e.mine)
		}
	}
	v.gather.waiting = left
	v.mu.Unlock()

	end := v.source.pace.begin()
	got, stats, err := v.source.read(ctx, v, together.keys, nil)
	if err != nil {
		err = v.fail(err)
	} else {
		end()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stats.add(stats)
	v.settleClaims(together, got, err)
	if err != nil {
		for _, e := range others {
			e.err = errLeader
		}
	}
	for _, e := range append(others, leader) {
		close(e.mine.done)
	}
	return err
}

// travel reads the claimed keys alone.
func (v *View) travel(ctx context.Context, mine claims, questions []*Question) error {
	end := v.source.pace.begin()
	got, stats, err := v.source.read(ctx, v, mine.keys, questions)
	if err != nil {
		err = v.fail(err)
	} else {
		end()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stats.add(stats)
	v.settleClaims(mine, got, err)
	return err
}

// settleClaims puts in what came of claimed keys, and tells who waits for them.
func (v *View) settleClaims(c claims, got values, err error) {
	settle(&v.accounts, c.keys.accounts, c.accounts, got.accounts, err)
	settle(&v.nonces, c.keys.nonces, c.nonces, got.nonces, err)
	settle(&v.slots, c.keys.slots, c.slots, got.slots, err)
	close(c.done)
}

// append adds claims that settle with these.
func (c *claims) append(more claims) {
	c.keys.append(more.keys)
	c.accounts = append(c.accounts, more.accounts...)
	c.nonces = append(c.nonces, more.nonces...)
	c.slots = append(c.slots, more.slots...)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
