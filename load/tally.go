package load

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// tally counts what happens while operations are on their way. Its methods may be called from any goroutine.
type tally struct {
	mu       sync.Mutex
	targets  []targetTally
	failures map[string]int
	progress Progress
	tell     func(Progress)
}

type targetTally struct {
	accepted  int
	failed    int
	mined     []minedOp
	accept    []time.Duration
	inclusion []time.Duration
}

// minedOp is an operation the bundler calls mined.
type minedOp struct {
	hash common.Hash
	tx   common.Hash
}

func newTally(cfg Config) *tally {
	tell := cfg.Progress
	if tell == nil {
		tell = func(Progress) {}
	}
	t := &tally{
		targets: make([]targetTally, len(cfg.Targets)), failures: make(map[string]int),
		progress: Progress{Stage: Preparing, Ops: cfg.Ops}, tell: tell,
	}
	t.tell(t.progress)
	return t
}

func (t *tally) enter(stage Stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.Stage = stage
	t.tell(t.progress)
}

func (t *tally) accepted(target int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.targets[target].accepted++
	t.targets[target].accept = append(t.targets[target].accept, took)
	t.progress.Accepted++
	t.tell(t.progress)
}

func (t *tally) included(target int, op minedOp, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.targets[target].mined = append(t.targets[target].mined, op)
	t.targets[target].inclusion = append(t.targets[target].inclusion, took)
	t.progress.Included++
	t.tell(t.progress)
}

func (t *tally) failed(target int, reason string, operations int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.targets[target].failed += operations
	t.failures[reason] += operations
	t.progress.Failed += operations
	t.tell(t.progress)
}
