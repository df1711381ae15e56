package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestSettingsThatHaveNoEffectAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--data_dir=x --store=memory", "--data_dir (flag) has no effect: --store is not embedded"},
		{"--shard_index=1", "--shard_index (flag) has no effect: --num_shards is not given"},
		{"--rpc_burst_per_ip=5 --rpc_rate_per_ip=0", "--rpc_burst_per_ip (flag) has no effect: --rpc_rate_per_ip is not given"},
		{"--admin_tls_cert=x --admin_addr=127.0.0.1:0", "--admin_tls_key is not given"},
		{"--signer_mnemonic_keys=3", "--signer_mnemonic or --signer_mnemonic_file is not given"},
		{"--signer_kms_region=eu", "--signer_kms_key_ids or --funding_kms_key_id is not given"},
		{"--flashbots_fast", "--tx_sender_kind or --raced_tx_sender_kind is not flashbots"},
		{"--tx_sender_hedge_millis=9 --tx_sender_url=http://a", "--tx_sender_url or --raced_tx_sender_url does not name several"},
		{"--node_concurrent=9", "--node_http or --node_ws does not name several, and --node_requests_per_second is not given"},
	} {
		code, _, stderr := ran(t, nil, append([]string{"config", "check", "--offline"}, strings.Fields(test.args)...)...)
		if code != exitSettings || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: have exit code %d and %q, want %q", test.args, code, stderr, test.want)
		}
	}
}

// unconditional are the settings of `baler node` that mean something whatever the others are.
const unconditional = `
	node-http node-ws node-requests-per-second node-poll-interval chain-spec max-head-age entry-point store redis-url
	signer-private-keys signer-private-key-file signer-mnemonic signer-mnemonic-file signer-keystore signer-kms-key-ids signer-remote-url
	num-signers num-shards beneficiary bundling-mode bundle-max-send-interval-millis max-blocks-to-wait-for-mine
	replacement-fee-percent-increase max-replacement-underpriced-blocks max-cancellation-fee-increases
	tx-sender-kind tx-sender-url raced-tx-sender-kind
	priority-fee-mode-kind priority-fee-mode-value bundle-base-fee-overhead-percent bundle-priority-fee-overhead-percent
	min-priority-fee-per-gas max-priority-fee-per-gas max-bundle-size max-bundle-gas max-bundle-bytes max-bundle-context-size
	max-transaction-bytes max-block-share-percent bundle-gas-margin-percent max-deferred max-entry-point-passed-over bundle-packing bundle-node-check
	max-fee-per-gas max-bundle-fee max-cancellation-spend min-bundle-profit
	min-replacement-fee-increase-percentage same-sender-mempool-count same-unstaked-entity-mempool-count max-ops-allowed-unstaked-entity
	throttled-entity-mempool-count throttled-entity-live-blocks throttled-entity-bundle-count min-inclusion-rate-denominator
	throttling-slack ban-slack ban-ops-seen-penalty max-size-in-bytes max-time-in-pool allow-list block-list
	max-verification-gas pvg-expected-bundle-size pre-verification-overhead-gas max-userop-size max-context-size validation-gas-slack
	min-call-gas-limit min-stake-value min-unstake-delay tracing data-fees unsafe expiry-slack expiry-block-slack
	max-seconds-before-valid max-blocks-before-valid aggregator
	rpc-addr rpc-debug rpc-subscriptions rpc-cors rpc-vhosts rpc-timeout rpc-rate-per-ip rpc-rate-per-sender
	rpc-max-body-bytes rpc-max-batch rpc-max-depth rpc-max-connections rpc-max-connections-per-ip
	admin-addr log-level log-format otlp-endpoint`

// ofTheirGroup are the settings whose own check says more than that they have no effect, with what it says of them alone.
func ofTheirGroup() map[string]string {
	const operators, levels = "--admin_addr is missing", "--fund_below and --fund_to"
	return map[string]string{
		"admin-token": operators, "admin-vhosts": operators, "admin-client-ca": operators, "admin-debug": operators, "admin-pprof": operators,
		"fund-below": "--fund_below: needs a funding key", "fund-to": "--fund_below: needs a funding key",
		"funding-private-key": "the funding key", "funding-private-key-file": "the funding key", "funding-kms-key-id": levels,
	}
}

// TestEverySettingHasAnEffectOrIsRefused goes through all settings of `baler node`: each is free of conditions, or it is refused
// when it is given alone, and taken when what it needs is there.
func TestEverySettingHasAnEffectOrIsRefused(t *testing.T) {
	t.Parallel()
	var line cli
	parser, err := newParser(&line)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse([]string{"node"})
	if err != nil {
		t.Fatal(err)
	}
	flags := make(map[string]*kong.Flag)
	for _, s := range settingsOf(parsed) {
		flags[s.flag.Name] = s.flag
	}
	free, own := strings.Fields(unconditional), ofTheirGroup()
	conditional := make(map[string]condition)
	for _, c := range conditions() {
		if _, twice := conditional[c.flag]; twice {
			t.Errorf("%s has two conditions", c.flag)
		}
		conditional[c.flag] = c
		for _, n := range append([]need{{flag: c.flag}}, c.needs...) {
			if flags[n.flag] == nil {
				t.Errorf("a condition names %s, and there is no such setting", n.flag)
			}
		}
		if c.unless != "" && !slices.Contains(allFlags(parser.Model), c.unless) {
			t.Errorf("a condition names %s, and there is no such flag", c.unless)
		}
	}
	for _, name := range free {
		if flags[name] == nil {
			t.Errorf("%s is said to be free of conditions, and is no setting", name)
		}
	}
	for name, flag := range flags {
		_, hasOwn := own[name]
		c, has := conditional[name]
		if places := []bool{slices.Contains(free, name), hasOwn, has}; slices.Index(places, true) < 0 || len(slices.DeleteFunc(places, func(b bool) bool { return !b })) > 1 {
			t.Errorf("%s: want it to be free of conditions, or to have one, in one place", name)
			continue
		}
		check := func(args ...string) string {
			_, stdout, stderr := ran(t, nil, append([]string{"config", "check", "--offline"}, args...)...)
			return stdout + stderr
		}
		alone := []string{other(flag)}
		for _, n := range c.needs {
			alone = append(alone, lacking(flags[n.flag], n)...)
		}
		switch said := check(alone...); {
		case hasOwn && !strings.Contains(said, own[name]):
			t.Errorf("%s alone: have %q, want %q in it", name, said, own[name])
		case has && !strings.Contains(said, "--"+spelt(name)+" (flag) has no effect: "):
			t.Errorf("%s alone: have %q, want that it has no effect", name, said)
		case !hasOwn && !has && strings.Contains(said, "no effect"):
			t.Errorf("%s alone: have %q", name, said)
		}
		if has {
			for _, n := range c.needs {
				if said := check(other(flag), satisfied(flags[n.flag], n)); strings.Contains(said, "--"+spelt(name)+" (flag) has no effect: ") {
					t.Errorf("%s with %s: have %q", name, n.flag, said)
				}
			}
		}
	}
}

// other gives a flag another value than its default.
func other(flag *kong.Flag) string {
	for choice := range strings.SplitSeq(flag.Enum, ",") {
		if choice != "" && choice != flag.Default {
			return "--" + flag.Name + "=" + choice
		}
	}
	return "--" + flag.Name + "=" + example(flag)
}

// example is a value of a flag's type.
func example(flag *kong.Flag) string {
	target := flag.Target.Type()
	switch kind := target.Kind(); {
	case target.String() == "time.Duration":
		return "7m"
	case target.String() == "slog.Level":
		return "debug"
	case kind == reflect.Bool:
		return "true"
	case kind == reflect.String || kind == reflect.Slice:
		return "0123456789abcdef"
	default:
		return "3"
	}
}

// lacking gives a flag whose default fulfils a need a value that does not.
func lacking(flag *kong.Flag, n need) []string {
	switch {
	case slices.Contains(n.values, flag.Default):
		return []string{other(flag)}
	case n.values == nil && !n.several && flag.Default != "" && flag.Default != "0":
		return []string{"--" + flag.Name + "=0"}
	default:
		return nil
	}
}

// satisfied gives a flag a value that fulfils a need.
func satisfied(flag *kong.Flag, n need) string {
	switch {
	case n.several:
		return "--" + flag.Name + "=http://a,http://b"
	case n.values != nil:
		return "--" + flag.Name + "=" + n.values[0]
	default:
		return "--" + flag.Name + "=" + example(flag)
	}
}
