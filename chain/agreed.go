package chain

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// standing is an endpoint that answers, and the height of its head.
type standing struct {
	*endpoint

	height uint64
}

// roll returns the endpoints that answer, and those that do not.
func (s *several) roll(now time.Time) (live []standing, away []*endpoint) {
	for _, e := range s.endpoints {
		if height, ok := e.shown(now, s.silence()); ok {
			live = append(live, standing{e, height})
		} else {
			away = append(away, e)
		}
	}
	return live, away
}

// compare finds the agreed head.
func (s *several) compare(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live, away := s.roll(now)
	for _, e := range away {
		e.judge(false, false)
	}
	if len(live) == 0 {
		return
	}
	height := s.height(live, now)
	agreed, voters := vote(live, height)
	if agreed == nil {
		return
	}
	for _, l := range live {
		header := l.at(height)
		l.judge(header != nil && header.Hash() == agreed.Hash(), header != nil && header.Hash() != agreed.Hash())
	}
	if s.agreed == nil || s.agreed.Hash() != agreed.Hash() {
		s.agreed = agreed
		close(s.changed)
		s.changed = make(chan struct{})
		if voters < len(live) {
			s.options.Log.Debug("endpoints differ", "block", height, "agree", voters, "answer", len(live))
		}
	}
}

// height is the height of the agreed head: of the newest block that is not one endpoint's alone (where there are three or more),
// once all have it or have been waited for. It never goes back, unless all endpoints have.
func (s *several) height(live []standing, now time.Time) uint64 {
	heights, top := heightsOf(live)
	if top != s.rising {
		s.rising, s.risen = top, now
	}
	lowest := heights[len(heights)-1]
	if lowest >= top || now.Sub(s.risen) >= s.options.Patience {
		return top
	}
	if s.agreed == nil {
		return lowest
	}
	// In between: the lowest of those that are not behind already.
	before := s.agreed.Number.Uint64()
	height := top
	for _, h := range heights {
		if h >= before {
			height = min(height, h)
		}
	}
	if height < before { // all went back: a shorter branch, if it lasts
		return before
	}
	return height
}

// heightsOf returns the endpoints' heights, the highest first, and that of the newest block that is not one endpoint's alone, where
// there are three or more.
func heightsOf(live []standing) (heights []uint64, top uint64) {
	for _, l := range live {
		heights = append(heights, l.height)
	}
	slices.Sort(heights)
	slices.Reverse(heights)
	if len(heights) > 2 {
		return heights, heights[1]
	}
	return heights, heights[0]
}

// vote returns the block that most endpoints have at a height; of two with as many votes, the one of the endpoint that is named
// first.
func vote(live []standing, height uint64) (agreed *types.Header, votes int) {
	count := make(map[common.Hash]int)
	for _, l := range live {
		if header := l.at(height); header != nil {
			count[header.Hash()]++
		}
	}
	for _, l := range live {
		if header := l.at(height); header != nil && count[header.Hash()] > votes {
			agreed, votes = header, count[header.Hash()]
		}
	}
	return agreed, votes
}

// newest asks every endpoint that has the agreed head for its newest block, and returns the newest of these that is not one
// endpoint's alone, where there are three or more. It will be agreed on, at the latest when the patience for the others ends. An
// endpoint that does not answer is not waited for longer than that.
func (s *several) newest(ctx context.Context) (*types.Header, error) { //nolint:contextcheck // ctx ends the requests too, below
	// An end of the call, or of the patience, is not the endpoint's failure: it is cancelled, and no deadline of the request.
	asking, cancel := context.WithCancel(s.running)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	defer time.AfterFunc(s.options.Patience, cancel).Stop()
	var group sync.WaitGroup
	for _, e := range s.endpoints {
		if agrees, resting := e.usable(); agrees && !resting {
			group.Go(func() { s.look(asking, e) })
		}
	}
	group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	live, _ := s.roll(time.Now())
	if len(live) == 0 {
		return nil, errNoEndpoint
	}
	_, top := heightsOf(live)
	header, _ := vote(live, top)
	if header == nil {
		return nil, errNoEndpoint
	}
	return types.CopyHeader(header), nil
}

// latest returns the agreed head.
func (s *several) latest() (*types.Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		if agrees, _ := e.usable(); agrees {
			return types.CopyHeader(s.agreed), nil
		}
	}
	return nil, errNoEndpoint
}

var errNoEndpoint = errors.New("no endpoint of the node is up to date")
