package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"

	"github.com/BurntSushi/toml"
	"github.com/ethereum/go-ethereum/crypto"
)

// ran runs the program in the test's process.
func ran(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err output
	code = run(t.Context(), args, console{out: &out, err: &err, environ: environ})
	return code, out.String(), err.String()
}

func TestConfigPrintShowsEverySettingAndWhereItComesFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baler.toml")
	if err := os.WriteFile(path, []byte("max_bundle_size = 7\nmax_bundle_gas = 123\nentry_point = [\"0.7\", \"0.8\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BALER_MAX_BUNDLE_GAS", "456")
	t.Setenv("BALER_ADMIN_TOKEN", "0123456789abcdef-secret")
	code, stdout, stderr := ran(t, nil, "config", "print", "--config", path, "--num_signers=1", "--node_http=https://node.example/v2/api-key-of-mine",
		"--signer_private_keys="+testKey, "--rpc-timeout=1m", "--admin-addr=127.0.0.1:0")
	if code != exitOK {
		t.Fatalf("have exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"max-bundle-size = 7  # file " + path + "\n", "max-bundle-gas = 456  # environment BALER_MAX_BUNDLE_GAS\n", "num-signers = 1  # flag\n",
		`entry-point = ["0.7", "0.8"]  # file`, `rpc-timeout = "1m0s"  # flag`, `bundle-packing = "priority"  # default`, `log-level = "info"  # default`,
		"# signer-private-keys is hidden  # flag\n", "# admin-token is hidden  # environment BALER_ADMIN_TOKEN\n", "# node-http is hidden", "\n# Mempool\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("have no %q in\n%s", want, stdout)
		}
	}
	for _, secret := range []string{testKey[2:], "api-key-of-mine", "0123456789abcdef"} {
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("the output shows %q", secret)
		}
	}
	// What is printed is a file with the same effect.
	var file map[string]any
	if _, err := toml.Decode(stdout, &file); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.toml")
	if err := os.WriteFile(again, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	code, second, stderr := ran(t, nil, "config", "print", "--config", again)
	if code != exitOK {
		t.Fatalf("with what was printed: have exit code %d: %s", code, stderr)
	}
	value := func(text, name string) string {
		for line := range strings.SplitSeq(text, "\n") {
			if strings.HasPrefix(line, name+" = ") {
				before, _, _ := strings.Cut(line, "  # ")
				return before
			}
		}
		return ""
	}
	for name := range file {
		if value(stdout, name) != value(second, name) {
			t.Errorf("have %q and then %q", value(stdout, name), value(second, name))
		}
	}
}

// Each kind of process has its settings printed and checked: a key of the file that none knows is an error, one of another kind is not used.
func TestConfigPrintsAndChecksEachKindOfProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baler.toml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const remote = "pool = \"http://127.0.0.1:3010\"\nremote_token = \"0123456789abcdef-secret\"\nmax_bundle_size = 7\nrpc_timeout = \"1m\"\n"
	for role, want := range map[string]map[string]bool{
		"pool":    {"listen = \"127.0.0.1:3010\"  # default": true, "max-bundle-size": false, "rpc-timeout": false},
		"rpc":     {"pool = [\"http://127.0.0.1:3010\"]  # file ": true, "rpc-timeout = \"1m0s\"  # file ": true, "max-bundle-size": false},
		"builder": {"pool = [\"http://127.0.0.1:3010\"]  # file ": true, "max-bundle-size = 7  # file ": true, "rpc-timeout": false},
	} {
		write(remote)
		code, stdout, stderr := ran(t, nil, "config", "print", role, "--config", path)
		if code != exitOK || strings.Contains(stdout+stderr, "abcdef-secret") || !strings.Contains(stdout, "# remote-token is hidden  # file ") {
			t.Errorf("%s: have exit code %d, %s%s, want the token hidden", role, code, stdout, stderr)
		}
		for line, there := range want {
			if strings.Contains(stdout, line) != there {
				t.Errorf("%s: %q is there: %t, want %t, in\n%s", role, line, !there, there, stdout)
			}
		}
		if code, _, stderr := ran(t, nil, "--config", path, "config", "check", role, "--offline"); code != exitOK {
			t.Errorf("%s: have exit code %d and %s", role, code, stderr)
		}
		write(remote + "max_bundle_sise = 7\n")
		code, _, stderr = ran(t, nil, "config", "check", role, "--offline", "--config", path)
		if code != exitSettings || !strings.Contains(stderr, `unknown key "max_bundle_sise", did you mean "max-bundle-size"?`) {
			t.Errorf("%s: have exit code %d and %s, want the key refused", role, code, stderr)
		}
	}
}

func TestConfigCheckLooksAtAllThatAStartWould(t *testing.T) {
	t.Parallel()
	chain := startChain(t, devchain.Config{Mining: devchain.Manual})
	sound := []string{"--node_http=" + chain.HTTPURL(), "--signer_private_keys=" + testKey}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"sound":                      {sound, exitOK, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
		"nobody at the URL":          {[]string{"--node_http=http://127.0.0.1:1", "--signer_private_keys=" + testKey}, exitFailed, "--node_http: the node has no answer"},
		"no key":                     {sound[:1], exitSettings, "--signer_private_keys"},
		"offline":                    {[]string{"--offline"}, exitOK, "Not looked at"},
		"offline, a wrong setting":   {[]string{"--offline", "--min_stake_value=1.5"}, exitSettings, "--min_stake_value"},
		"offline, a version":         {[]string{"--offline", "--entry_point=0.5"}, exitSettings, "--entry_point"},
		"offline, no proxy":          {[]string{"--offline", "--rpc_trusted_proxies=all"}, exitSettings, "--rpc_trusted_proxies"},
		"offline, no batches":        {[]string{"--offline", "--rpc_max_batch=0"}, exitSettings, "--rpc_max_batch"},
		"debug methods for all":      {[]string{"--offline", "--rpc_debug", "--rpc_addr=0.0.0.0:3000"}, exitSettings, "--admin_debug"},
		"operators' token too short": {[]string{"--offline", "--admin_addr=127.0.0.1:0", "--admin_token=x"}, exitSettings, "--admin_token"},
		"node, by its name":          {append([]string{"node"}, sound...), exitOK, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
		"pool":                       {[]string{"pool", sound[0]}, exitOK, "v0.9"},
		"pool, offline":              {[]string{"pool", "--offline"}, exitOK, "Not looked at"},
		"pool, nobody at the URL":    {[]string{"pool", "--node_http=http://127.0.0.1:1"}, exitFailed, "--node_http: the node has no answer"},
		"pool, no Redis":             {[]string{"pool", "--offline", "--store=redis"}, exitSettings, "--store: redis needs --redis_url"},
		"pool, lease in vain":        {[]string{"pool", "--offline", "--pool_lease_ttl=5s"}, exitSettings, "--pool_lease_ttl (flag) has no effect"},
		"pool, half a certificate":   {[]string{"pool", "--offline", "--remote_tls_cert=cert.pem"}, exitSettings, "--remote_tls_cert"},
		"pool, a builder's setting":  {[]string{"pool", "--offline", "--max_bundle_size=3"}, exitSettings, "unknown flag --max-bundle-size"},
		"pool, a constant":           {[]string{"pool", "--offline", "--min_inclusion_rate_denominator=0"}, exitSettings, "--min_inclusion_rate_denominator"},
		"rpc":                        {[]string{"rpc", sound[0], "--pool=http://127.0.0.1:1"}, exitOK, "v0.9"},
		"rpc, no pool":               {[]string{"rpc", "--offline"}, exitSettings, "--pool is missing"},
		"rpc, no batches":            {[]string{"rpc", "--offline", "--pool=http://127.0.0.1:1", "--rpc_max_batch=0"}, exitSettings, "--rpc_max_batch"},
		"builder":                    {[]string{"builder", sound[0], sound[1], "--pool=http://127.0.0.1:1"}, exitOK, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
		"builder, no key":            {[]string{"builder", sound[0], "--pool=http://127.0.0.1:1"}, exitSettings, "--signer_private_keys"},
		"builder, no pool":           {[]string{"builder", "--offline"}, exitSettings, "--pool is missing"},
		"builder, a fee mode":        {[]string{"builder", "--offline", "--pool=http://127.0.0.1:1", "--priority_fee_mode_kind=free"}, exitSettings, "--priority_fee_mode_kind"},
		"builder, debug in vain":     {[]string{"builder", "--offline", "--pool=http://127.0.0.1:1", "--admin_debug"}, exitSettings, "--admin_debug has no effect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := ran(t, nil, append([]string{"config", "check"}, test.args...)...)
			if code != test.code || !strings.Contains(stdout+stderr, test.want) {
				t.Errorf("have exit code %d and %q, want %d and %q in it", code, stdout+stderr, test.code, test.want)
			}
			if strings.Contains(stdout+stderr, testKey[2:]) {
				t.Error("the output shows a private key")
			}
		})
	}
}

func TestAMisspeltVariableIsRefused(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"BALER_NUM_SIGNER=2":                    `unknown setting BALER_NUM_SIGNER, did you mean "BALER_NUM_SIGNERS"?`,
		"BALER_NUM_SIGNERS=2":                   "",
		"OTHER_NUM_SIGNER=2":                    "",
		"BALER_SERVICE_HOST=10.0.0.1":           "", // Kubernetes, of a service called baler
		"BALER_PORT_3000_TCP_ADDR=10.0.0.1":     "",
		"BALER_RPC_SERVICE_PORT_HTTP=3000":      "",
		"BALER_SIGNER_PRIVATE_KEY=0xdeadbeef12": `did you mean "BALER_SIGNER_PRIVATE_KEYS"?`,
	} {
		code, _, stderr := ran(t, []string{variable}, "config", "check", "--offline")
		if (code == exitSettings) != (want != "") || !strings.Contains(stderr, want) {
			t.Errorf("%s: have exit code %d and %q, want %q", variable, code, stderr, want)
		}
		if strings.Contains(stderr, "deadbeef") {
			t.Errorf("the message shows the value: %q", stderr)
		}
	}
}

func TestSettingsAreReloadedAtAHangup(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	_, keys := secrets(chain, 3)
	folder := t.TempDir()
	path, keyFile := filepath.Join(folder, "baler.toml"), filepath.Join(folder, "keys")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := "node_http = \"" + chain.HTTPURL() + "\"\nrpc_addr = \"127.0.0.1:0\"\nlog_format = \"json\"\nsigner_private_key_file = \"" + keyFile + "\"\n" +
		"admin_addr = \"127.0.0.1:0\"\nadmin_token = \"0123456789abcdef\"\n"
	write(path, base)
	write(keyFile, strings.Join(keys[:2], "\n"))
	p := startProgram(t, nil, "node", "--config", path)
	ready := p.logged(t, "baler is running")
	url, _ := ready["rpc"].(string)
	operators, _ := ready["operators"].(string)
	senders := func() string {
		_, text := asked(t, "POST", operators+"/rpc", "0123456789abcdef", `{"jsonrpc":"2.0","id":1,"method":"admin_senders","params":[]}`)
		return text
	}
	hangup := func(times int, message string) map[string]any {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		var found map[string]any
		eventually(t, message, func() error {
			lines := p.loggedAll(message)
			if len(lines) < times {
				return fmt.Errorf("have %d lines", len(lines))
			}
			found = lines[times-1]
			return nil
		})
		return found
	}

	// What is wrong changes nothing.
	write(path, base+"log_level = \"loud\"\n")
	if line := hangup(1, "settings not reloaded; the old ones stay"); !strings.Contains(fmt.Sprint(line["err"]), "log-level") {
		t.Errorf("have %v, want the setting's name", line)
	}
	// What may change does, with the keys; what may not is named.
	write(path, base+"log_level = \"debug\"\nrpc_rate_per_sender = 1.5\nblock_list = [\"0x2222222222222222222222222222222222222222\"]\nmax_bundle_size = 3\n")
	write(keyFile, strings.Join(keys[1:], "\n"))
	if line := hangup(1, "settings reloaded"); line["changed"] != "block-list rpc-rate-per-sender log-level keys" {
		t.Errorf("have changed %q", line["changed"])
	}
	if line := p.logged(t, "settings that have changed need a restart"); line["settings"] != "max-bundle-size" {
		t.Errorf("have %v, want max-bundle-size", line)
	}
	p.logged(t, "head") // at debug level
	eventually(t, "the keys are others", func() error {
		if text := strings.ToLower(senders()); strings.Contains(text, strings.ToLower(keyAddress(t, keys[0]))) || !strings.Contains(text, strings.ToLower(keyAddress(t, keys[2]))) {
			return fmt.Errorf("have %s", text)
		}
		return nil
	})
	// Once more, with nothing new.
	if line := hangup(2, "settings reloaded"); line["changed"] != "" {
		t.Errorf("have changed %q, want nothing", line["changed"])
	}
	if status, _ := asked(t, "GET", url+"/livez", "", ""); status != 200 {
		t.Errorf("have status %d", status)
	}
	if code := p.stop(t, os.Interrupt); code != exitOK {
		t.Errorf("have exit code %d", code)
	}
	for _, key := range keys {
		if strings.Contains(p.stderr.String(), key[2:]) {
			t.Error("the log shows a private key")
		}
	}
}

// loggedAll returns the lines of the JSON log with the message.
func (p *program) loggedAll(message string) (found []map[string]any) {
	for _, line := range p.stderr.lines() {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

func keyAddress(t *testing.T, key string) string {
	t.Helper()
	parsed, err := crypto.HexToECDSA(strings.TrimPrefix(key, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return crypto.PubkeyToAddress(parsed.PublicKey).Hex()
}
