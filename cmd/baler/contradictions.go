package main

import (
	"fmt"
	"slices"
	"strings"
)

// condition says that a setting means something only while one of others is as it should be. Given in vain, it is refused:
// whoever gave it expects something of it.
type condition struct {
	flag  string
	needs []need
	// unless is a flag of the commands that see to what is needed by themselves: a development stack has its own aggregators.
	unless string
}

// need is a setting as another needs it to be.
type need struct {
	flag    string
	values  []string // one of these; nil: any but the empty one
	several bool     // more than one value
}

// given are settings of which one must have a value.
func given(flags ...string) (needs []need) {
	for _, flag := range flags {
		needs = append(needs, need{flag: flag})
	}
	return needs
}

// sentBy are the ways of transactions for which a setting of theirs is.
func sentBy(kinds ...string) []need {
	return []need{{flag: "tx-sender-kind", values: kinds}, {flag: "raced-tx-sender-kind", values: kinds}}
}

// conditions are all of them. A setting that is neither here nor free of conditions has them in the check of its own group, where
// there is more to say than that it has no effect; a test has the list.
func conditions() []condition {
	severalNodes := []need{{flag: "node-http", several: true}}
	mnemonic, keystore := given("signer-mnemonic", "signer-mnemonic-file"), given("signer-keystore")
	kms, remote := given("signer-kms-key-ids", "funding-kms-key-id"), given("signer-remote-url")
	redis, otlp := given("redis-url"), given("otlp-endpoint")
	severalSenders := []need{{flag: "tx-sender-url", several: true}, {flag: "raced-tx-sender-url", several: true}}
	return []condition{
		{flag: "node-concurrent", needs: slices.Concat(severalNodes, []need{{flag: "node-ws", several: true}}, given("node-requests-per-second"))},
		{flag: "node-patience", needs: severalNodes},
		{flag: "data-dir", needs: []need{{flag: "store", values: []string{"embedded"}}}},
		{flag: "shard-index", needs: given("num-shards")},
		{flag: "rpc-trusted-proxies", needs: given("rpc-rate-per-ip")},
		{flag: "rpc-burst-per-ip", needs: given("rpc-rate-per-ip")},
		{flag: "rpc-burst-per-sender", needs: given("rpc-rate-per-sender")},
		{flag: "admin-tls-cert", needs: given("admin-tls-key")},
		{flag: "admin-tls-key", needs: given("admin-tls-cert")},
		{flag: "signer-mnemonic-passphrase", needs: mnemonic},
		{flag: "signer-mnemonic-path", needs: mnemonic},
		{flag: "signer-mnemonic-keys", needs: mnemonic},
		{flag: "signer-keystore-password", needs: keystore},
		{flag: "signer-keystore-password-file", needs: keystore},
		{flag: "signer-kms-region", needs: kms},
		{flag: "signer-kms-endpoint", needs: kms},
		{flag: "signer-kms-profile", needs: kms},
		{flag: "signer-kms-credentials-file", needs: kms},
		{flag: "signer-kms-timeout", needs: kms},
		{flag: "signer-kms-attempts", needs: kms},
		{flag: "signer-kms-single-process", needs: kms},
		{flag: "signer-remote-addresses", needs: remote},
		{flag: "signer-remote-method", needs: remote},
		{flag: "signer-remote-authorization", needs: remote},
		{flag: "signer-remote-timeout", needs: remote},
		{flag: "lease-ttl", needs: redis},
		{flag: "lease-margin", needs: redis},
		{flag: "redis-keep", needs: redis},
		{flag: "redis-wait-replicas", needs: redis},
		{flag: "pool-lease-ttl", needs: []need{{flag: "store", values: []string{storeRedis}}}},
		{flag: "fund-check-blocks", needs: given("funding-private-key", "funding-private-key-file", "funding-kms-key-id")},
		{flag: "raced-tx-sender-url", needs: []need{{flag: "raced-tx-sender-kind", values: []string{"conditional", "flashbots", "bloxroute", "private"}}}},
		{flag: "tx-sender-hedge-millis", needs: severalSenders},
		{flag: "tx-sender-authorization", needs: sentBy("bloxroute", "private")},
		{flag: "tx-sender-private-method", needs: sentBy("private")},
		{flag: "flashbots-auth-key", needs: sentBy("flashbots")},
		{flag: "flashbots-builders", needs: sentBy("flashbots")},
		{flag: "flashbots-fast", needs: sentBy("flashbots")},
		{flag: "flashbots-status-url", needs: sentBy("flashbots")},
		{flag: "conditional-max-slots", needs: sentBy("conditional")},
		{flag: "aggregator-expected-operations", needs: given("aggregator"), unless: "block-time"},
		{flag: "otlp-authorization", needs: otlp},
		{flag: "trace-share", needs: otlp},
	}
}

// checkContradictions refuses settings that are given and have no effect. What a command does not know it cannot judge: one
// file serves several commands.
func checkContradictions(list []setting) error {
	find := func(name string) *setting {
		at := slices.IndexFunc(list, func(s setting) bool { return s.flag.Name == name })
		if at < 0 {
			return nil
		}
		return &list[at]
	}
	for _, c := range conditions() {
		vain := find(c.flag)
		if vain == nil || !vain.given() || c.unless != "" && find(c.unless) != nil {
			continue
		}
		met := false
		for _, n := range c.needs {
			other := find(n.flag)
			met = met || other == nil || n.met(*other)
		}
		if !met {
			return badSetting("--%s (%s) has no effect: %s", spelt(c.flag), vain.source, c.wants())
		}
	}
	return nil
}

func (n need) met(other setting) bool {
	target := other.flag.Target
	switch {
	case n.several:
		return target.Len() > 1
	case n.values == nil:
		return !target.IsZero()
	default:
		return slices.Contains(n.values, fmt.Sprint(target.Interface()))
	}
}

// wants says what is not so.
func (c condition) wants() string {
	var names []string
	for _, n := range c.needs {
		names = append(names, "--"+spelt(n.flag))
	}
	text := strings.Join(names, " or ")
	switch first := c.needs[0]; {
	case first.values != nil:
		return text + " is not " + strings.Join(first.values, " or ")
	case first.several:
		if last := c.needs[len(c.needs)-1]; !last.several {
			return strings.Join(names[:len(names)-1], " or ") + " does not name several, and " + names[len(names)-1] + " is not given"
		}
		return text + " does not name several"
	default:
		return text + " is not given"
	}
}

// spelt is a flag's name as the seed spells it.
func spelt(name string) string { return strings.ReplaceAll(name, "-", "_") }
