package main

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"

	"github.com/alecthomas/kong"
)

// partsToken is the token of the processes of one bundler in tests.
const partsToken = "a token that only these processes have"

// TestInThreeProcesses runs tests of the bundler once more, with the pool, the JSON-RPC edge and the bundle senders in a process of
// their own each: what is promised does not depend on it. See startWorld.
func TestInThreeProcesses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"AHundredOperationsAreIncludedOnceEach":        TestAHundredOperationsAreIncludedOnceEach,
		"AReorgLosesNoOperation":                       TestAReorgLosesNoOperation,
		"AStuckTransactionIsReplaced":                  TestAStuckTransactionIsReplaced,
		"ATransactionNobodyPaysToReplaceIsCancelled":   TestATransactionNobodyPaysToReplaceIsCancelled,
		"ARivalMinesOneOfOurOperations":                TestARivalMinesOneOfOurOperations,
		"OperationsOfEveryVersionAreMined":             TestOperationsOfEveryVersionAreMined,
		"AnOperationIsReplacedByABetterPayingOne":      TestAnOperationIsReplacedByABetterPayingOne,
		"OperationsInARowAreAllMined":                  TestOperationsInARowAreAllMined,
		"OperationsWaitForTheirTimeAndEndWithIt":       TestOperationsWaitForTheirTimeAndEndWithIt,
		"RefusedOperationsLeaveNothingBehind":          TestRefusedOperationsLeaveNothingBehind,
		"ExplainTellsAtWhichBaseFeeAnOperationIsTaken": TestExplainTellsAtWhichBaseFeeAnOperationIsTaken,
		"ManualModeSendsWhenAsked":                     TestManualModeSendsWhenAsked,
		"SendersInManualModeSendDisjointBundles":       TestSendersInManualModeSendDisjointBundles,
		"ShardsDivideTheAccountsAmongTheKeys":          TestShardsDivideTheAccountsAmongTheKeys,
		"ClearStateEmptiesTheMempool":                  TestClearStateEmptiesTheMempool,
		"EachErrorOfERC7769":                           TestEachErrorOfERC7769,
		"EachMethodOfERC7769":                          TestEachMethodOfERC7769,
		"AKeyBecomesAnAccountByEIP7702":                TestAKeyBecomesAnAccountByEIP7702,
	} {
		t.Run(name, test)
	}
}

// inParts reports whether a test is run by TestInThreeProcesses.
func inParts(t *testing.T) bool {
	t.Helper()
	return strings.HasPrefix(t.Name(), "TestInThreeProcesses/")
}

// parts is a bundler in three processes, on one machine and without Redis.
type parts struct{ pool, rpc, builder *program }

// startParts starts the three, and returns when all are there, with the URL of the edge. Each gets those of the flags that it knows.
func startParts(t *testing.T, chain *devchain.Chain, flags ...string) (parts, string) {
	t.Helper()
	env, _ := secrets(chain, signerKeys)
	token := "BALER_REMOTE_TOKEN=" + partsToken
	common := []string{"--node-http", chain.HTTPURL(), "--node-ws", chain.WSURL(), "--log-format=json", "--log-level=debug"}
	start := func(env []string, args ...string) *program {
		return startProgram(t, env, append(append(args, common...), known(t, args[0], flags)...)...)
	}
	var p parts
	p.pool = start([]string{token}, "pool", "--listen=127.0.0.1:0", "--admin-addr=127.0.0.1:0")
	listen, _ := p.pool.logged(t, "baler is running")["listen"].(string)
	common = append(common, "--pool", "http://"+listen)
	p.rpc = start([]string{token}, "rpc", "--rpc-addr=127.0.0.1:0")
	p.builder = start([]string{token, env}, "builder", "--admin-addr=127.0.0.1:0")
	url, _ := p.rpc.logged(t, "baler is running")["rpc"].(string)
	eventually(t, "the builder has reached the pool", func() error {
		if len(p.builder.logs("the pool is reached")) == 0 {
			return errors.Join(errors.New("not yet"), p.builder.running())
		}
		return nil
	})
	return p, url
}

// known returns those of the flags that a command has.
func known(t *testing.T, command string, flags []string) (list []string) {
	t.Helper()
	parser, err := newParser(new(cli), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	for _, given := range hyphenate(flags) {
		name, _, _ := strings.Cut(strings.TrimPrefix(given, "--"), "=")
		for _, leaf := range parser.Model.Leaves(false) {
			for _, flag := range leaf.Flags {
				if leaf.FullPath() == "baler "+command && flag.Name == name {
					list = append(list, given)
				}
			}
		}
	}
	return list
}

// startWorldInParts is startWorld with a bundler in three processes.
func startWorldInParts(t *testing.T, cfg devchain.Config, flags ...string) *world {
	t.Helper()
	chain := startChain(t, cfg)
	p, url := startParts(t, chain, append([]string{"--num-signers=2", "--rpc-debug"}, flags...)...)
	w := newWorld(t, chain, url)
	for _, one := range []*program{p.pool, p.builder} {
		operators, _ := one.logged(t, "baler is running")["operators"].(string)
		w.others = append(w.others, operators)
	}
	t.Cleanup(func() {
		for _, one := range []*program{p.rpc, p.builder, p.pool} {
			if err := one.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			<-one.done
			if code := one.cmd.ProcessState.ExitCode(); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
			if t.Failed() {
				t.Logf("%v\n%s", one.cmd.Args[1], one.stderr.tail())
			}
		}
	})
	return w
}
