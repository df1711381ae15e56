package txsender

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// fixture is one answer of a client, as it comes over the wire.
type fixture struct {
	Class  Class           `json:"class"`
	Answer json.RawMessage `json:"answer"`
}

func fixtures(t *testing.T) map[string][]fixture {
	t.Helper()
	files, err := filepath.Glob("testdata/answers/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]fixture)
	for _, file := range files {
		client := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			var f fixture
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			out[client] = append(out[client], f)
		}
	}
	return out
}

func TestWhatEachClientAnswersIsUnderstood(t *testing.T) {
	all := fixtures(t)
	for _, client := range []string{"geth", "reth", "erigon", "nethermind", "besu", "arbitrum", "op-geth", "bor"} {
		if len(all[client]) == 0 {
			t.Errorf("%s: no fixtures", client)
		}
	}
	decided := make(map[Row]bool)
	for client, fixtures := range all {
		for _, f := range fixtures {
			err := decodeAnswer(200, f.Answer, nil)
			answered, ok := errors.AsType[*callError](err)
			if !ok {
				t.Fatalf("%s: %s: have %v, want an answered error", client, f.Answer, err)
			}
			if row, ok := lookUp(answered.code, answered.message); ok {
				decided[row] = true
			}
			var silent *oddities
			if have := silent.answer(client, err, common.Hash{}, common.Hash{}); have.Class != f.Class || have.Reach != Answered {
				t.Errorf("%s: %s: have %s, want %s", client, f.Answer, have.Class, f.Class)
			}
		}
	}
	for _, row := range Table() {
		if !decided[row] {
			t.Errorf("%s: no fixture shows %q", row.Client, row.Phrase)
		}
	}
}

// −32003 is "transaction rejected" for reth and an intrinsic gas problem for besu: only the phrases of conditional
// endpoints make it a condition.
func TestTheCodeOfAConditionAloneIsNoCondition(t *testing.T) {
	for _, message := range []string{
		"transaction rejected", "insufficient funds for transfer", "Intrinsic gas exceeds gas limit", "txpool is full", "rate limited", "",
	} {
		if have := Classify(-32003, message); have == ConditionNotMet {
			t.Errorf("%q: have %s", message, have)
		}
	}
	if have := Classify(-32000, "storage error"); have != Unknown {
		t.Errorf("another code: have %s, want unknown", have)
	}
}

func TestAPhraseIsMatchedAsWordsOfItsOwn(t *testing.T) {
	for message, want := range map[string]Class{
		"Known transaction":                 AlreadyKnown,
		"known transaction: 0x7f657507aee0": AlreadyKnown,
		"Unknown transaction":               Unknown,
		"unknown transaction type":          Unknown,
		"nonce too lowest":                  Unknown,
		"xnonce too low, nonce too low":     NonceTooLow,
		"(nonce too low)":                   NonceTooLow,
		"não nonce too low é":               NonceTooLow,
		"énonce too low":                    Unknown,
	} {
		if have := Classify(0, message); have != want {
			t.Errorf("%q: have %s, want %s", message, have, want)
		}
	}
}

func TestEveryRowIsFoundInAnyCaseAndSurrounding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SampledFrom(Table()).Draw(t, "row")
		before := rapid.StringMatching(`([0-9A-Z]{0,8}[ :("])?`).Draw(t, "before")
		after := rapid.StringMatching(`([ :)",][0-9A-Z]{0,8})?`).Draw(t, "after")
		phrase := row.Phrase
		if rapid.Bool().Draw(t, "upper") {
			phrase = strings.ToUpper(phrase)
		}
		if have := Classify(row.Code, before+phrase+after); have != row.Class {
			t.Fatalf("%q: have %s, want %s", before+phrase+after, have, row.Class)
		}
		letter := rapid.StringMatching(`[a-z0-9]`).Draw(t, "letter")
		if holdsPhrase(letter+row.Phrase+letter, row.Phrase) && inWord(rune(row.Phrase[0])) && inWord(rune(row.Phrase[len(row.Phrase)-1])) {
			t.Fatalf("%q is found inside of a word", row.Phrase)
		}
	})
}

func TestAnUnmatchedAnswerIsLoggedOnceWithItsText(t *testing.T) {
	var log bytes.Buffer
	odd := newOddities(slog.New(slog.NewTextHandler(&log, nil)))
	ask := func(code int, text string) Answer {
		return odd.answer("https://node", &callError{code, text}, common.Hash{}, common.Hash{})
	}
	for range 3 {
		if have := ask(-32000, "the moon is in house 7"); have.Class != Unknown || have.Text != "the moon is in house 7" || have.Reach != Answered {
			t.Fatalf("have %+v, want unknown with its text", have)
		}
	}
	ask(-32000, "the moon is in house 8") // the same but for a number
	ask(-32000, "nonce too low")          // known
	ask(-32000, "rate limited")           // known to say nothing
	if have := strings.Count(log.String(), "\n"); have != 1 {
		t.Fatalf("have %d log lines, want one:\n%s", have, &log)
	}
	for _, part := range []string{"endpoint=https://node", "code=-32000", `text="the moon is in house 7"`} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log line has no %s: %s", part, &log)
		}
	}
	ask(-32001, "the moon is in house 7") // another code is another answer
	if have := strings.Count(log.String(), "\n"); have != 2 {
		t.Errorf("have %d log lines, want two", have)
	}
}

func TestOdditiesAreBounded(t *testing.T) {
	var log bytes.Buffer
	odd := newOddities(slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 10 * maxOddities {
		odd.note("node", 0, strings.Repeat("x", i))
	}
	if have := strings.Count(log.String(), "\n"); have != maxOddities {
		t.Errorf("have %d log lines, want %d", have, maxOddities)
	}
}

func TestATextIsFitForALog(t *testing.T) {
	for have, want := range map[string]string{
		" a\nlevel=ERROR\x1b[31m\t": "a level=ERROR [31m",
		"\xffa":                     "a",
		"":                          "",
	} {
		if tidy := tidy(have); tidy != want {
			t.Errorf("%q: have %q, want %q", have, tidy, want)
		}
	}
	long := tidy(strings.Repeat("é", maxText))
	if len(long) > maxText+3 || !strings.HasSuffix(long, "é...") {
		t.Errorf("have %d bytes ending in %q", len(long), long[len(long)-5:])
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"jsonrpc":"2.0","id":1,"result":"0x00"}`))
	f.Add(400, []byte(`{"error":"no"}`))
	f.Add(200, []byte(`{"error":{"code":"x","message":7}}`))
	f.Add(502, []byte(`<html>`))
	f.Add(200, []byte(`{"result":{"txHash":"0xab"}}`))
	f.Add(200, []byte(`{"status":"PENDING"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var hash common.Hash
		err := decodeAnswer(status, body, &hash)
		want := common.Hash{1}
		var silent *oddities
		answer := silent.answer("node", err, hash, want)
		if !answer.Class.known() && answer.Class != Accepted {
			t.Fatalf("have class %q", answer.Class)
		}
		if answer.Class == Accepted && hash != want {
			t.Fatalf("accepted with hash %s", hash)
		}
		if len(answer.Text) > maxText+3 {
			t.Fatalf("have a text of %d bytes", len(answer.Text))
		}
		var taken bloxrouteResult
		if json.Unmarshal(body, &taken) != nil && taken.hash != (common.Hash{}) {
			t.Fatal("an error with a hash")
		}
		if status, err := decodeStatus(status, body); err == nil && status.State == "" {
			t.Fatal("a status without a state")
		}
	})
}

func TestTheTableNamesItsClients(t *testing.T) {
	known := []string{"geth", "reth", "erigon", "nethermind", "besu", "arbitrum", "op-geth", "op-reth", "op-txproxy", "bor"}
	for _, row := range Table() {
		if !slices.Contains(known, row.Client) || !strings.Contains(row.Source, "/") {
			t.Errorf("%q: client %q, source %q", row.Phrase, row.Client, row.Source)
		}
	}
}
