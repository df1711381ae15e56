package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"baler/bundlesender"
	"baler/gas"
	"baler/journal"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// journaled writes a data directory with the journals of some keys, each of which sent one bundle.
func journaled(t *testing.T, keys ...common.Address) string {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(dir, store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for _, key := range keys {
		sendOne(t, s, key)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sendOne(t *testing.T, s *store.Store, key common.Address) {
	t.Helper()
	j, err := s.Journal(key)
	if err != nil {
		t.Fatal(err)
	}
	resumed, err := j.Resume(t.Context(), bundlesender.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	step := func(e bundlesender.Event) []bundlesender.Effect {
		effects, err := j.Step(t.Context(), resumed.Machine, e)
		if err != nil {
			t.Fatal(err)
		}
		return effects
	}
	seq := func(effects []bundlesender.Effect) bundlesender.Seq {
		for _, effect := range effects {
			switch e := effect.(type) {
			case bundlesender.Observe:
				return e.Seq
			case bundlesender.Propose:
				return e.Seq
			default: // has no answer
			}
		}
		t.Fatalf("no answer is wanted: %v", effects)
		return 0
	}
	observed := bundlesender.Observed{Seq: seq(step(bundlesender.Head{Number: 1})), Number: 1}
	fees := gas.Fees{MaxFee: *uint256.NewInt(2e9), MaxPriority: *uint256.NewInt(1e9)}
	effects := step(bundlesender.BundleReady{Seq: seq(step(observed)), Fees: fees, GasLimit: 90_000, Operations: []common.Hash{{7}}})
	submit, ok := effects[len(effects)-1].(bundlesender.Submit)
	if !ok {
		t.Fatalf("have %v, want a submission", effects)
	}
	tx := types.NewTx(&types.DynamicFeeTx{Gas: 90_000, GasFeeCap: fees.MaxFee.ToBig(), GasTipCap: fees.MaxPriority.ToBig()})
	if err := j.Signed(t.Context(), submit.Attempt, tx, ""); err != nil {
		t.Fatal(err)
	}
	step(bundlesender.Signed{Attempt: submit.Attempt.ID, Hash: tx.Hash(), Fees: fees})
	step(bundlesender.Submitted{Attempt: submit.Attempt.ID, Hash: tx.Hash(), Outcome: bundlesender.Accepted})
}

// replayed runs the command and returns its exit code and what it printed.
func replayed(t *testing.T, c replayCommand) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	to := console{out: &stdout, err: &stderr}
	code = exitCode(c.Run(t.Context(), to), to)
	return code, stdout.String(), stderr.String()
}

func TestReplayTellsWhatEachKeyDid(t *testing.T) {
	one, two := common.Address{1}, common.Address{2}
	dir := journaled(t, one, two)
	code, out, errs := replayed(t, replayCommand{File: dir})
	if code != exitOK || errs != "" {
		t.Fatalf("have exit code %d: %s", code, errs)
	}
	for _, want := range []string{
		"journal of " + one.Hex() + " on chain 1337", "journal of " + two.Hex(),
		"proposes a bundle at nonce 0", "submits attempt 1 (bundle): nonce 0, 1 operation, 90000 gas, max fee 2, priority fee 1 gwei",
		"Building -> Pending, because: submitted", "6 entries repeated: the machine does what is written",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	code, single, errs := replayed(t, replayCommand{File: filepath.Join(dir, store.FileName), Key: two.Hex()})
	if code != exitOK || strings.Contains(single, one.Hex()) || !strings.Contains(single, two.Hex()) {
		t.Errorf("one key: have exit code %d: %s%s", code, single, errs)
	}
}

func TestReplayReadsWhatItPrintsAsJSON(t *testing.T) {
	key := common.Address{1}
	dir := journaled(t, key)
	code, text, errs := replayed(t, replayCommand{File: dir, JSON: true})
	if code != exitOK || !strings.HasPrefix(text, `{"Format":1,`) {
		t.Fatalf("have exit code %d: %s%s", code, text, errs)
	}
	path := filepath.Join(t.TempDir(), "journal.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, fromStore, _ := replayed(t, replayCommand{File: dir, All: true})
	code, fromText, errs := replayed(t, replayCommand{File: path, All: true})
	if code != exitOK || fromText != fromStore {
		t.Errorf("have exit code %d: %s\n%s, want\n%s", code, errs, fromText, fromStore)
	}
	// The journal says something that the machine does not do.
	lie := strings.Replace(text, `"To":"Pending"`, `"To":"Cancelling"`, 1)
	if lie == text {
		t.Fatal("the machine did not move to Pending")
	}
	if err := os.WriteFile(path, []byte(lie), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := replayed(t, replayCommand{File: path})
	if code != exitFailed || !strings.Contains(errs, "entry 6: what the machine does differs from the journal") || !strings.Contains(out, "DIFFERS") {
		t.Errorf("a difference: have exit code %d: %s%s", code, out, errs)
	}
}

func TestReplaySaysWhatIsWrong(t *testing.T) {
	dir := journaled(t, common.Address{1}, common.Address{2})
	inUse := t.TempDir()
	used, err := store.Open(inUse, store.Meta{ChainID: 1}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := used.Close(); err != nil {
			t.Error(err)
		}
	}()
	noStore := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(noStore, []byte("This is a letter."), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		command replayCommand
		code    int
		says    string
	}{
		"no file":          {replayCommand{File: filepath.Join(dir, "nothing")}, exitSettings, "no such file"},
		"an empty folder":  {replayCommand{File: t.TempDir()}, exitFailed, "no such file"},
		"no store":         {replayCommand{File: noStore}, exitFailed, "not a Baler store"},
		"in use":           {replayCommand{File: inUse}, exitFailed, "in use by another process: stop the bundler first"},
		"no journal":       {replayCommand{File: journaled(t)}, exitFailed, "holds no journal"},
		"no such key":      {replayCommand{File: dir, Key: common.Address{3}.Hex()}, exitSettings, "--key: "},
		"no address":       {replayCommand{File: dir, Key: "me"}, exitSettings, `--key: have "me", want an address`},
		"JSON of two keys": {replayCommand{File: dir, JSON: true}, exitSettings, "--key: "},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := replayed(t, c.command)
			if code != c.code || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 {
				t.Errorf("have exit code %d: %q, want %d and one line with %q", code, errs, c.code, c.says)
			}
		})
	}
}

func TestAReplayEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var j journal.Header
	entries := until(ctx, func(yield func(journal.Entry, error) bool) {
		yield(journal.Entry{Number: 1, Body: journal.Started{}}, nil)
	})
	if err := (&replayCommand{}).replay(ctx, keyJournal{j, entries}, new(bytes.Buffer)); err == nil {
		t.Error("have no error, want the context's")
	}
}
