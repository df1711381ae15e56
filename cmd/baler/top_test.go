package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"baler/node"

	"github.com/alecthomas/kong"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const topMetrics = `# TYPE baler_operations_mined_total counter
baler_operations_mined_total{success="true"} 40
baler_operations_mined_total{success="false"} 2
# TYPE baler_operations_skipped_total counter
baler_operations_skipped_total{cause="max fee too low"} 3
baler_operations_skipped_total{cause="does not fit"} 7
# TYPE baler_bundles_mined_total counter
baler_bundles_mined_total{kind="bundle",signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",success="true"} 9
# TYPE baler_bundle_earned_wei_total counter
baler_bundle_earned_wei_total{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 3e+15
# TYPE baler_bundle_cost_wei_total counter
baler_bundle_cost_wei_total{kind="bundle",signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 1e+15
# TYPE baler_node_calls_total counter
baler_node_calls_total{method="eth_call"} 105
# TYPE baler_sender_nonce gauge
baler_sender_nonce{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 9
# TYPE baler_sender_live_attempts gauge
baler_sender_live_attempts{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 2
# TYPE baler_sender_state_age_seconds gauge
baler_sender_state_age_seconds{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 12.3
# TYPE baler_sender_held_operations gauge
baler_sender_held_operations{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 5
# TYPE baler_sender_balance_wei gauge
baler_sender_balance_wei{signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"} 2.5e+18
# TYPE baler_pool_priority_fee_wei gauge
baler_pool_priority_fee_wei{quantile="0"} 1e+09
baler_pool_priority_fee_wei{quantile="0.5"} 2e+09
baler_pool_priority_fee_wei{quantile="1"} 4e+09
# TYPE baler_alerts_total counter
baler_alerts_total{kind="nonce went back"} 1
`

func topLook(t *testing.T, text string, at time.Time) look {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return look{at: at, metrics: families, health: node.Health{
		Status: "the store is full", ChainID: 1337, Head: 77, HeadAgeMS: 1234, Operations: 8,
		Senders: []node.SenderHealth{{Signer: common.HexToAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"), State: "Pending", Doing: "submission"}},
		Checks:  []node.CheckResult{{Name: "head", OK: true}, {Name: "store", Reason: "the store is full"}},
	}}
}

func TestTopShowsTheBundlerInOneLook(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_000_000, 0)
	before := topLook(t, strings.Replace(topMetrics, `{success="true"} 40`, `{success="true"} 35`, 1), at.Add(-10*time.Second))
	want := `baler top   chain 1337   block 77, 1.2s old   the store is full

operations   waiting 8   mined 42 (30.0 a minute)   refused 0   removed 0
bundles      mined 9   reverted 0   earned 0.003000   paid 0.001000   profit 0.002000
node         calls 105   for each mined operation 2.5

SIGNER       STATE               FOR   NONCE   OUT  HELD        BALANCE  WAITS FOR
0x7099..79C8 Pending             12s       9     2     5       2.500000  submission

mempool      pays above the next base fee, gwei:   least 1.000   middle 2.000   most 4.000

   TIMES  SKIPPED, BECAUSE
       7  does not fit
       3  max fee too low

   TIMES  NEEDS A PERSON
       1  nonce went back

store: the store is full
`
	if diff := cmp.Diff(want, frame(topLook(t, topMetrics, at), before, 100)); diff != "" {
		t.Error(diff)
	}
	for line := range strings.SplitSeq(frame(topLook(t, topMetrics, at), look{}, 40), "\n") {
		if len([]rune(line)) > 40 {
			t.Errorf("have a line of %d columns, want at most 40: %q", len([]rune(line)), line)
		}
	}
}

func TestTopGoesOnWhenTheBundlerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	answering := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer 0123456789abcdef":
			http.Error(w, "no", http.StatusUnauthorized)
		case !answering:
			http.Error(w, "no", http.StatusBadGateway)
		case r.URL.Path == "/health":
			_ = json.NewEncoder(w).Encode(topLook(t, topMetrics, time.Now()).health)
		default:
			_, _ = w.Write([]byte(topMetrics))
		}
	}))
	t.Cleanup(server.Close)
	command := &topCommand{Interval: time.Second, operatorSettings: operatorSettings{AdminURL: server.URL, AdminToken: "0123456789abcdef"}}
	s := &topScreen{command: command, client: server.Client(), ctx: t.Context(), width: 100}
	step := func(want string) {
		t.Helper()
		s.Update(s.Init()())
		if have := s.View(); !strings.Contains(have, want) {
			t.Errorf("have\n%s\nwant %q in it", have, want)
		}
	}
	step("HTTP status 502")
	answering = true
	step("0x7099..79C8 Pending")
	command.AdminToken = "another"
	step("--admin_token is missing or wrong")
	server.Close()
	step("no operators' server answers")
	if _, quit := s.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q")}); quit == nil {
		t.Error("q should end it")
	}
	code, _, stderr := ran(t, nil, "top", "--once", "--admin-url", server.URL)
	if code != exitFailed || !strings.Contains(stderr, "is --admin_addr of the bundler set") {
		t.Errorf("have exit code %d and %q", code, stderr)
	}
}

func TestCompletionIsPrintedAndAnswersAShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, stdout, stderr := ran(t, nil, "completion", "--code", shell); code != exitOK || !strings.Contains(stdout, "complete") {
			t.Errorf("%s: have exit code %d, %q %q", shell, code, stdout, stderr)
		}
	}
	for line, want := range map[string]string{"baler no": "node", "baler node --admin-": "--admin-addr", "baler config ": "print", "baler top --on": "--once"} {
		t.Setenv("COMP_LINE", line)
		if code, stdout, _ := ran(t, nil); code != exitOK || !strings.Contains(stdout, want+"\n") {
			t.Errorf("%q: have exit code %d and %q, want %s", line, code, stdout, want)
		}
	}
}

// Every command has examples, and each example is a line that the program takes for that command.
func TestEveryCommandHasExamplesThatParse(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"baler.toml", "pool.toml", "rpc.toml", "builder.toml", "words", "treasury", "ca.pem"} {
		text := ""
		if name == "baler.toml" {
			text = "num_signers = 1\n[chain.polygon]\nnum_signers = 2\n"
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var line cli
	parser, err := newParser(&line)
	if err != nil {
		t.Fatal(err)
	}
	var commands []*kong.Node
	var visit func(*kong.Node)
	visit = func(node *kong.Node) {
		for _, child := range node.Children {
			commands = append(commands, child)
			visit(child)
		}
	}
	visit(parser.Model.Node)
	if len(commands) < 16 {
		t.Fatalf("have %d commands", len(commands))
	}
	for _, command := range commands {
		path := command.Path()
		code, stdout, _ := ran(t, nil, append(strings.Fields(path), "--help")...)
		if code != exitOK || !strings.Contains(stdout, "Examples:\n") {
			t.Errorf("%s: have exit code %d, no examples in\n%s", path, code, stdout)
			continue
		}
		_, text, _ := strings.Cut(command.Detail, "Examples:\n") // before it is wrapped
		shown := 0
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			example, _, _ := strings.Cut(strings.TrimPrefix(line, "  "), "   ") // what follows is said about it
			for part := range strings.SplitSeq(example, " && ") {
				part, _, _ = strings.Cut(part, " | ")
				part, _, _ = strings.Cut(part, " > ")
				shown += exampleParses(t, path, part)
			}
		}
		if shown == 0 {
			t.Errorf("%s: no example is of this command", path)
		}
		if first, _, _ := strings.Cut(text, "\n\n"); !strings.HasPrefix(first, "  ") {
			t.Errorf("%s: examples are indented by two spaces", path)
		}
	}
}

// exampleParses parses an example. It returns 1 if it is of the command, or of one below it.
func exampleParses(t *testing.T, command, example string) int {
	t.Helper()
	args := strings.Fields(example)
	for len(args) > 0 && strings.HasPrefix(args[0], "BALER_") {
		args = args[1:]
	}
	if len(args) == 0 || args[0] != "baler" {
		return 0 // the help goes on with something else
	}
	var line cli
	parser, err := newParser(&line, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args[1:])
	if err != nil {
		t.Errorf("%s: the example %q: %v", command, example, err)
		return 0
	}
	if strings.HasPrefix(parsed.Command()+" ", strings.TrimPrefix(command, "baler ")+" ") {
		return 1
	}
	return 0
}
