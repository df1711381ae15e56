package main

import (
	"fmt"
	"slices"
	"strings"
)

// condition says that a setting means something only while another has one of these values. Given in vain, it is refused:
// whoever gave it expects something of it.
type condition struct {
	flag   string
	needs  string
	values []string // nil: any but the empty one
}

func conditions() []condition {
	return []condition{
		{"data-dir", "store", []string{"embedded"}},
		{"shard-index", "num-shards", nil},
		{"rpc-trusted-proxies", "rpc-rate-per-ip", nil},
		{"rpc-burst-per-ip", "rpc-rate-per-ip", nil},
		{"rpc-burst-per-sender", "rpc-rate-per-sender", nil},
		{"admin-tls-cert", "admin-tls-key", nil},
		{"admin-tls-key", "admin-tls-cert", nil},
		{"signer-mnemonic-path", "signer-mnemonic|signer-mnemonic-file", nil},
		{"signer-mnemonic-keys", "signer-mnemonic|signer-mnemonic-file", nil},
		{"signer-kms-region", "signer-kms-key-ids|funding-kms-key-id", nil},
		{"signer-kms-endpoint", "signer-kms-key-ids|funding-kms-key-id", nil},
		{"signer-kms-profile", "signer-kms-key-ids|funding-kms-key-id", nil},
		{"signer-kms-credentials-file", "signer-kms-key-ids|funding-kms-key-id", nil},
		{"signer-kms-single-process", "signer-kms-key-ids|funding-kms-key-id", nil},
		{"otlp-authorization", "otlp-endpoint", nil},
		{"trace-share", "otlp-endpoint", nil},
		{"lease-ttl", "redis-url", nil},
		{"lease-margin", "redis-url", nil},
		{"redis-keep", "redis-url", nil},
		{"signer-remote-method", "signer-remote-url", nil},
	}
}

// checkContradictions refuses settings that are given and have no effect.
func checkContradictions(list []setting) error {
	find := func(name string) *setting {
		at := slices.IndexFunc(list, func(s setting) bool { return s.flag.Name == name })
		if at < 0 {
			return nil
		}
		return &list[at]
	}
	for _, c := range conditions() {
		given := find(c.flag)
		if given == nil || !given.given() {
			continue
		}
		met := false
		for name := range strings.SplitSeq(c.needs, "|") {
			if other := find(name); other != nil && !met {
				met = c.met(*other)
			}
		}
		if !met {
			return badSetting("--%s (%s) has no effect: %s", spelt(c.flag), given.source, c.wants())
		}
	}
	return nil
}

func (c condition) met(other setting) bool {
	if c.values == nil {
		return !other.flag.Target.IsZero()
	}
	return slices.Contains(c.values, fmt.Sprint(other.flag.Target.Interface()))
}

func (c condition) wants() string {
	names := "--" + strings.Join(strings.Split(spelt(c.needs), "|"), " or --")
	if c.values == nil {
		return names + " is not given"
	}
	return names + " is not " + strings.Join(c.values, " or ")
}

// spelt is a flag's name as the seed spells it.
func spelt(name string) string { return strings.ReplaceAll(name, "-", "_") }
