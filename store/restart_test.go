package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"pgregory.net/rapid"

	"baler/bundlesender"
	"baler/journal"
)

// crash is where a crash may come: after a number of calls of the store were durable.
type crash struct {
	calls     int
	machine   *bundlesender.Machine // as it stood then
	signed    map[bundlesender.AttemptID]common.Hash
	forgotten map[bundlesender.AttemptID]bool
}

// TestARestartKnowsEverythingThatMayHaveLeft: wherever the process is killed, a restart resumes with the same live transactions, those
// included of which the machine had not heard yet that they were signed.
func TestARestartKnowsEverythingThatMayHaveLeft(t *testing.T) {
	bothEngines(t, func(t *testing.T, place string) {
		lives := 0
		rapid.Check(t, func(t *rapid.T) {
			lives++
			dir := filepath.Join(place, fmt.Sprint(lives))
			calls, crashes := recordedLife(t, filepath.Join(dir, "life"))
			for i := range 3 {
				at := rapid.SampledFrom(crashes).Draw(t, "crash")
				checkRestart(t, filepath.Join(dir, fmt.Sprint(i)), calls[:at.calls], at)
			}
			if !strings.HasPrefix(dir, redisPrefix) {
				_ = os.RemoveAll(dir)
			}
		})
	})
}

// recordedLife leads a life whose calls of the store are kept, in order, instead of being carried out.
func recordedLife(t *rapid.T, dir string) ([]waiting, []crash) {
	s, err := openPlace(dir, testMeta, Options{PartBytes: rapid.SampledFrom([]int{2000, 20_000}).Draw(t, "part"), KeepBytes: 1, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	j := mustJournal(t, s)
	j.config, j.err = smallConfig(), nil
	record := bundlesender.Record{Auto: true}
	if err := j.enqueue(context.Background(), j.append(nil, journal.Started{Config: j.config, Record: record})); err != nil {
		t.Fatal(err)
	}
	life := newSender(j, bundlesender.Restore(j.config, record), func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") })
	signed, forgotten := make(map[bundlesender.AttemptID]common.Hash), make(map[bundlesender.AttemptID]bool)
	var crashes []crash
	note := func() {
		crashes = append(crashes, crash{len(s.queue), life.run.Machine.Clone(), maps.Clone(signed), maps.Clone(forgotten)})
	}
	life.sign = func(a bundlesender.Attempt, tx *types.Transaction) error {
		w, err := j.putSigned(a, tx, "")
		if err == nil {
			err = s.Enqueue(context.Background(), w)
		}
		signed[a.ID] = tx.Hash()
		note() // between the transaction and the step that tells of it
		return err
	}
	note()
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		for _, effect := range life.step(t) {
			if f, ok := effect.(bundlesender.Forget); ok {
				for _, id := range f.Attempts {
					forgotten[id] = true
				}
			}
		}
		note()
	}
	return s.queue, crashes
}

func checkRestart(t *rapid.T, dir string, calls []waiting, at crash) {
	s, err := openPlace(dir, testMeta, Options{KeepBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	unsynced(s) // a test of what is written
	for i := range calls {
		calls[i].done = nil
	}
	if err := s.commit(calls); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	resumed := mustResume(t, mustJournal(t, s))
	cancel()
	if err := errors.Join(<-ended, s.Close()); err != nil {
		t.Fatal(err)
	}
	if resumed.Difference != nil {
		t.Fatal(resumed.Difference)
	}
	have, want := resumed.Machine.Record(), at.machine.Record()
	if have.Nonce != want.Nonce || have.FeeIncreases != want.FeeIncreases || have.CancelIncreases != want.CancelIncreases ||
		have.Underpriced != want.Underpriced || have.UnderpricedSince != want.UnderpricedSince || have.NextAttempt < want.NextAttempt {
		t.Fatalf("have %+v, want %+v", have, want)
	}
	for id, hash := range at.signed {
		known := slices.ContainsFunc(have.Attempts, func(a bundlesender.Attempt) bool { return a.ID == id && a.Hash == hash })
		tx := resumed.Signed[id]
		if at.forgotten[id] {
			if known || tx != nil {
				t.Fatalf("attempt %d was forgotten before the crash and is back", id)
			}
			continue
		}
		if !known || tx == nil || tx.Hash() != hash {
			t.Fatalf("attempt %d was signed before the crash: it is known: %v, its transaction is %v", id, known, tx)
		}
	}
	checkLive(t, resumed.Machine, want, at)
}

// checkLive compares what the restarted machine looks for with what may be mined.
func checkLive(t *rapid.T, m *bundlesender.Machine, before bundlesender.Record, at crash) {
	watched := make(map[bundlesender.AttemptID]bool)
	for _, a := range m.Watch() {
		watched[a.ID] = true
		if _, signed := at.signed[a.ID]; !signed && a.Kind != bundlesender.KindForeign {
			t.Fatalf("attempt %d is looked for and was never signed", a.ID)
		}
	}
	for _, a := range before.Attempts {
		_, signed := at.signed[a.ID]
		live := a.Nonce >= before.Nonce && a.Status != bundlesender.StatusRefused && a.Status != bundlesender.StatusMined
		if !live || !signed {
			continue
		}
		if !watched[a.ID] {
			t.Fatalf("attempt %d may be mined and is not looked for", a.ID)
		}
		for _, op := range a.Operations {
			if at.machine.Holds(op) && !m.Holds(op) {
				t.Fatalf("operation %s of attempt %d (%s) was held, and is not", op, a.ID, a.Status)
			}
		}
	}
}
