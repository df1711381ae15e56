package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"baler/bundlesender"
	"baler/gas"
	"baler/internal/senderrun"
	"baler/journal"
)

var testKey = common.Address{19: 7}

func checkSilentJournal(t *testing.T, j *Journal) {
	t.Helper()
	resumed, err := j.Resume(t.Context(), bundlesender.DefaultConfig())
	if err != nil || !resumed.Fresh || resumed.Machine == nil {
		t.Fatalf("resume: have %+v, %v", resumed, err)
	}
	effects, err := j.Step(t.Context(), resumed.Machine, bundlesender.Head{Number: 1})
	if err != nil || len(effects) == 0 {
		t.Errorf("step: have %v, %v, want the machine's effects", effects, err)
	}
	if err := errors.Join(j.Note(t.Context(), "x"), j.Signed(t.Context(), bundlesender.Attempt{}, transaction(1, 1, gas.Fees{}))); err != nil {
		t.Error(err)
	}
	for entry, err := range j.Entries() {
		t.Errorf("have an entry: %v, %v", entry, err)
	}
}

// transaction is one that differs for each attempt.
func transaction(id bundlesender.AttemptID, nonce uint64, fees gas.Fees) *types.Transaction {
	return types.NewTx(&types.DynamicFeeTx{
		Nonce: nonce, GasFeeCap: fees.MaxFee.ToBig(), GasTipCap: fees.MaxPriority.ToBig(), Gas: 21_000,
		Data: binary.BigEndian.AppendUint64(nil, uint64(id)),
	})
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func mustJournal(t tester, s *Store) *Journal {
	t.Helper()
	j, err := s.Journal(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustResume(t tester, j *Journal) Resumed {
	t.Helper()
	resumed, err := j.Resume(context.Background(), smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	return resumed
}

// sender is a random life that is journaled as the shell does it: every step, and each transaction before its event.
type sender struct {
	run     *senderrun.Run
	journal *Journal
	made    map[bundlesender.AttemptID]bundlesender.Attempt
	txs     map[bundlesender.AttemptID]*types.Transaction
	sign    func(bundlesender.Attempt, *types.Transaction) error // makes a transaction durable
}

func smallConfig() bundlesender.Config {
	cfg := bundlesender.DefaultConfig()
	cfg.ReorgDepth, cfg.MaxReplacementUnderpricedBlocks, cfg.MaxCancellationFeeIncreases = 3, 2, 3
	return cfg
}

func newSender(j *Journal, m *bundlesender.Machine, choose func(int) int) *sender {
	s := &sender{
		run: senderrun.New(smallConfig(), choose), journal: j,
		made: make(map[bundlesender.AttemptID]bundlesender.Attempt), txs: make(map[bundlesender.AttemptID]*types.Transaction),
		sign: func(a bundlesender.Attempt, tx *types.Transaction) error {
			return j.Signed(context.Background(), a, tx)
		},
	}
	s.run.Machine = m
	return s
}

// step takes one step and returns its effects.
func (s *sender) step(t tester) []bundlesender.Effect {
	t.Helper()
	event := s.run.Next()
	switch e := event.(type) { // the transactions are real ones here
	case bundlesender.Signed:
		attempt := s.made[e.Attempt]
		tx := transaction(e.Attempt, attempt.Nonce, e.Fees)
		if err := s.sign(attempt, tx); err != nil {
			t.Fatal(err)
		}
		s.txs[e.Attempt], e.Hash = tx, tx.Hash()
		event = e
	case bundlesender.Submitted:
		if tx := s.txs[e.Attempt]; tx != nil {
			e.Hash = tx.Hash()
		}
		event = e
	case bundlesender.CancelSubmitted:
		e.Hash = s.txs[e.Attempt].Hash()
		event = e
	default: // names no transaction of ours
	}
	effects, err := s.journal.Step(context.Background(), s.run.Machine, event)
	if err != nil {
		t.Fatal(err)
	}
	s.run.Wants(effects)
	for _, effect := range effects {
		switch e := effect.(type) {
		case bundlesender.Submit:
			s.made[e.Attempt.ID] = e.Attempt
		case bundlesender.Cancel:
			s.made[e.Attempt] = bundlesender.Attempt{ID: e.Attempt, Kind: bundlesender.KindCancellation, Nonce: e.Nonce}
		default: // makes no attempt
		}
	}
	return effects
}

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
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		calls, crashes := recordedLife(t, filepath.Join(dir, "life"))
		for i := range 3 {
			at := rapid.SampledFrom(crashes).Draw(t, "crash")
			checkRestart(t, filepath.Join(dir, fmt.Sprint(i)), calls[:at.calls], at)
		}
	})
}

// recordedLife leads a life whose calls of the store are kept, in order, instead of being carried out.
func recordedLife(t *rapid.T, dir string) ([]waiting, []crash) {
	s, err := Open(dir, testMeta, Options{PartBytes: rapid.SampledFrom([]int{2000, 20_000}).Draw(t, "part"), KeepBytes: 1, MaxBytes: 1 << 30})
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
		w, err := j.putSigned(a, tx)
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
	s, err := Open(dir, testMeta, Options{KeepBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
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

// TestAJournalStaysSmallAndCanBeReplayed over a long life with restarts: what is left is replayed without a difference.
func TestAJournalStaysSmallAndCanBeReplayed(t *testing.T) {
	dir := t.TempDir()
	options := Options{PartBytes: 20_000, KeepBytes: 60_000, MaxBytes: 400_000}
	random := rand.New(rand.NewPCG(1, 2))
	var life *sender
	for range 5 {
		s := mustOpen(t, dir, options)
		stop := start(t, s)
		j := mustJournal(t, s)
		resumed := mustResume(t, j)
		if resumed.Difference != nil {
			t.Fatal(resumed.Difference)
		}
		if life == nil {
			life = newSender(j, resumed.Machine, random.IntN)
		} else {
			if resumed.Fresh {
				t.Fatal("the journal is empty after a restart")
			}
			life.journal = j
			life.sign = func(a bundlesender.Attempt, tx *types.Transaction) error { return j.Signed(t.Context(), a, tx) }
			life.run.Restarted(resumed.Machine)
		}
		for range 1500 {
			life.step(t)
		}
		if err := j.Note(t.Context(), "the end of a part"); err != nil {
			t.Fatal(err)
		}
		stop()
		checkKept(t, dir, options, j, life)
	}
	if first := life.journal.parts[0].first; first == 1 {
		t.Error("nothing was ever dropped: the test shows nothing")
	}
}

func checkKept(t *testing.T, dir string, options Options, written *Journal, life *sender) {
	t.Helper()
	s, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	j := mustJournal(t, s)
	if diff := cmp.Diff(written.parts, j.parts, cmp.AllowUnexported(part{})); diff != "" {
		t.Errorf("parts as written and as read (-written +read):\n%s", diff)
	}
	bytes, entries := 0, 0
	for _, p := range j.parts {
		bytes += p.bytes
	}
	if bytes > options.MaxBytes+3*options.PartBytes {
		t.Errorf("the journal has %d bytes, want about %d at most", bytes, options.MaxBytes)
	}
	if err := journal.Replay(j.Entries(), func(journal.Moment) error { entries++; return nil }); err != nil {
		t.Fatalf("after %d entries: %v", entries, err)
	}
	signed, err := j.signed()
	if err != nil {
		t.Fatal(err)
	}
	remembered := life.run.Machine.Record().Attempts
	for _, a := range signed {
		if !slices.ContainsFunc(remembered, func(b bundlesender.Attempt) bool { return b.ID == a.attempt.ID }) {
			t.Errorf("attempt %d is forgotten, and its transaction is kept", a.attempt.ID)
		}
	}
	if keys, err := s.Journals(); err != nil || !slices.Equal(keys, []common.Address{testKey}) {
		t.Errorf("journals: have %v, %v", keys, err)
	}
}

func TestKeysHaveJournalsOfTheirOwn(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	stop := start(t, s)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			j, err := s.Journal(common.Address{byte(i)})
			if err != nil {
				t.Error(err)
				return
			}
			resumed, err := j.Resume(t.Context(), smallConfig())
			if err != nil {
				t.Error(err)
				return
			}
			life := newSender(j, resumed.Machine, rand.New(rand.NewPCG(uint64(i), 0)).IntN)
			for range 200 {
				life.step(t)
			}
		})
	}
	group.Wait()
	for i := range 4 {
		j, err := s.Journal(common.Address{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		if resumed := mustResume(t, j); resumed.Difference != nil || resumed.Fresh { // after everything handed over before
			t.Errorf("key %d: have %+v", i, resumed)
		}
	}
	stop()
}

func TestAJournalThatIsNotResumedTakesNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	start(t, s)
	j := mustJournal(t, s)
	if _, err := j.Step(t.Context(), bundlesender.New(smallConfig()), bundlesender.Head{}); !errors.Is(err, ErrNotResumed) {
		t.Errorf("step: have %v, want ErrNotResumed", err)
	}
	if err := j.Note(t.Context(), "x"); !errors.Is(err, ErrNotResumed) {
		t.Errorf("note: have %v, want ErrNotResumed", err)
	}
}

// TestNothingIsDoneThatIsNotWritten: when the store fails, the effects of the step are not given out, nor of any later.
func TestNothingIsDoneThatIsNotWritten(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	j := mustJournal(t, s)
	m := mustResume(t, j).Machine
	if err := s.Enqueue(t.Context(), failing()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errDisk) {
		t.Fatalf("the committer: have %v", err)
	}
	for range 2 {
		if effects, err := j.Step(t.Context(), m, bundlesender.Head{Number: 1}); !errors.Is(err, errDisk) || effects != nil {
			t.Errorf("have %v, %v, want no effects and the failure", effects, err)
		}
	}
	if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 1}, transaction(1, 0, gas.Fees{})); !errors.Is(err, errDisk) {
		t.Errorf("signed: have %v, want the failure", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAJournalOfAnotherMachineKeepsItsTransactions: what is signed is not taken for forgotten where today's machine disagrees.
func TestAJournalOfAnotherMachineKeepsItsTransactions(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	stop := start(t, s)
	j := mustJournal(t, s)
	mustResume(t, j)
	// Another machine makes attempt 5 of a head, and signs it.
	tx := transaction(5, 3, gas.Fees{})
	step := journal.Step{Event: bundlesender.Head{Number: 9}, Effects: []bundlesender.Effect{bundlesender.Submit{Attempt: bundlesender.Attempt{ID: 5}}}}
	if err := s.Enqueue(t.Context(), j.append(nil, step)...); err != nil {
		t.Fatal(err)
	}
	if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 5, Operations: []common.Hash{{1}}}, tx); err != nil {
		t.Fatal(err)
	}
	stop()
	s = mustOpen(t, dir, Options{})
	start(t, s)
	resumed := mustResume(t, mustJournal(t, s))
	if resumed.Difference == nil || resumed.Difference.Number != 2 {
		t.Errorf("have difference %v, want one at entry 2", resumed.Difference)
	}
	watched := resumed.Machine.Watch()
	if len(watched) != 1 || watched[0].Hash != tx.Hash() || resumed.Signed[5].Hash() != tx.Hash() || !resumed.Machine.Holds(common.Hash{1}) {
		t.Errorf("watched: have %+v, want attempt 5 with its transaction and operation", watched)
	}
}

func TestADamagedJournalIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, own *bbolt.Bucket){
		"an entry": func(t *testing.T, own *bbolt.Bucket) {
			value := slices.Clone(own.Bucket(bucketEntries).Get(number(2)))
			value[len(value)-3] ^= 1
			mustPut(t, own.Bucket(bucketEntries), number(2), value)
		},
		"an entry's number": func(t *testing.T, own *bbolt.Bucket) {
			mustPut(t, own.Bucket(bucketEntries), []byte("two"), []byte("x"))
		},
		"a missing entry": func(t *testing.T, own *bbolt.Bucket) {
			if err := own.Bucket(bucketEntries).Delete(number(2)); err != nil {
				t.Fatal(err)
			}
		},
		"a signed transaction": func(t *testing.T, own *bbolt.Bucket) {
			mustPut(t, own.Bucket(bucketSigned), number(1), []byte("x"))
		},
		"another transaction": func(t *testing.T, own *bbolt.Bucket) {
			raw, err := transaction(1, 1, gas.Fees{}).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			record, err := seal(recordSigned, signedRecord{bundlesender.Attempt{ID: 1, Hash: common.Hash{1}}, raw})
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, own.Bucket(bucketSigned), number(1), record)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir(), Options{})
			start(t, s)
			j := mustJournal(t, s)
			m := mustResume(t, j).Machine
			for n := range uint64(3) {
				if _, err := j.Step(t.Context(), m, bundlesender.Head{Number: n}); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 1}, transaction(1, 1, gas.Fees{})); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Update(func(tx *bbolt.Tx) error {
				damage(t, tx.Bucket(bucketJournals).Bucket(testKey[:]))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			j, err := s.Journal(testKey)
			if err == nil {
				_, err = j.Resume(t.Context(), smallConfig())
			}
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, journal.ErrGap) {
				t.Errorf("have %v, want ErrDamaged or ErrGap", err)
			}
		})
	}
}

func mustPut(t *testing.T, bucket *bbolt.Bucket, key, value []byte) {
	t.Helper()
	if err := bucket.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkJournal measures what a bundle costs its sender: the steps from the proposal to the signed, durable transaction.
func BenchmarkJournal(b *testing.B) {
	for _, senders := range []int{1, 16} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), Options{})
			stop := start(b, s)
			var group sync.WaitGroup
			b.ResetTimer()
			for i := range senders {
				group.Go(func() { benchmarkSender(b, s, common.Address{byte(i)}, (b.N+senders-1)/senders) })
			}
			group.Wait()
			b.StopTimer()
			stats := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
			b.ReportMetric(float64(stats.Calls)/float64(stats.Transactions), "calls/fsync")
			stop()
		})
	}
}

func benchmarkSender(b *testing.B, s *Store, key common.Address, bundles int) {
	j, err := s.Journal(key)
	if err != nil {
		b.Error(err)
		return
	}
	resumed, err := j.Resume(b.Context(), bundlesender.DefaultConfig())
	if err != nil {
		b.Error(err)
		return
	}
	m := resumed.Machine
	var propose bundlesender.Propose
	step := func(e bundlesender.Event) {
		effects, err := j.Step(b.Context(), m, e)
		if err != nil {
			b.Error(err)
		}
		for _, effect := range effects {
			switch effect := effect.(type) {
			case bundlesender.Propose:
				propose = effect
			case bundlesender.Observe:
				step := bundlesender.Observed{Seq: effect.Seq}
				more, err := j.Step(b.Context(), m, step)
				if err != nil {
					b.Error(err)
				}
				if len(more) > 0 {
					propose, _ = more[len(more)-1].(bundlesender.Propose)
				}
			default: // not of interest
			}
		}
	}
	step(bundlesender.Head{Number: 1, Hash: common.Hash{1}})
	for n := range uint64(bundles) {
		id := m.Record().NextAttempt
		ops := []common.Hash{{byte(n)}, {byte(n >> 8), 1}, {2, byte(n)}, {3, byte(n)}, {4}, {5}, {6}, {7}}
		fees := gas.Fees{MaxFee: *uint256.NewInt(2e9), MaxPriority: *uint256.NewInt(1e9)}
		step(bundlesender.BundleReady{Seq: propose.Seq, Fees: fees, GasLimit: 1_000_000, Operations: ops, Claimed: ops})
		tx := transaction(id, n, fees)
		if err := j.Signed(b.Context(), bundlesender.Attempt{ID: id, Nonce: n, Operations: ops}, tx); err != nil {
			b.Error(err)
			return
		}
		step(bundlesender.Signed{Attempt: id, Hash: tx.Hash(), Fees: fees})
		step(bundlesender.Submitted{Attempt: id, Hash: tx.Hash(), Outcome: bundlesender.Accepted})
		block := common.Hash{1, 2}
		binary.BigEndian.PutUint64(block[8:], n)
		step(bundlesender.Head{Number: n + 2, Hash: block, Observation: &bundlesender.Observation{
			Nonce: n + 1, Mined: []bundlesender.Mined{{Attempt: id, Block: n + 2, Hash: block}},
		}})
	}
}
