package store

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"

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
	if err := errors.Join(j.Note(t.Context(), "x"), j.Signed(t.Context(), bundlesender.Attempt{}, someTransaction(1, 1, gas.Fees{}), "")); err != nil {
		t.Error(err)
	}
	for entry, err := range j.Entries() {
		t.Errorf("have an entry: %v, %v", entry, err)
	}
}

// transaction is one that differs for each attempt.
func someTransaction(id bundlesender.AttemptID, nonce uint64, fees gas.Fees) *types.Transaction {
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
			return j.Signed(context.Background(), a, tx, "")
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
		tx := someTransaction(e.Attempt, attempt.Nonce, e.Fees)
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

// TestAJournalStaysSmallAndCanBeReplayed over a long life with restarts: what is left is replayed without a difference.
func TestAJournalStaysSmallAndCanBeReplayed(t *testing.T) {
	bothEngines(t, testAJournalStaysSmallAndCanBeReplayed)
}

func testAJournalStaysSmallAndCanBeReplayed(t *testing.T, place string) {
	dir := place
	options := Options{PartBytes: 20_000, KeepBytes: 60_000, MaxBytes: 400_000}
	random := rand.New(rand.NewPCG(1, 2))
	var life *sender
	for range 5 {
		s := mustOpenFast(t, dir, options)
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
			life.sign = func(a bundlesender.Attempt, tx *types.Transaction) error { return j.Signed(t.Context(), a, tx, "") }
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
	s := mustOpen(t, dir, options)
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

func TestKeysHaveJournalsOfTheirOwn(t *testing.T) { bothEngines(t, testKeysHaveJournalsOfTheirOwn) }

func testKeysHaveJournalsOfTheirOwn(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
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
	bothEngines(t, testAJournalThatIsNotResumedTakesNothing)
}

func testAJournalThatIsNotResumedTakesNothing(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
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
	bothEngines(t, testNothingIsDoneThatIsNotWritten)
}

func testNothingIsDoneThatIsNotWritten(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
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
	if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 1}, someTransaction(1, 0, gas.Fees{}), ""); !errors.Is(err, errDisk) {
		t.Errorf("signed: have %v, want the failure", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAJournalOfAnotherMachineKeepsItsTransactions: what is signed is not taken for forgotten where today's machine disagrees.
func TestAJournalOfAnotherMachineKeepsItsTransactions(t *testing.T) {
	bothEngines(t, testAJournalOfAnotherMachineKeepsItsTransactions)
}

func testAJournalOfAnotherMachineKeepsItsTransactions(t *testing.T, place string) {
	dir := place
	s := mustOpen(t, dir, Options{})
	stop := start(t, s)
	j := mustJournal(t, s)
	mustResume(t, j)
	// Another machine makes attempt 5 of a head, and signs it.
	tx := someTransaction(5, 3, gas.Fees{})
	step := journal.Step{Event: bundlesender.Head{Number: 9}, Effects: []bundlesender.Effect{bundlesender.Submit{Attempt: bundlesender.Attempt{ID: 5}}}}
	if err := s.Enqueue(t.Context(), j.append(nil, step)...); err != nil {
		t.Fatal(err)
	}
	if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 5, Operations: []common.Hash{{1}}}, tx, "a relay"); err != nil {
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
	if len(watched) != 1 || watched[0].Hash != tx.Hash() || resumed.Signed[5].Hash() != tx.Hash() || resumed.Routes[5] != "a relay" || !resumed.Machine.Holds(common.Hash{1}) {
		t.Errorf("watched: have %+v, want attempt 5 with its transaction, route and operation", watched)
	}
}

func TestADamagedJournalIsRefused(t *testing.T) { bothEngines(t, testADamagedJournalIsRefused) }

func testADamagedJournalIsRefused(t *testing.T, place string) {
	for name, damage := range map[string]func(t *testing.T, own bucket){
		"an entry": func(t *testing.T, own bucket) {
			value := slices.Clone(own.Bucket(bucketEntries).Get(number(2)))
			value[len(value)-3] ^= 1
			mustPut(t, own.Bucket(bucketEntries), number(2), value)
		},
		"an entry's number": func(t *testing.T, own bucket) {
			mustPut(t, own.Bucket(bucketEntries), []byte("two"), []byte("x"))
		},
		"a missing entry": func(t *testing.T, own bucket) {
			if err := own.Bucket(bucketEntries).Delete(number(2)); err != nil {
				t.Fatal(err)
			}
		},
		"a signed transaction": func(t *testing.T, own bucket) {
			mustPut(t, own.Bucket(bucketSigned), number(1), []byte("x"))
		},
		"another transaction": func(t *testing.T, own bucket) {
			raw, err := someTransaction(1, 1, gas.Fees{}).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			record, err := seal(recordSigned, signedRecord{Attempt: bundlesender.Attempt{ID: 1, Hash: common.Hash{1}}, Raw: raw})
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, own.Bucket(bucketSigned), number(1), record)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, filepath.Join(place, name), Options{})
			start(t, s)
			j := mustJournal(t, s)
			m := mustResume(t, j).Machine
			for n := range uint64(3) {
				if _, err := j.Step(t.Context(), m, bundlesender.Head{Number: n}); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 1}, someTransaction(1, 1, gas.Fees{}), ""); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Update(func(tx transaction) error {
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

func mustPut(t *testing.T, bucket bucket, key, value []byte) {
	t.Helper()
	if err := bucket.Put(key, value); err != nil {
		t.Fatal(err)
	}
}
