package node

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"baler/event"
	"baler/gas"
	"baler/pool"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// clock is a time that tests turn on.
type clock struct{ ms int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms) }

func hashOf(n byte) common.Hash { return common.Hash{31: n} }

// told writes a story in short: each entry as event(what matters), with its count.
func told(entries []rpc.TimelineEntry) string {
	words := make([]string, len(entries))
	for i, e := range entries {
		words[i] = e.Event
		if e.Cause != "" {
			words[i] += "(" + e.Cause + ")"
		}
		if e.Times > 1 {
			words[i] += fmt.Sprintf("*%d", e.Times)
		}
	}
	return strings.Join(words, " ")
}

// The life of one operation, event by event, and where it stands after each.
func TestAStoryIsToldFromReceivedToMined(t *testing.T) {
	t.Parallel()
	op, other, signer, first, second := hashOf(1), hashOf(2), common.Address{0x51}, common.Hash{0xa1}, common.Hash{0xa2}
	both := []common.Hash{other, op}
	sent := func(tx common.Hash, answer, text string) event.BundleSent {
		return event.BundleSent{Signer: signer, Tx: tx, Operations: 2, Hashes: both, Answer: answer, Text: text}
	}
	at := new(clock)
	lines := newTimeline(10, at.now)
	story := ""
	for _, step := range []struct {
		event event.Event
		story string // what it adds
		want  standing
	}{
		{event.OperationReceived{Hash: op}, "received", standing{}},
		{event.OperationAdded{Hash: op}, "added", standing{}},
		{
			event.OperationSkipped{Hash: op, Signer: signer, Cause: "max fee too low", Reason: "max fee too low: have 1, want 2"},
			"skipped(max fee too low)",
			standing{reason: "max fee too low: have 1, want 2"},
		},
		{event.BundleProposed{Signer: signer, Hashes: both}, "bundled", standing{stage: stageBundled}},
		{
			sent(first, "replacement-underpriced", "too low"),
			"refused(replacement-underpriced)",
			standing{reason: "its bundle was refused: replacement-underpriced"},
		},
		{event.BundleProposed{Signer: signer, Hashes: both}, "bundled", standing{stage: stageBundled}},
		{sent(first, "accepted", ""), "sent(accepted)", standing{stage: stageSubmitted, tx: first}},
		// A replacement in the making: until it is out, the first transaction is the one that may be mined.
		{event.BundleProposed{Signer: signer, Hashes: both}, "bundled", standing{stage: stageSubmitted, tx: first}},
		{sent(second, "underpriced", "no"), "refused(underpriced)", standing{stage: stageSubmitted, tx: first}},
		{sent(second, "unknown", "timeout"), "sent(unknown)", standing{stage: stageSubmitted, tx: second}},
		{event.OperationMined{Hash: op, Tx: second, Block: 9, Success: true}, "mined", standing{stage: stageMined, tx: second}},
		{event.OperationsReleased{Signer: signer, Hashes: one(op)}, "", standing{stage: stageMined, tx: second}},
		{event.OperationRejected{Hash: op, Code: -32500, Message: "AA25"}, "rejected", standing{stage: stageMined, tx: second}},
		{event.OperationRevived{Hash: op}, "revived", standing{}},
		{sent(second, "already-known", ""), "sent(already-known)", standing{stage: stageSubmitted, tx: second}},
		{event.BundleReverted{Signer: signer, Tx: second, Hashes: both, Cause: "out of gas"}, "reverted", standing{reason: "its bundle reverted: out of gas"}},
		{event.BundleProposed{Signer: signer, Hashes: both}, "bundled", standing{stage: stageBundled}},
		{event.OperationsReleased{Signer: signer, Hashes: both}, "released", standing{}},
		{event.OperationRemoved{Hash: op, Cause: "expired", Reason: "expired"}, "removed(expired)", standing{stage: stageRemoved, reason: "expired"}},
		// Why the bundle reverted is found out late: it changes nothing any more.
		{event.BundleReverted{Signer: signer, Tx: first, Hashes: both, Cause: "late"}, "reverted", standing{stage: stageRemoved, reason: "expired"}},
		// About other operations, or none.
		{event.HeadSeen{Number: 10}, "", standing{stage: stageRemoved, reason: "expired"}},
		{event.OperationMined{Hash: other}, "", standing{stage: stageRemoved, reason: "expired"}},
		{event.BundleMined{Signer: signer, Tx: second}, "", standing{stage: stageRemoved, reason: "expired"}},
	} {
		want := strings.TrimSpace(story + " " + step.story)
		at.ms++
		lines.record(step.event)
		story = told(lines.of(op))
		if story != want {
			t.Fatalf("after %T:\nhave %s\nwant %s", step.event, story, want)
		}
		have, _ := lines.standing(op)
		if have != step.want {
			t.Errorf("after %T: have %+v, want %+v", step.event, have, step.want)
		}
	}
	entries := lines.of(op)
	if first, last := entries[0], entries[len(entries)-1]; first.At != 1 || first.Block != 0 || last.At != at.ms-3 || last.Block != 0 {
		t.Errorf("times: have %d in block %d to %d in block %d, want 1 in 0 to %d in 0", first.At, first.Block, last.At, last.Block, at.ms-3)
	}
}

func TestAnEntryHasTheNumbersBehindItsReason(t *testing.T) {
	t.Parallel()
	at := &clock{ms: 1000}
	lines := newTimeline(10, at.now)
	op, other, signer, about, tx := hashOf(1), hashOf(2), common.Address{0x51}, common.Address{0xab}, common.Hash{0xa1}
	fees := gas.Fees{MaxFee: *uint256.NewInt(7), MaxPriority: *uint256.NewInt(3)}
	lines.record(event.HeadSeen{Number: 5})
	lines.record(event.OperationAdded{Hash: op})
	lines.record(event.OperationSkipped{
		Hash: op, Signer: signer, Cause: "paymaster deposit short", Reason: "…", Have: *uint256.NewInt(1), Want: *uint256.NewInt(2), About: about, Other: other,
	})
	lines.record(event.BundleSent{Signer: signer, Tx: tx, Nonce: 4, Fees: fees, Operations: 1, Hashes: one(op), Answer: "accepted"})
	lines.record(event.OperationMined{Hash: op, Tx: tx, Block: 6, Success: false, GasUsed: *uint256.NewInt(100), GasCost: *uint256.NewInt(700)})
	nonce, success := uint64(4), false
	want := []rpc.TimelineEntry{
		{At: 1000, Block: 5, Event: "added"},
		{
			At: 1000, Block: 5, Event: "skipped", Reason: "…", Cause: "paymaster deposit short", Signer: &signer,
			Have: uint256.NewInt(1), Want: uint256.NewInt(2), About: &about, Other: &other,
		},
		{At: 1000, Block: 5, Event: "sent", Cause: "accepted", Signer: &signer, Transaction: &tx, Nonce: &nonce, Fees: &fees},
		{
			At: 1000, Block: 6, Event: "mined", Transaction: &tx, Success: &success,
			GasUsed: uint256.NewInt(100), GasCost: uint256.NewInt(700),
		},
	}
	if diff := cmp.Diff(want, lines.of(op)); diff != "" {
		t.Errorf("story (-want +have):\n%s", diff)
	}
}

// Whoever knows an operation's hash can read its story: what a node or an internal error said of the operator's affairs
// is not in it.
func TestAStoryHoldsNoInternalText(t *testing.T) {
	t.Parallel()
	const secret = "dial tcp 10.1.2.3:8545: balance 42"
	lines := newTimeline(10, new(clock).now)
	op := hashOf(1)
	for _, e := range []event.Event{
		event.BundleSent{Hashes: one(op), Answer: "unknown", Text: secret},
		event.BundleSent{Hashes: one(op), Answer: "insufficient-funds", Text: secret},
		event.BundleReverted{Hashes: one(op), Cause: "unknown: " + secret},
	} {
		lines.record(e)
	}
	now, _ := lines.standing(op)
	for _, text := range []string{fmt.Sprintf("%+v", lines.of(op)), now.reason} {
		if strings.Contains(text, "10.1.2.3") || strings.Contains(text, "balance") {
			t.Errorf("have %s", text)
		}
	}
}

func TestTheReplacedOperationNamesItsSuccessor(t *testing.T) {
	t.Parallel()
	lines := newTimeline(10, new(clock).now)
	old, successor := hashOf(1), hashOf(2)
	lines.record(event.OperationAdded{Hash: old})
	lines.record(event.OperationRemoved{Hash: old, Cause: "replaced", Reason: "replaced"})
	lines.record(event.OperationAdded{Hash: successor, Replaced: &old})
	entries := lines.of(old)
	if have, want := told(entries), "added removed(replaced) replaced"; have != want || *entries[2].Other != successor {
		t.Errorf("have %s, by %v, want %s, by %v", have, entries[len(entries)-1].Other, want, successor)
	}
	if now, _ := lines.standing(old); now.stage != stageRemoved {
		t.Errorf("have %+v, want it removed", now)
	}
	if entries = lines.of(successor); len(entries) != 1 || *entries[0].Other != old {
		t.Errorf("the successor's story: have %+v, want it to name %v", entries, old)
	}
}

func TestRepetitionIsCountedWithTheLastNumbers(t *testing.T) {
	t.Parallel()
	at := &clock{}
	lines := newTimeline(10, at.now)
	op := hashOf(1)
	for i := range uint64(1000) {
		at.ms = int64(i)
		lines.record(event.HeadSeen{Number: i})
		lines.record(event.OperationSkipped{Hash: op, Cause: "max fee too low", Want: *uint256.NewInt(i)})
	}
	entries := lines.of(op)
	if len(entries) != 1 {
		t.Fatalf("have %d entries, want 1", len(entries))
	}
	e := entries[0]
	if e.Times != 1000 || e.At != 0 || e.Block != 0 || e.LastAt != 999 || e.LastBlock != 999 || e.Want.Uint64() != 999 {
		t.Errorf("have %+v, want 1000 times, from block 0 to 999, with the last numbers", e)
	}
	lines.record(event.OperationSkipped{Hash: op, Cause: "not yet valid"})
	lines.record(event.OperationSkipped{Hash: op, Cause: "max fee too low"})
	if have, want := told(lines.of(op)), "skipped(max fee too low)*1000 skipped(not yet valid) skipped(max fee too low)"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

func TestALongStoryKeepsItsBeginningAndItsEnd(t *testing.T) {
	t.Parallel()
	lines := newTimeline(10, new(clock).now)
	op := hashOf(1)
	lines.record(event.OperationAdded{Hash: op})
	const rounds = 100
	for range rounds {
		lines.record(event.BundleProposed{Hashes: one(op)})
		lines.record(event.OperationsReleased{Hashes: one(op)})
	}
	entries := lines.of(op)
	if have, want := len(entries), storyFirst+1+storyLast; have != want {
		t.Fatalf("have %d entries, want %d", have, want)
	}
	gap := entries[storyFirst]
	if entries[0].Event != eventAdded || entries[len(entries)-1].Event != eventReleased || gap.Event != eventOmitted ||
		gap.Times != 1+2*rounds-storyFirst-storyLast {
		t.Errorf("have %s, want the beginning, %d omitted, the end", told(entries), 1+2*rounds-storyFirst-storyLast)
	}
}

func TestAFloodOfRefusedOperationsPushesOutNoAcceptedOne(t *testing.T) {
	t.Parallel()
	const capacity = 80
	lines := newTimeline(capacity, new(clock).now)
	accepted := hashOf(1)
	lines.record(event.OperationReceived{Hash: accepted})
	lines.record(event.OperationAdded{Hash: accepted})
	for i := range 10 * capacity {
		hash := common.BytesToHash(fmt.Appendf(nil, "refused %d", i))
		lines.record(event.OperationReceived{Hash: hash})
		lines.record(event.OperationRejected{Hash: hash, Message: "no"})
	}
	if have, want := told(lines.of(accepted)), "received added"; have != want {
		t.Errorf("the accepted operation: have %q, want %q", have, want)
	}
	if have, want := len(lines.refused.places), capacity/refusedShare; have != want {
		t.Errorf("refused operations remembered: have %d, want %d", have, want)
	}
	if have, want := lines.refused.order.Len(), capacity/refusedShare; have != want {
		t.Errorf("their order: have %d, want %d", have, want)
	}
}

// Whatever happens in whatever order: what is remembered is bounded, on one shelf, and the newest operations are there.
func TestTheTimelineKeepsItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 16
		lines := newTimeline(capacity, new(clock).now)
		hash := rapid.Custom(func(t *rapid.T) common.Hash { return hashOf(rapid.Byte().Draw(t, "hash")) })
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			h := hash.Draw(t, "operation")
			e := rapid.SampledFrom([]event.Event{
				event.OperationReceived{Hash: h},
				event.OperationRejected{Hash: h},
				event.OperationAdded{Hash: h},
				event.OperationAdded{Hash: h, Replaced: new(hash.Draw(t, "replaced"))},
				event.OperationSkipped{Hash: h, Cause: "a"},
				event.OperationSkipped{Hash: h, Cause: "b"},
				event.OperationRemoved{Hash: h},
				event.OperationMined{Hash: h},
				event.OperationRevived{Hash: h},
				event.BundleProposed{Hashes: one(h)},
				event.BundleSent{Hashes: one(h), Answer: "accepted", Tx: hashOf(9)},
				event.BundleSent{Hashes: one(h), Answer: "rejected"},
				event.OperationsReleased{Hashes: one(h)},
				event.BundleReverted{Hashes: one(h)},
				event.HeadSeen{},
				event.SenderMoved{},
				event.Alert{},
			}).Draw(t, "event")
			lines.record(e)
			checkTimeline(t, lines)
			if _, about := (moment{}).entryOf(e); len(about) > 0 && lines.find(about[0]) == nil {
				t.Fatalf("%T: nothing is remembered of it", e)
			}
		}
	})
}

func checkTimeline(t *rapid.T, lines *timeline) {
	for _, s := range []*shelf{&lines.accepted, &lines.refused} {
		if len(s.places) > s.capacity || s.order.Len() != len(s.places) {
			t.Fatalf("have %d stories in an order of %d, want at most %d", len(s.places), s.order.Len(), s.capacity)
		}
		for hash := range s.places {
			story := s.get(hash)
			if story.hash != hash || len(story.entries) > storyFirst+storyLast {
				t.Fatalf("story of %v: of %v, %d entries", hash, story.hash, len(story.entries))
			}
			if story.tx != (common.Hash{}) && story.stage != stageSubmitted && story.stage != stageMined {
				t.Fatalf("stage %d with transaction %v", story.stage, story.tx)
			}
		}
	}
	for hash := range lines.accepted.places {
		if lines.refused.places[hash] != nil {
			t.Fatalf("%v is on both shelves", hash)
		}
	}
}

// Whatever an entry holds, it is the same after the store had it.
func TestAStoryIsReadBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	number, yes, nonce, address, hash := *uint256.NewInt(1 << 60), true, uint64(7), common.Address{0x51}, common.Hash{0xa1}
	full := rpc.TimelineEntry{
		At: 1, Block: 2, Event: eventMined, Reason: "reason", Cause: "cause", Code: -32500, Rule: "OP-011", Have: &number, Want: &number, About: &address,
		Other: &hash, Signer: &address, Transaction: &hash, Nonce: &nonce, Fees: &gas.Fees{MaxFee: number, MaxPriority: number}, Success: &yes,
		GasUsed: &number, GasCost: &number, Times: 3, LastAt: 4, LastBlock: 5,
	}
	value := reflect.ValueOf(full)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Fatalf("the test leaves %s out", value.Type().Field(i).Name)
		}
	}
	story := []rpc.TimelineEntry{full, {Event: eventReceived}}
	back, err := unpackStory(packStory(story))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, story) {
		t.Errorf("have %+v, want %+v", back, story)
	}
	if packStory(nil) != nil {
		t.Error("no story takes room")
	}
	// Zero is another thing than nothing.
	no, zero, first := false, uint256.Int{}, uint64(0)
	story = []rpc.TimelineEntry{{Event: eventMined, Have: &zero, Nonce: &first, Success: &no, GasUsed: &zero, Fees: new(gas.Fees)}}
	if back, err = unpackStory(packStory(story)); err != nil || !reflect.DeepEqual(back, story) {
		t.Errorf("have %+v, %v, want %+v", back, err, story)
	}
	// As stores of format 2 have them.
	text, err := json.Marshal([]keptEntry{keptEntry(full), {Event: eventReceived}})
	if err != nil {
		t.Fatal(err)
	}
	if back, err = unpackStory(text); err != nil || !reflect.DeepEqual(back, []rpc.TimelineEntry{full, {Event: eventReceived}}) {
		t.Errorf("have %+v, %v, want %+v", back, err, full)
	}
}

func TestTheStoryOfAnOperationThatWaitedOverARestartBeginsWithItsAdmission(t *testing.T) {
	t.Parallel()
	lines := newTimeline(10, new(clock).now)
	op := &pool.Operation{Hash: hashOf(1), AddedTime: 1_700_000_000, AddedBlock: 42}
	lines.begin(op)
	lines.record(event.BundleProposed{Hashes: one(op.Hash)})
	lines.begin(op) // it has a story
	entries := lines.of(op.Hash)
	if have := told(entries); have != "added bundled" || entries[0].At != 1_700_000_000_000 || entries[0].Block != 42 {
		t.Errorf("have %s from %d in block %d", have, entries[0].At, entries[0].Block)
	}
}
