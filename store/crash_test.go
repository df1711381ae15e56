package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"baler/bundlesender"
	"baler/journal"
)

// crashDir, in the environment, makes the test's program the one that is killed.
const crashDir = "BALER_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits from many goroutines, and says on the standard output what was acknowledged.
func writeUntilKilled(dir string) error {
	s, err := openPlace(dir, testMeta, Options{PartBytes: 10_000, KeepBytes: 50_000})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Run(context.Background()) }()
	fmt.Println("open") // the parent may count on what follows
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for i := range 8 {
		go func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d/%d/%d", os.Getpid(), i, n)
				if err := s.Commit(context.Background(), put("a "+key, key), put("b "+key, key), put("c "+key, strings.Repeat(key, 100))); err != nil {
					failed <- err
					return
				}
				say("commit %s", key)
			}
		}()
	}
	go func() { failed <- sendUntilKilled(s, say) }()
	for i := range 4 {
		go func() {
			for n := 0; ; n++ {
				op := someOperation(byte(64*i + n%64))
				receipt, err := s.Accept(PutOperation(op))
				if err == nil {
					err = receipt.Wait(context.Background())
				}
				if err != nil {
					failed <- err
					return
				}
				say("accepted %s", op.Hash)
			}
		}()
	}
	return <-failed
}

func sendUntilKilled(s *Store, say func(string, ...any)) error {
	j, err := s.Journal(testKey)
	if err != nil {
		return err
	}
	resumed, err := j.Resume(context.Background(), smallConfig())
	if err != nil {
		return err
	}
	life := newSender(j, resumed.Machine, rand.New(rand.NewPCG(uint64(os.Getpid()), 1)).IntN)
	life.sign = func(a bundlesender.Attempt, tx *types.Transaction) error {
		if err := j.Signed(context.Background(), a, tx, ""); err != nil {
			return err
		}
		say("signed %d %s", a.ID, tx.Hash())
		return nil
	}
	for {
		for _, effect := range life.step(dying{}) {
			if f, ok := effect.(bundlesender.Forget); ok {
				for _, id := range f.Attempts {
					say("forgotten %d", id)
				}
			}
		}
	}
}

// dying ends the program where a test would fail.
type dying struct{}

func (dying) Helper()                        {}
func (dying) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (dying) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// TestWhatWasAcknowledgedSurvivesAKill kills the writing program in the middle, again and again over the same store.
func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	bothEngines(t, testWhatWasAcknowledgedSurvivesAKill)
}

func testWhatWasAcknowledgedSurvivesAKill(t *testing.T, dir string) {
	acknowledged := make(map[string]bool)
	signed := make(map[string]common.Hash)
	accepted := make(map[common.Hash]bool)
	live := 0
	for round := range 5 {
		lines := killAfter(t, dir, 100+150*round)
		for _, line := range lines {
			switch word := strings.Fields(line); word[0] {
			case "commit":
				acknowledged[word[1]] = true
			case "accepted":
				accepted[common.HexToHash(word[1])] = true
			case "signed":
				signed[word[1]] = common.HexToHash(word[2])
			case "forgotten":
				delete(signed, word[1])
			}
		}
		checkSurvived(t, dir, acknowledged, accepted, signed)
		live += len(signed)
	}
	if len(accepted) == 0 {
		t.Error("no operation was acknowledged: the test shows less than it should")
	}
	if live == 0 {
		t.Error("no transaction was live at any kill: the test shows less than it should")
	}
}

// killAfter starts the program, kills it after some lines, and returns all its lines.
func killAfter(t *testing.T, dir string, after int) []string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
		if len(lines) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if len(lines) < after {
		t.Fatalf("the program ended by itself after %d lines: %q", len(lines), lines[max(0, len(lines)-3):])
	}
	return lines
}

func checkSurvived(t *testing.T, dir string, acknowledged map[string]bool, accepted map[common.Hash]bool, signed map[string]common.Hash) {
	t.Helper()
	s := mustOpen(t, dir, Options{PartBytes: 10_000, KeepBytes: 50_000})
	stop := start(t, s)
	defer stop()
	for key := range acknowledged {
		if get(t, s, "a "+key) != key {
			t.Fatalf("%s was acknowledged and is not there", key)
		}
	}
	have := kept(t, s)
	for hash := range accepted {
		if have[hash] == nil {
			t.Fatalf("operation %s was acknowledged and is not there", hash)
		}
	}
	if err := s.db.View(func(tx transaction) error {
		cursor := tx.Bucket([]byte("test")).Cursor()
		for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
			key := string(name[2:])
			if get(t, s, "a "+key) != key || get(t, s, "b "+key) != key || get(t, s, "c "+key) != strings.Repeat(key, 100) {
				t.Fatalf("half of %s is there", key)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	j := mustJournal(t, s)
	forgotten := make(map[string]bool) // in the last moment, so that it could not say so
	if err := journal.Replay(j.Entries(), func(m journal.Moment) error {
		if step, ok := m.Body.(journal.Step); ok {
			for _, effect := range step.Effects {
				if f, ok := effect.(bundlesender.Forget); ok {
					for _, id := range f.Attempts {
						forgotten[fmt.Sprint(id)] = true
					}
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("the journal after the kill: %v", err)
	}
	resumed := mustResume(t, j)
	for id, hash := range signed {
		known := slices.ContainsFunc(resumed.Machine.Record().Attempts, func(a bundlesender.Attempt) bool { return a.Hash == hash })
		if !known && !forgotten[id] {
			t.Fatalf("attempt %s was signed, and is forgotten", id)
		}
	}
}
