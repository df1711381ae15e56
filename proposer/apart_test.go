package proposer

import (
	"testing"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

func TestASuspectWhoseTurnItIsIsBundledAlone(t *testing.T) {
	s := newScene(t)
	a, b, c := operation(1), operation(2, fees(990, 90)), operation(3, fees(980, 80))
	s.add(t, a, b, c)
	req := request()
	req.Apart = []common.Hash{c.Hash, b.Hash}
	wantBundle(t, s.propose(t, req), []*pool.Operation{b}, skips{a: BundleFull, c: ListEnded})
}

func TestASuspectBehindAnotherOperationOfItsAccountIsNotTriedBeforeIt(t *testing.T) {
	s := newScene(t)
	first := operation(1, stakedSender)
	second := operation(1, stakedSender, nonce(0, 1))
	s.add(t, first, second)
	req := request()
	req.Apart = []common.Hash{second.Hash}
	wantBundle(t, s.propose(t, req), []*pool.Operation{first, second}, nil)
}

func TestWhatIsCutWaitsForAnotherBundle(t *testing.T) {
	s := newScene(t)
	a, b, c, d := operation(1), operation(2, fees(990, 90)), operation(3, fees(980, 80)), operation(4, fees(970, 70))
	s.add(t, a, b, c, d)
	req := request()
	req.Cut = func(ops []*pool.Operation) ([]*pool.Operation, int) {
		return []*pool.Operation{ops[0], ops[2], ops[3]}, 2
	}
	wantBundle(t, s.propose(t, req), []*pool.Operation{a, c}, skips{b: RacedApart, d: BundleFull})
}
