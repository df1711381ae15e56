package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baler/devchain"
)

const testKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"

// settings is a command line with something wrong.
type settings struct {
	args []string
	want string // in the one line that says so
}

func TestWrongSettingsAreOneLineAndExitCodeTwo(t *testing.T) {
	chain := startChain(t, devchain.Config{Mining: devchain.Manual})
	other := startChain(t, devchain.Config{Mining: devchain.Manual, ChainID: 4242})
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := func(name, text string) string { // to all
		path := file(name, text)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	node := func(args ...string) []string {
		return append([]string{"node", "--node_http=" + chain.HTTPURL(), "--signer_private_keys=" + testKey, "--rpc_addr=127.0.0.1:0"}, args...)
	}
	for name, test := range map[string]settings{
		"no command":           {nil, "expected one of"},
		"unknown command":      {[]string{"nod"}, "nod"},
		"unknown flag":         {node("--nod=1"), "--nod"},
		"no node":              {[]string{"node", "--signer_private_keys=" + testKey}, "--node_http"},
		"node URL of no sort":  {[]string{"node", "--node_http=localhost:1", "--signer_private_keys=" + testKey}, "--node_http"},
		"no node at the URL":   {[]string{"node", "--node_http=" + chain.HTTPURL() + "/nothing", "--signer_private_keys=" + testKey}, "--node_http"},
		"two chains":           {[]string{"node", "--node_http=" + chain.HTTPURL() + "," + other.HTTPURL(), "--signer_private_keys=" + testKey}, "different chains"},
		"two, one of no sort":  {node("--node_ws=" + chain.WSURL() + ",ftp://127.0.0.1"), "--node_ws"},
		"node rate":            {node("--node_requests_per_second=-1"), "--node_requests_per_second"},
		"no key":               {[]string{"node", "--node_http=" + chain.HTTPURL()}, "--signer_private_keys"},
		"half a key":           {[]string{"node", "--node_http=" + chain.HTTPURL(), "--signer_private_keys=" + testKey[:40]}, "--signer_private_keys"},
		"key twice":            {node("--signer_private_keys=" + testKey + "," + testKey), "--signer_private_keys"},
		"keys of two kinds":    {node("--signer_mnemonic=" + strings.Repeat("abandon ", 11) + "about"), "--signer_private_keys (or _file) and --signer_mnemonic (or _file)"},
		"KMS without leases":   {[]string{"node", "--node_http=" + chain.HTTPURL(), "--signer_kms_key_ids=alias/bundler"}, "--signer_kms_single_process"},
		"key file for all":     {[]string{"node", "--node_http=" + chain.HTTPURL(), "--signer_private_key_file=" + open("keys", testKey)}, "open to others"},
		"key in file for all":  {[]string{"node", "--config=" + open("baler.toml", "signer_private_keys = [\""+testKey+"\"]\n")}, "it holds signer-private-keys"},
		"token file for all":   {[]string{"rpc", "--node_http=" + chain.HTTPURL(), "--pool=http://127.0.0.1:1", "--remote_token_file=" + open("token", "sixteen letters at least")}, "--remote_token_file: " + filepath.Join(folder, "token") + ": the file is open to others"},
		"TLS key for all":      {[]string{"pool", "--node_http=" + chain.HTTPURL(), "--remote_tls_cert=none", "--remote_tls_key=" + open("tls.key", "none")}, "--remote_tls_key: " + filepath.Join(folder, "tls.key") + ": the file is open to others"},
		"credentials for all":  {[]string{"node", "--node_http=" + chain.HTTPURL(), "--signer_kms_key_ids=alias/bundler", "--signer_kms_single_process", "--signer_kms_credentials_file=" + open("credentials", "none")}, "open to others"},
		"more senders":         {node("--num_signers=2"), "--num_signers"},
		"negative senders":     {node("--num_signers=-1"), "--num_signers"},
		"EntryPoint version":   {node("--entry_point=0.5"), "--entry_point"},
		"beneficiary":          {node("--beneficiary=me"), "--beneficiary"},
		"fee mode":             {node("--priority_fee_mode_kind=free"), "--priority_fee_mode_kind"},
		"packing":              {node("--bundle_packing=none"), "--bundle-packing"},
		"bundling mode":        {node("--bundling_mode=none"), "--bundling-mode"},
		"stake":                {node("--min_stake_value=1.5"), "--min_stake_value"},
		"no stake":             {node("--min_stake_value=0"), "--min_stake_value"},
		"no slack":             {node("--validation_gas_slack=0"), "--validation_gas_slack"},
		"inclusion rate":       {node("--min_inclusion_rate_denominator=0"), "--min_inclusion_rate_denominator"},
		"time in the pool":     {node("--max_time_in_pool=10ms"), "--max_time_in_pool"},
		"shard of nothing":     {node("--shard_index=1"), "--shard_index"},
		"shard beyond":         {node("--num_shards=2", "--shard_index=2"), "--num_shards"},
		"list of entities":     {node("--block_list=0x12"), "--block_list"},
		"port taken":           {node("--rpc_addr=" + taken.Addr().String()), "--rpc_addr"},
		"address of no sort":   {node("--rpc_addr=everywhere"), "--rpc_addr"},
		"operators' port":      {node("--admin_addr=" + taken.Addr().String()), "--admin_addr"},
		"operators for all":    {node("--admin_addr=0.0.0.0:0"), "--admin_token or --admin_client_ca"},
		"operators nowhere":    {node("--admin_debug"), "--admin_addr is missing"},
		"operators' token":     {node("--admin_addr=127.0.0.1:0", "--admin_token=short"), "--admin_token: want at least 16"},
		"certificate":          {node("--admin_addr=127.0.0.1:0", "--admin_tls_cert="+file("cert.pem", "none"), "--admin_tls_key=none"), "--admin_tls_cert"},
		"clients, no server":   {node("--admin_addr=127.0.0.1:0", "--admin_client_ca=none"), "--admin_client_ca needs"},
		"number":               {node("--max_bundle_size=many"), "--max-bundle-size"},
		"no config file":       {node("--config=" + filepath.Join(folder, "none.toml")), "none.toml"},
		"unknown key in file":  {node("--config=" + file("unknown.toml", "num_signer = 1\n")), `unknown key "num_signer", did you mean "num-signers"?`},
		"file is not TOML":     {node("--config=" + file("broken.toml", "num_signers =\n")), "broken.toml"},
		"wrong value in file":  {node("--config=" + file("wrong.toml", "num_signers = 7\n")), "--num_signers"},
		"load without a URL":   {[]string{"load", "--node=http://127.0.0.1:1"}, "--url"},
		"load without a node":  {[]string{"load", "--url=http://127.0.0.1:1"}, "--node"},
		"load's EntryPoint":    {[]string{"load", "--url=http://127.0.0.1:1", "--node=http://127.0.0.1:1", "--entry_point=1"}, "--entry_point"},
		"load's key":           {[]string{"load", "--url=http://127.0.0.1:1", "--node=http://127.0.0.1:1", "--funding_key=" + testKey[:50]}, "--funding_key"},
		"load of nothing":      {[]string{"load", "--url=http://127.0.0.1:1", "--node=http://127.0.0.1:1", "--ops=0"}, "ops"},
		"demo of too few":      {[]string{"demo", "--ops=2", "--accounts=4"}, "--ops"},
		"dev with the port":    {[]string{"dev", "--node_addr=" + taken.Addr().String()}, "address already in use"},
		"dev with a ready dir": {[]string{"dev", "--node_addr=127.0.0.1:0", "--rpc_addr=127.0.0.1:0", "--ready_file=" + filepath.Join(folder, "no", "ready")}, "--ready_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr output
			ctx, cancel := context.WithTimeout(t.Context(), patience) // whoever takes the settings runs until then
			defer cancel()
			args := test.args
			if len(args) > 0 && args[0] == "node" {
				args = append(slices.Clone(args), "--data_dir="+t.TempDir())
			}
			code := run(ctx, args, console{out: &stdout, err: &stderr})
			if code != exitSettings {
				t.Errorf("have exit code %d, want %d", code, exitSettings)
			}
			line := strings.TrimSuffix(stderr.String(), "\n")
			if strings.Contains(line, "\n") || !strings.HasPrefix(line, "baler: ") || !strings.Contains(line, test.want) {
				t.Errorf("have stderr %q, want one line with %q", line, test.want)
			}
			if strings.Contains(line+stdout.String(), testKey[2:30]) {
				t.Error("the output shows a private key")
			}
		})
	}
}

func TestAConfigFileSetsWhatFlagsDoNot(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	_, keys := secrets(chain, 3)
	path := filepath.Join(t.TempDir(), "baler.toml")
	text := "node_http = \"" + chain.HTTPURL() + "\"\nsigner-private-keys = [\"" + strings.Join(keys, "\", \"") + "\"]\n" +
		"num_signers = 3\nrpc_addr = \"127.0.0.1:0\"\nlog_format = \"json\"\nentry_point = [\"0.7\", \"0.8\"]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The environment comes before the file, and a flag before both.
	p := startProgram(t, []string{"BALER_NUM_SIGNERS=1"}, "node", "--config", path, "--entry_point=0.9")
	ready := p.logged(t, "baler is running")
	if ready["senders"] != 1.0 || ready["entry_points"] != 1.0 {
		t.Errorf("have %v, want 1 sender (environment) and 1 EntryPoint (flag)", ready)
	}
	if code := p.stop(t, os.Interrupt); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
	if strings.Contains(p.stdout.String()+p.stderr.String(), keys[0][2:]) {
		t.Error("the output shows a private key")
	}
}
