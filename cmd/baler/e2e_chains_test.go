package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/userop"
)

// twoChains are two chains and a file with a section for each.
func twoChains(t *testing.T) (one, two *devchain.Chain, file, dir string) {
	t.Helper()
	one = startChain(t, interval())
	two = startChain(t, devchain.Config{Mining: devchain.Interval, BlockTime: blockTime, ChainID: 4242})
	_, keys := secrets(one, 2)
	dir = t.TempDir()
	return one, two, privateFile(t, fmt.Sprintf(`
log_format = "json"
rpc_addr = "127.0.0.1:0"
data_dir = %q
entry_point = ["0.7", "0.8"]

[chain.first]
node_http = [%q]
signer_private_keys = [%q]

[chain.second]
node-http = %q
signer_private_keys = [%q, %q]
entry_point = "0.7"
chain_spec = "polygon"
min_priority_fee_per_gas = "1000000"
`, dir, one.HTTPURL(), keys[0], two.HTTPURL(), keys[0], keys[1])), dir
}

// running waits until so many chains are served, and returns their lines of the log by the chain.
func (p *program) chains(t *testing.T, n int) map[string]map[string]any {
	t.Helper()
	lines := make(map[string]map[string]any)
	eventually(t, "the chains are served", func() error {
		for _, entry := range p.logs("baler is running") {
			name, _ := entry["chain"].(string)
			lines[name] = entry
		}
		if len(lines) < n {
			return fmt.Errorf("have %d of %d (%w)", len(lines), n, p.running())
		}
		return nil
	})
	return lines
}

func TestSeveralChainsRunInOneProcess(t *testing.T) {
	t.Parallel()
	one, two, file, dir := twoChains(t)
	p := startProgram(t, nil, "node", "--config", file)
	lines := p.chains(t, 2)
	if lines["first"]["senders"] != 1.0 || lines["second"]["senders"] != 2.0 || lines["first"]["entry_points"] != 2.0 || lines["second"]["entry_points"] != 1.0 {
		t.Errorf("have %v, want each section's settings over the common ones", lines)
	}
	for name, chain := range map[string]*devchain.Chain{"first": one, "second": two} {
		url, _ := lines[name]["rpc"].(string)
		w := newWorld(t, chain, url)
		a := w.newAccounts(t, userop.V07, 1)[0]
		a.nonce = 0
		if r := a.run(t, a.op(t, w.count(t))); !r.Success {
			t.Errorf("chain %s: the operation failed", name)
		}
	}
	p.reloadsEachChain(t, file)
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, folder := range folders {
		names = append(names, folder.Name())
	}
	if !slices.Equal(names, []string{"first", "second"}) {
		t.Errorf("have data in %v, want a folder for each chain", names)
	}

	p = startProgram(t, []string{"BALER_DATA_DIR=" + t.TempDir()}, "node", "--config", file, "--chain=second", "--num-signers=1")
	if lines := p.chains(t, 1); lines["second"]["senders"] != 1.0 {
		t.Errorf("have %v, want the second chain only, with the flag over its section", lines)
	}
	if code := p.stop(t, os.Interrupt); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
	if lines := p.logs("baler is running"); len(lines) != 1 {
		t.Errorf("have %d chains, want one", len(lines))
	}
	list := startProgram(t, nil, "admin", "list-signers", "--config", file, "--chain", "second")
	if code := list.wait(t); code != exitOK || strings.Count(list.stdout.String(), "\n0x") != 2 {
		t.Errorf("list-signers of a chain: have exit code %d and %s", code, list.stdout.String())
	}
}

// reloadsEachChain changes the sections of the file and hangs up: each chain takes what its own section says, or keeps what it had.
func (p *program) reloadsEachChain(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hangup := func(times int, message, key string, change string) (by map[string]any) {
		t.Helper()
		if err := os.WriteFile(file, []byte(string(text)+change), 0o600); err != nil { // the second section is the last
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, message, func() error {
			by = make(map[string]any)
			lines := p.logs(message)
			for _, line := range lines[min(len(lines), times-2):] {
				name, _ := line["chain"].(string)
				by[name] = line[key]
			}
			if len(lines) < times {
				return fmt.Errorf("have %d of %d lines", len(lines), times)
			}
			return nil
		})
		return by
	}
	by := hangup(2, "settings reloaded", "changed", "log_level = \"debug\"\nblock_list = [\"0x2222222222222222222222222222222222222222\"]\n")
	if by["first"] != "" || by["second"] != "block-list log-level" {
		t.Errorf("have changed %v, want what the second section says, there only", by)
	}
	eventually(t, "the second chain's log tells of heads", func() error {
		heads := p.logs("head")
		for _, line := range heads {
			if line["chain"] != "second" {
				t.Fatalf("have %v: the first chain's level has changed, too", line)
			}
		}
		if len(heads) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	by = hangup(4, "settings reloaded", "changed", "") // back
	if by["first"] != "" || by["second"] != "block-list log-level" {
		t.Errorf("have changed %v, want the second section's settings taken back", by)
	}
}

func TestAChainThatCannotRunEndsTheOthersAndIsNamed(t *testing.T) {
	t.Parallel()
	_, two, file, _ := twoChains(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := privateFile(t, strings.ReplaceAll(string(text), two.HTTPURL(), two.HTTPURL()+"/nothing"))
	p := startProgram(t, nil, "node", "--config", broken)
	if code := p.wait(t); code != exitSettings || !strings.Contains(p.stderr.String(), "chain second: --node_http") {
		t.Errorf("have exit code %d and %s, want that the second chain has no node at its URL", code, p.stderr.String())
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	t.Parallel()
	one, _, file, _ := twoChains(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	for name, test := range map[string]struct {
		text string
		args []string
		want string
	}{
		"unknown key":        {good + "max_bundel_size = 3\n", nil, `section chain.second: unknown key "max_bundel_size", did you mean "max-bundle-size"?`},
		"unknown section":    {good, []string{"--chain=secnd"}, `no section chain.secnd, did you mean "second"?`},
		"unknown spec":       {strings.ReplaceAll(good, `"polygon"`, `"poligon"`), nil, "--chain_spec"},
		"one address":        {strings.ReplaceAll(good, "127.0.0.1:0", "127.0.0.1:39999"), nil, "chains first and second both have"},
		"one folder":         {good, []string{"--data-dir=" + t.TempDir()}, "--data-dir: chains first and second both have"},
		"no table":           {"chain = 3\n", nil, "[chain.NAME]"},
		"a value":            {"[chain]\nfirst = 3\n", nil, "[chain.NAME]"},
		"a name with a path": {"[chain.\"../up\"]\nnode_http = \"" + one.HTTPURL() + "\"\n", nil, "[chain.NAME]"},
		"a file in a file":   {good + "config = \"x\"\n", nil, `unknown key "config"`},
		"wrong value":        {good + "num_signers = 9\n", nil, "chain second: --num_signers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "baler.toml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startProgram(t, nil, append([]string{"node", "--config", path}, test.args...)...)
			if code := p.wait(t); code != exitSettings || !strings.Contains(p.stderr.String(), test.want) {
				t.Errorf("have exit code %d and %s, want %d and %q", code, p.stderr.String(), exitSettings, test.want)
			}
		})
	}
	t.Run("secrets for all to read", func(t *testing.T) {
		t.Parallel()
		path := privateFile(t, good)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		p := startProgram(t, nil, "node", "--config", path)
		if code := p.wait(t); code != exitSettings || !strings.Contains(p.stderr.String(), "open to others") {
			t.Errorf("have exit code %d and %s", code, p.stderr.String())
		}
	})
}
