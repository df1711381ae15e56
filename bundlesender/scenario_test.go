package bundlesender

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"

	"baler/gas"
)

// TestScenarios runs the stories of testdata/scenario: each command is an event; below it stand the effects, and where the machine is then.
// Each row of the table is in one of them.
func TestScenarios(t *testing.T) {
	told := make(map[*row]bool)
	datadriven.Walk(t, "testdata/scenario", func(t *testing.T, path string) {
		s := &scenario{told: told}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
	})
	for i := range table {
		if !told[&table[i]] {
			t.Errorf("no story has row %d of the table: %v on %s, %s", i, table[i].in, table[i].on, table[i].when.name)
		}
	}
}

// scenario is a machine and what is in flight, so that a command need not repeat an id it can only have one value for.
type scenario struct {
	cfg     Config
	m       *Machine
	seq     Seq // of the proposal or observation in flight
	wait    Seq // of the backoff
	attempt AttemptID
	number  uint64
	told    map[*row]bool // rows that applied
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "new":
		*s = scenario{cfg: DefaultConfig(), told: s.told}
		s.cfg.Manual = d.HasArg("manual")
		d.MaybeScanArgs(t, "wait", &s.cfg.MaxBlocksToWaitForMine)
		d.MaybeScanArgs(t, "underpriced-blocks", &s.cfg.MaxReplacementUnderpricedBlocks)
		d.MaybeScanArgs(t, "cancels", &s.cfg.MaxCancellationFeeIncreases)
		d.MaybeScanArgs(t, "reorg-depth", &s.cfg.ReorgDepth)
		s.m = New(s.cfg)
		return s.where()
	case "restart":
		s.m = Restore(s.cfg, s.m.Record())
		return s.where()
	case "recover":
		s.m = Restore(s.cfg, Recover(s.m.Record().Nonce, true, s.m.Record().Attempts))
		return s.where()
	case "attempts":
		return s.attempts(s.m.Record().Attempts)
	case "watch":
		return s.attempts(s.m.Watch())
	case "kept":
		return s.attempts(slices.DeleteFunc(s.m.Watch(), func(a Attempt) bool { return !s.m.Keeps(a.ID) }))
	}
	var b strings.Builder
	s.m.told = func(r *row) { s.told[r] = true }
	for _, e := range s.m.Step(s.event(t, d)) {
		s.note(e)
		fmt.Fprintln(&b, "  "+describe(e))
	}
	return b.String() + s.where()
}

func (s *scenario) event(t *testing.T, d *datadriven.TestData) Event {
	seq, attempt := s.seq, s.attempt
	scan(t, d, "seq", &seq)
	scan(t, d, "attempt", &attempt)
	hash := common.Hash{31: byte(attempt)}
	switch d.Cmd {
	case "head", "observed":
		return s.chainEvent(t, d, seq)
	case "interval":
		return IntervalElapsed{}
	case "call":
		return SendNow{Call: CallID(number(t, d.CmdArgs[0].Key))}
	case "mode":
		return ModeSet{Auto: d.HasArg("auto")}
	case "pause":
		return PauseSet{Paused: true}
	case "resume":
		return PauseSet{}
	case "cancel-now":
		return CancelNow{}
	case "retry":
		wait := s.wait
		scan(t, d, "seq", &wait)
		return Retry{Seq: wait}
	case "ready":
		return BundleReady{Seq: seq, Fees: fees(t, d), GasLimit: 1_000_000, Operations: ops(d, "ops"), Claimed: ops(d, "claimed")}
	case "nothing":
		return NothingToSend{Seq: seq, Reason: nothingReason(t, d.CmdArgs[0].Key), Claimed: ops(d, "claimed")}
	case "signed":
		return Signed{Attempt: attempt, Hash: hash, Fees: fees(t, d)}
	case "submitted":
		return Submitted{Attempt: attempt, Hash: hash, Outcome: outcome(t, d.CmdArgs[0].Key)}
	case "cancelled":
		return CancelSubmitted{Attempt: attempt, Hash: hash, Fees: fees(t, d), Outcome: outcome(t, d.CmdArgs[0].Key)}
	case "soft-cancelled":
		return SoftCancelled{Attempt: attempt}
	case "nothing-to-cancel":
		return NothingToCancel{Attempt: attempt}
	case "foreign":
		var nonce uint64
		d.ScanArgs(t, "nonce", &nonce)
		return ForeignPending{Nonce: nonce, Hash: common.Hash{0: 0xff, 31: byte(nonce)}, Fees: fees(t, d)}
	case "lease-lost":
		return LeaseLost{}
	}
	d.Fatalf(t, "no such command: %s", d.Cmd)
	return nil
}

func (s *scenario) chainEvent(t *testing.T, d *datadriven.TestData, seq Seq) Event {
	if d.Cmd == "head" {
		s.number = number(t, d.CmdArgs[0].Key)
	}
	hash := common.BigToHash(new(uint256.Int).SetUint64(s.number).ToBig())
	var fork int
	d.MaybeScanArgs(t, "fork", &fork)
	hash[0] = byte(fork)
	var o Observation
	looked := d.MaybeScanArgs(t, "nonce", &o.Nonce)
	for _, id := range ids(t, d, "mined") {
		o.Mined = append(o.Mined, Mined{Attempt: id, Block: s.number, Hash: hash})
	}
	for _, id := range ids(t, d, "reverted") {
		o.Mined = append(o.Mined, Mined{Attempt: id, Block: s.number, Hash: hash, Reverted: true})
	}
	o.Dropped, o.Reorged, o.Hit = ids(t, d, "dropped"), ids(t, d, "reorged"), ids(t, d, "hit")
	if d.Cmd == "observed" {
		return Observed{Seq: seq, Failed: d.HasArg("failed"), Number: s.number, Hash: hash, Observation: o}
	}
	h := Head{Number: s.number, Hash: hash, Keep: d.HasArg("keep")}
	if looked {
		h.Observation = &o
	}
	return h
}

func (s *scenario) note(e Effect) {
	switch e := e.(type) {
	case Propose:
		s.seq = e.Seq
	case Observe:
		s.seq = e.Seq
	case Backoff:
		s.wait = e.Seq
	case Submit:
		s.attempt = e.Attempt.ID
	case Cancel:
		s.attempt = e.Attempt
	case Abort, Release, Settle, Revive, Forget, Alert, Moved, ManualDone:
	}
}

// where is the machine in one line.
func (s *scenario) where() string {
	st := s.m.Status()
	var b strings.Builder
	b.WriteString(st.State.String())
	if st.State == Pending || st.State == CancelPending {
		fmt.Fprintf(&b, " until %d", st.Until)
	}
	if st.NonceKnown {
		fmt.Fprintf(&b, ", nonce %d", st.Nonce)
	}
	if st.FeeIncreases > 0 {
		fmt.Fprintf(&b, ", fee increases %d", st.FeeIncreases)
	}
	if st.Underpriced {
		fmt.Fprintf(&b, ", underpriced since %d", st.UnderpricedSince)
	}
	if st.CancelIncreases > 0 {
		fmt.Fprintf(&b, ", cancellation fee increases %d", st.CancelIncreases)
	}
	if st.InFlight != "" {
		fmt.Fprintf(&b, ", %s in flight", st.InFlight)
	}
	if st.Paused {
		b.WriteString(", paused")
	}
	if st.BackingOff {
		b.WriteString(", backing off")
	}
	if held := s.m.Record().Held; len(held) > 0 {
		fmt.Fprintf(&b, ", holds %s", names(held))
	}
	return b.String() + "\n"
}

func (s *scenario) attempts(list []Attempt) string {
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "%d %s nonce %d fees %s %s", a.ID, a.Kind, a.Nonce, feeText(a.Fees), a.Status)
		if a.Abandoned {
			b.WriteString(", abandoned")
		}
		if a.Hit {
			b.WriteString(", hit")
		}
		fmt.Fprintf(&b, " %s\n", names(a.Operations))
	}
	return b.String()
}

// describe prints one effect.
func describe(e Effect) string {
	switch e := e.(type) {
	case Propose:
		text := fmt.Sprintf("Propose #%d nonce %d", e.Seq, e.Nonce)
		if !e.Floor.IsZero() {
			text += " floor " + feeText(e.Floor)
		}
		if len(e.Exclude) > 0 {
			text += " without " + names(e.Exclude)
		}
		return text
	case Abort:
		return fmt.Sprintf("Abort #%d", e.Seq)
	case Submit:
		return fmt.Sprintf("Submit attempt %d nonce %d fees %s %s", e.Attempt.ID, e.Attempt.Nonce, feeText(e.Attempt.Fees), names(e.Attempt.Operations))
	case Cancel:
		return fmt.Sprintf("Cancel attempt %d nonce %d floor %s, %d waiting", e.Attempt, e.Nonce, feeText(e.Floor), len(e.Waiting))
	case Observe:
		return fmt.Sprintf("Observe #%d", e.Seq)
	case Release:
		return fmt.Sprintf("Release %s of attempt %d", names(e.Operations), e.Attempt)
	case Settle:
		text := fmt.Sprintf("Settle %s attempt %d in block %d %s", e.Kind, e.Attempt, e.Block, names(e.Operations))
		if e.Reverted {
			text += ", reverted"
		}
		return text
	case Revive:
		return fmt.Sprintf("Revive attempt %d %s", e.Attempt, names(e.Operations))
	case Forget:
		return fmt.Sprintf("Forget attempts %v", e.Attempts)
	case Backoff:
		return fmt.Sprintf("Backoff #%d, number %d in a row", e.Seq, e.Attempt)
	case Alert:
		return fmt.Sprintf("Alert %s (attempt %d, nonce %d)", e.Kind, e.Attempt, e.Nonce)
	case Moved:
		return fmt.Sprintf("Moved %s -> %s: %s", e.From, e.To, e.Cause)
	case ManualDone:
		if e.Err != nil {
			return fmt.Sprintf("ManualDone call %d: error: %v", e.Call, e.Err)
		}
		return fmt.Sprintf("ManualDone call %d: hash ..%x", e.Call, e.Hash[31:])
	}
	return fmt.Sprintf("%T", e)
}

func names(ops []common.Hash) string {
	out := make([]string, 0, len(ops))
	for _, op := range ops {
		out = append(out, strings.TrimRight(string(op[:8]), "\x00"))
	}
	slices.Sort(out)
	return "[" + strings.Join(out, " ") + "]"
}

func feeText(f gas.Fees) string { return f.MaxFee.Dec() + "/" + f.MaxPriority.Dec() }

func makeFees(maxFee, priority uint64) gas.Fees {
	return gas.Fees{MaxFee: *uint256.NewInt(maxFee), MaxPriority: *uint256.NewInt(priority)}
}

func fees(t *testing.T, d *datadriven.TestData) gas.Fees {
	var text string
	if !d.MaybeScanArgs(t, "fees", &text) {
		return gas.Fees{}
	}
	maxFee, priority, ok := strings.Cut(text, "/")
	if !ok {
		d.Fatalf(t, "fees: have %q, want MAX/PRIORITY", text)
	}
	return makeFees(number(t, maxFee), number(t, priority))
}

func ops(d *datadriven.TestData, key string) []common.Hash {
	arg, ok := d.Arg(key)
	if !ok {
		return nil
	}
	out := make([]common.Hash, 0, len(arg.Vals))
	for _, v := range arg.Vals {
		out = append(out, op(v))
	}
	return out
}

func op(name string) (h common.Hash) {
	copy(h[:], name)
	return h
}

func ids(t *testing.T, d *datadriven.TestData, key string) []AttemptID {
	arg, _ := d.Arg(key)
	var out []AttemptID
	for _, v := range arg.Vals {
		out = append(out, AttemptID(number(t, v)))
	}
	return out
}

func scan[T ~uint64](t *testing.T, d *datadriven.TestData, key string, dest *T) {
	var n uint64
	if d.MaybeScanArgs(t, key, &n) {
		*dest = T(n)
	}
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func outcome(t *testing.T, name string) Outcome { return named[Outcome](t, outcomeNames[:], name) }

func nothingReason(t *testing.T, name string) NothingReason {
	return named[NothingReason](t, reasonNames[:], name)
}

func named[T ~uint8](t *testing.T, names []string, name string) T {
	t.Helper()
	i := slices.Index(names, strings.ReplaceAll(name, "-", " "))
	if i < 0 {
		t.Fatalf("have %q, want one of %q", name, names)
	}
	return T(i)
}

func sorted(set map[common.Hash]struct{}) []common.Hash {
	return slices.SortedFunc(maps.Keys(set), common.Hash.Cmp)
}
