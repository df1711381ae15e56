package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/rpc"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time                    { return c.at }
func (c *clock) pass(d time.Duration)              { c.at = c.at.Add(d) }
func newClock() *clock                             { return &clock{time.Unix(1_000_000, 0)} }
func wei(n uint64) (amount uint256.Int)            { amount.SetUint64(n); return amount }
func (v fixed) Vitals(context.Context) node.Vitals { return node.Vitals(v) }

// fixed is a source that always says the same.
type fixed node.Vitals

// scrape returns what Prometheus would read.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("have status %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// samples are Baler's own, without Go's and the process's.
func samples(text string) map[string]string {
	found := make(map[string]string)
	for line := range strings.SplitSeq(text, "\n") {
		if at := strings.LastIndexByte(line, ' '); at > 0 && strings.HasPrefix(line, "baler_") {
			found[line[:at]] = line[at+1:]
		}
	}
	return found
}

var (
	key        = common.Address{19: 1}
	entryPoint = common.Address{19: 2}
)

func TestMetricsTellAStory(t *testing.T) {
	t.Parallel()
	now := newClock()
	m := NewMetrics(now.now)
	count := m.Sink()
	head := func(number uint64) {
		now.pass(2 * time.Second)
		count(event.HeadSeen{Number: number})
	}
	// An operation comes in, waits, and its bundle is replaced once before it is mined.
	head(10)
	op, other := common.Hash{1}, common.Hash{2}
	for _, hash := range []common.Hash{op, other} {
		count(event.OperationReceived{Hash: hash, EntryPoint: entryPoint})
		count(event.OperationValidated{Hash: hash, Stage: "admission", Result: "valid", Took: 300 * time.Microsecond})
		count(event.OperationAdded{Hash: hash, EntryPoint: entryPoint})
	}
	count(event.OperationReceived{EntryPoint: entryPoint})
	count(event.OperationRejected{EntryPoint: entryPoint, Code: -32507, Message: "AA24"})
	count(event.OperationSkipped{Hash: other, Cause: "max fee too low"})
	count(event.BalanceSeen{Signer: key, Balance: wei(5e15), Block: 10})
	count(event.BundleSent{Signer: key, Tx: common.Hash{0xa}, Nonce: 7, Operations: 1, Answer: "accepted"})
	count(event.SenderMoved{Signer: key, From: "Building", To: "Pending", Cause: "submitted", Block: 10})
	head(11)
	head(12)
	count(event.SenderMoved{Signer: key, From: "Pending", To: "Building", Cause: "timed out", Block: 12})
	count(event.BundleSent{Signer: key, Tx: common.Hash{0xb}, Nonce: 7, Operations: 1, Answer: "underpriced"})
	count(event.BundleSent{Signer: key, Tx: common.Hash{0xc}, Nonce: 7, Operations: 1, Answer: "accepted"})
	head(13)
	count(event.OperationMined{Hash: op, Block: 13, Success: true})
	count(event.BundleMined{Signer: key, Tx: common.Hash{0xc}, Block: 13, Operations: 1, Success: true, GasUsed: 100, Cost: wei(1000), Earned: wei(1500)})
	count(event.OperationRemoved{Hash: other, Cause: "expired"})
	// The next nonce is cancelled.
	count(event.BundleSent{Signer: key, Tx: common.Hash{0xd}, Nonce: 8, Operations: 1, Answer: "unknown"})
	count(event.BundleSent{Signer: key, Tx: common.Hash{0xe}, Nonce: 8, Answer: "accepted"})
	head(14)
	count(event.BundleMined{Signer: key, Tx: common.Hash{0xe}, Block: 14, Success: true, GasUsed: 21, Cost: wei(200)})
	count(event.BundleReverted{Signer: key, Cause: "unknown: dial tcp 10.0.0.1"})
	count(event.NodeAsked{Endpoint: "http://node", Methods: map[string]int{"eth_call": 1}, Took: time.Millisecond, Result: "ok"})
	count(event.NodeAsked{Endpoint: "http://node", Methods: map[string]int{"eth_call": 2, "eth_getCode": 1}, Took: time.Millisecond, Result: "http 429"})
	count(event.CallServed{Method: "eth_chainId", Took: time.Microsecond})
	count(event.KeyUsed{Signer: key, Kind: "kms", Failed: "denied"})
	count(event.LeaseMoved{Signer: key, Held: true, Cause: "free"})
	count(event.Alert{Kind: "nonce went back"})

	m.Watch(fixed{
		Head: 14, HeadAge: 3 * time.Second, Checks: []node.CheckResult{{Name: "head", OK: true}, {Name: "store"}},
		Pool: pool.Stats{Bytes: 999, Claimed: 1, EntryPoints: map[common.Address]int{entryPoint: 2}},
		Fees: []node.FeeQuantile{{Share: 0.5, Wei: -2}}, Memo: validation.MemoStats{Hits: 3, Misses: 1, Kept: 2}, Bundles: validation.BundleStats{Asked: 2, Spared: 30},
		Senders:  []rpc.SenderStatus{{Signer: key, State: "Building", Nonce: 9}},
		Balances: map[common.Address]uint256.Int{key: wei(7e15)}, // newer than what was seen at a proposal
		Leases:   []rpc.KeyStatus{{Key: key, Held: true}, {Key: common.Address{0x77}}},
	})
	scrape(t, m) // a second one counts nothing twice
	have := samples(scrape(t, m))

	signer, ep := `signer="`+key.Hex()+`"`, `entry_point="`+entryPoint.Hex()+`"`
	for series, want := range map[string]string{
		"baler_head_block": "14", "baler_head_age_seconds": "3", `baler_check_ok{check="head"}`: "1", `baler_check_ok{check="store"}`: "0",
		`baler_operations_received_total{` + ep + `}`: "3", `baler_operations_added_total{` + ep + `}`: "2",
		`baler_operations_rejected_total{code="-32507",` + ep + `,reason="invalid signature"}`: "1",
		`baler_operations_skipped_total{cause="max fee too low"}`:                              "1",
		`baler_operations_removed_total{cause="expired"}`:                                      "1",
		`baler_operations_mined_total{success="true"}`:                                         "1",
		`baler_operation_inclusion_blocks_sum`:                                                 "3",
		`baler_operation_inclusion_seconds_sum`:                                                "6",
		`baler_operation_validation_seconds_count{result="valid",stage="admission"}`:           "2",
		`baler_bundle_attempts_total{answer="accepted",kind="bundle",` + signer + `}`:          "1",
		`baler_bundle_attempts_total{answer="underpriced",kind="replacement",` + signer + `}`:  "1",
		`baler_bundle_attempts_total{answer="accepted",kind="replacement",` + signer + `}`:     "1",
		`baler_bundle_attempts_total{answer="accepted",kind="cancellation",` + signer + `}`:    "1",
		`baler_bundles_mined_total{kind="replacement",` + signer + `,success="true"}`:          "1",
		`baler_bundles_mined_total{kind="cancellation",` + signer + `,success="true"}`:         "1",
		`baler_bundle_inclusion_blocks_sum`:                                                    "4", // 3 and 1
		`baler_bundle_inclusion_seconds_sum`:                                                   "8",
		`baler_bundle_operations_sum`:                                                          "1",
		`baler_bundle_cost_wei_total{kind="replacement",` + signer + `}`:                       "1000",
		`baler_bundle_earned_wei_total{` + signer + `}`:                                        "1500",
		`baler_bundle_loss_wei_total{kind="cancellation",` + signer + `}`:                      "200",
		`baler_bundles_reverted_total{cause="unknown"}`:                                        "1",
		`baler_sender_balance_wei{` + signer + `}`:                                             "7e+15",
		`baler_sender_state{` + signer + `,state="Building"}`:                                  "1",
		`baler_sender_state_age_seconds{` + signer + `}`:                                       "4",
		`baler_sender_state_seconds_total{` + signer + `,state="Pending"}`:                     "4",
		`baler_sender_state_seconds_total{` + signer + `,state="Building"}`:                    "6",
		`baler_sender_transitions_total{cause="timed out",from="Pending",to="Building"}`:       "1",
		`baler_sender_nonce{` + signer + `}`:                                                   "9",
		`baler_node_calls_total{method="eth_call"}`:                                            "3",
		`baler_node_requests_total{endpoint="http://node",result="http 429"}`:                  "1",
		`baler_node_request_seconds_count{method="batch"}`:                                     "1",
		`baler_rpc_calls_total{code="0",method="eth_chainId"}`:                                 "1",
		`baler_signature_failures_total{cause="denied",kind="kms",` + signer + `}`:             "1",
		`baler_lease_held{` + signer + `}`:                                                     "1",
		`baler_lease_held{signer="` + common.Address{0x77}.Hex() + `"}`:                        "0",
		`baler_lease_moves_total{cause="free",held="true"}`:                                    "1",
		`baler_alerts_total{kind="nonce went back"}`:                                           "1",
		`baler_pool_operations{` + ep + `}`:                                                    "2",
		`baler_pool_bytes`:                                                                     "999",
		`baler_pool_priority_fee_wei{quantile="0.5"}`:                                          "-2",
		`baler_validation_memo_total{result="hit"}`:                                            "3",
		`baler_validation_memo_operations`:                                                     "2",
		`baler_bundle_checks_total{result="local"}`:                                            "30",
		`baler_bundle_checks_total{result="node"}`:                                             "2",
		`baler_local_evm_disagreement`:                                                         "0",
	} {
		if have[series] != want {
			t.Errorf("%s: have %q, want %s", series, have[series], want)
		}
	}
}

// Whatever clients, contracts and nodes make up, a metric has a bounded number of series.
func TestNoOneCanMakeSeriesWithoutEnd(t *testing.T) {
	t.Parallel()
	m := NewMetrics(newClock().now)
	count, source := m.Sink(), rand.New(rand.NewPCG(1, 2))
	text := func() string { return fmt.Sprint(source.Uint64(), "\xff\"\n{}") }
	for i := range uint64(3000) {
		var signer, ep common.Address
		ep.SetBytes(uint256.NewInt(i).Bytes())
		signer = ep
		for _, e := range []event.Event{
			event.OperationReceived{EntryPoint: ep},
			event.OperationAdded{EntryPoint: ep, Hash: common.Hash(uint256.NewInt(i).Bytes32())},
			event.OperationRejected{EntryPoint: ep, Code: int(i), Message: text()},
			event.OperationSkipped{Cause: text()},
			event.OperationRemoved{Cause: text()},
			event.OperationValidated{Stage: text(), Result: text()},
			event.SenderMoved{Signer: signer, From: text(), To: text(), Cause: text()},
			event.BundleSent{Signer: signer, Answer: text()},
			event.BundleMined{Signer: signer, Operations: 1},
			event.BundleReverted{Cause: text()},
			event.NodeAsked{Endpoint: text(), Methods: map[string]int{text(): 1}, Result: text()},
			event.CallServed{Method: text(), Code: int(i)},
			event.KeyUsed{Signer: signer, Kind: text(), Failed: text()},
			event.LeaseMoved{Signer: signer, Cause: text()},
			event.BalanceSeen{Signer: signer},
			event.Alert{Kind: text()},
		} {
			count(e)
		}
	}
	most := make(map[string]int)
	for _, l := range Labels() {
		most[l.Name] = l.Most + 1 // and "other"
	}
	gathered, err := m.catalogue.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]map[string]struct{}) // by metric and label
	for _, family := range gathered {
		if !strings.HasPrefix(family.GetName(), "baler_") {
			continue
		}
		for _, series := range family.GetMetric() {
			for _, pair := range series.GetLabel() {
				place := family.GetName() + " " + pair.GetName()
				if values[place] == nil {
					values[place] = make(map[string]struct{})
				}
				values[place][pair.GetValue()] = struct{}{}
				if have, limit := len(values[place]), most[pair.GetName()]; have > limit {
					t.Fatalf("%s: have %d values, want at most %d", place, have, limit)
				}
			}
		}
	}
	if have := len(values["baler_alerts_total kind"]); have != most["kind"] {
		t.Errorf("the flood reached %d values of an alert's kind, want the limit of %d", have, most["kind"])
	}
	if have := m.waiting.Len(); have > maxFollowed {
		t.Errorf("have %d operations followed, want at most %d", have, maxFollowed)
	}
}

func TestEveryLabelIsDescribedAndUsed(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	for _, f := range NewMetrics(time.Now).Families() {
		for _, label := range f.Labels {
			used[label] = true
		}
	}
	for _, l := range Labels() {
		if !used[l.Name] {
			t.Errorf("label %s is described and in no metric", l.Name)
		}
		delete(used, l.Name)
	}
	for name := range used {
		t.Errorf("label %s is not described", name)
	}
}

func TestPromtoolFindsNothingWrongWithTheMetrics(t *testing.T) {
	t.Parallel()
	m := NewMetrics(time.Now)
	m.Watch(fixed{Senders: []rpc.SenderStatus{{Signer: key, State: "Building"}}})
	for _, e := range []event.Event{
		event.HeadSeen{Number: 1},
		event.OperationReceived{},
		event.BundleSent{},
		event.BundleMined{},
		event.NodeAsked{Methods: map[string]int{"eth_call": 1}},
		event.OperationValidated{},
		event.CallServed{},
		event.KeyUsed{},
		event.LeaseMoved{},
		event.BalanceSeen{},
		event.Alert{},
		event.SenderMoved{},
	} {
		m.Sink()(e)
	}
	promtool(t, strings.NewReader(scrape(t, m)), "check", "metrics")
}

// promtool runs Prometheus' own checker; scripts/install-test-deps.sh installs it.
func promtool(t *testing.T, input io.Reader, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "promtool", args...)
	var output bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = input, &output, &output
	if err := command.Run(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output.String())
	}
}

func TestGoroutinesAreCountedByOwner(t *testing.T) {
	t.Parallel()
	have := countGoroutines(writtenProfile(`goroutine profile: total 12
5 @ 0x1 0x2
# labels: {"owner":"rpc"}
#	0x1	main.f

4 @ 0x3
#	0x3	main.g

2 @ 0x4
# labels: {"a":"b", "owner":"rpc"}
#	0x4	main.h

1 @ 0x5
`))
	if want := map[string]int{"rpc": 7, "none": 5}; fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("have %v, want %v", have, want)
	}
}

type writtenProfile string

func (p writtenProfile) WriteTo(w io.Writer, _ int) error {
	_, err := io.WriteString(w, string(p))
	return err
}

func TestWhyABundleRevertedIsOneOfAFewLabels(t *testing.T) {
	for cause, want := range map[string]string{
		"rival: operation 0x12 was mined in 0x34":           "rival",
		"own transaction: operation 0x12 was mined in 0x34": "own transaction",
		"unknown: dial tcp 10.0.0.1: connection refused":    "unknown",
		"out of gas": "out of gas",
		"AA25 invalid account nonce, because of a transaction in the same block": "AA25",
		"AA33 reverted: only 17 left":                                            "AA33",
		"my paymaster's balance is 1234567":                                      "other",
		"AA":                                                                     "other",
		"":                                                                       "other",
	} {
		if have := revertCause(cause); have != want {
			t.Errorf("%q: have %q, want %q", cause, have, want)
		}
	}
}
