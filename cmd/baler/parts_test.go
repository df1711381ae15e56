package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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
		"ASubscriberHearsTheWayOfAnOperation":          TestASubscriberHearsTheWayOfAnOperation,
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

// startParts starts the three, and returns when all are there, with the URL of the edge. Each gets those of the flags that it knows. They
// prove to each other who they are with a token and with certificates.
func startParts(t *testing.T, chain *devchain.Chain, flags ...string) (parts, string) {
	t.Helper()
	env, _ := secrets(chain, signerKeys)
	identities := newCertificates(t)
	token := "BALER_REMOTE_TOKEN=" + partsToken
	common := []string{"--node-http", chain.HTTPURL(), "--node-ws", chain.WSURL(), "--log-format=json", "--log-level=debug"}
	start := func(env []string, args ...string) *program {
		args = append(append(args, common...), identities.flags(t, args[0])...)
		return startProgram(t, env, append(args, known(t, args[0], flags)...)...)
	}
	var p parts
	p.pool = start([]string{token}, "pool", "--listen=127.0.0.1:0", "--admin-addr=127.0.0.1:0")
	listen, _ := p.pool.logged(t, "baler is running")["listen"].(string)
	common = append(common, "--pool", "https://"+listen)
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
		for i, side := range []string{"served", "asked"} {
			if _, text := asked(t, http.MethodGet, w.others[i]+"/metrics", "", ""); !strings.Contains(text, `baler_remote_calls_total{method="Resume",result="ok",side="`+side+`"}`) {
				t.Errorf("no calls are counted as %s", side)
			}
		}
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

// A builder whose pool is not there yet starts, says so, and takes new keys all the same.
func TestABuilderReloadsItsKeysWithoutItsPool(t *testing.T) {
	t.Parallel()
	chain := startChain(t, devchain.Config{Mining: devchain.Manual})
	_, keys := secrets(chain, 2)
	file := filepath.Join(t.TempDir(), "keys")
	write := func(some []string) {
		if err := os.WriteFile(file, []byte(strings.Join(some, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keys[:1])
	p := startProgram(t, nil, "builder", "--node-http", chain.HTTPURL(), "--pool=http://127.0.0.1:1", "--signer-private-key-file", file,
		"--admin-addr=127.0.0.1:0", "--log-format=json")
	operators, _ := p.logged(t, "baler is running")["operators"].(string)
	p.logged(t, "the pool is not reached; nothing new is proposed until it is")
	w := chainOnly(chain)
	if have := w.healthAt(t, operators); !strings.Contains(have.Status, "the pool is not reached") {
		t.Errorf("have status %q, want that the pool is not reached", have.Status)
	}
	write(keys)
	p.signal(t, syscall.SIGHUP)
	if line := p.logged(t, "settings reloaded"); line["changed"] != "keys" {
		t.Errorf("have changed %q, want the keys", line["changed"])
	}
	eventually(t, "the new key has a bundle sender", func() error {
		if have := len(w.healthAt(t, operators).Senders); have != 2 {
			return fmt.Errorf("have %d", have)
		}
		return nil
	})
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
}

func TestSettingsOfOneProcessAreRefusedByTheOthers(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"rpc --node-http=http://127.0.0.1:1":                                                     "--pool is missing",
		"rpc --node-http=http://127.0.0.1:1 --pool=nowhere":                                      "--pool",
		"rpc --max-bundle-size=3":                                                                "unknown flag --max-bundle-size",
		"pool --signer-private-keys=0x1":                                                         "unknown flag --signer-private-keys",
		"pool --node-http=http://127.0.0.1:1 --store=redis":                                      "--store: redis needs --redis_url",
		"builder --node-http=http://127.0.0.1:1 --pool=http://127.0.0.1:1 --admin-debug":         "--admin_debug has no effect",
		"builder --node-http=http://127.0.0.1:1 --redis-url=redis://127.0.0.1:1 --data-dir=here": "--data_dir has no effect",
		"builder --rpc-addr=127.0.0.1:0":                                                         "unknown flag --rpc-addr",
	} {
		code, _, stderr := ran(t, nil, strings.Fields(args)...)
		if code != exitSettings || !strings.Contains(stderr, want) {
			t.Errorf("baler %s: have exit code %d and %q, want %d and %q", args, code, stderr, exitSettings, want)
		}
	}
}
