package main

import (
	"log/slog"
	"testing"

	"baler/entrypoint"
	"baler/node"
	"baler/signer"
	"baler/userop"

	"github.com/ethereum/go-ethereum/crypto"
)

// configured returns the pipeline's configuration under flags of `baler dev`.
func configured(t *testing.T, flags ...string) node.Config {
	t.Helper()
	key, err := crypto.HexToECDSA(testKey[2:])
	if err != nil {
		t.Fatal(err)
	}
	settings := devSettings(t, flags...).bundlerSettings
	settings.Senders.NumSigners = 0
	config, err := settings.nodeConfig(1, []entrypoint.EntryPoint{entrypoint.Canonical(userop.V07)},
		[]signer.Signer{signer.NewPrivateKey(key)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Every constant of ERC-7562 ("Constants") and ERC-4337 that the bundler enforces is a setting, and its default is the
// ERC's value.
func TestEveryConstantOfTheERCsIsASetting(t *testing.T) {
	wei := func(c *node.Config) uint64 { return c.Pool.MinStake.Uint64() }
	for name, test := range map[string]struct {
		flag string
		erc  uint64
		read func(*node.Config) uint64
		with []string // other flags that must not stand in the way
	}{
		"MIN_UNSTAKE_DELAY":                  {"min_unstake_delay", 86_400, func(c *node.Config) uint64 { return c.Pool.MinUnstakeDelay }, nil},
		"MIN_UNSTAKE_DELAY of the rules":     {"min_unstake_delay", 86_400, func(c *node.Config) uint64 { return c.Validation.Stakes.MinUnstakeDelay }, nil},
		"MIN_STAKE_VALUE":                    {"min_stake_value", 1e18, wei, nil}, // "adjustable per chain"
		"SAME_SENDER_MEMPOOL_COUNT":          {"same_sender_mempool_count", 4, func(c *node.Config) uint64 { return c.Pool.SameSenderCount }, nil},
		"SAME_UNSTAKED_ENTITY_MEMPOOL_COUNT": {"same_unstaked_entity_mempool_count", 10, func(c *node.Config) uint64 { return c.Pool.SameUnstakedEntityCount }, nil},
		"THROTTLED_ENTITY_MEMPOOL_COUNT":     {"throttled_entity_mempool_count", 4, func(c *node.Config) uint64 { return c.Pool.ThrottledEntityCount }, nil},
		"THROTTLED_ENTITY_LIVE_BLOCKS":       {"throttled_entity_live_blocks", 10, func(c *node.Config) uint64 { return c.Pool.ThrottledEntityLiveBlocks }, nil},
		"THROTTLED_ENTITY_BUNDLE_COUNT":      {"throttled_entity_bundle_count", 4, func(c *node.Config) uint64 { return c.Pool.ThrottledEntityBundleCount }, nil},
		"MIN_INCLUSION_RATE_DENOMINATOR":     {"min_inclusion_rate_denominator", 10, func(c *node.Config) uint64 { return c.Pool.MinInclusionRateDenominator }, nil},
		"THROTTLING_SLACK":                   {"throttling_slack", 10, func(c *node.Config) uint64 { return c.Pool.ThrottlingSlack }, nil},
		"BAN_SLACK":                          {"ban_slack", 50, func(c *node.Config) uint64 { return c.Pool.BanSlack }, nil},
		"BAN_OPS_SEEN_PENALTY":               {"ban_ops_seen_penalty", 10_000, func(c *node.Config) uint64 { return c.Pool.BanOpsSeenPenalty }, nil},
		"MAX_OPS_ALLOWED_UNSTAKED_ENTITY":    {"max_ops_allowed_unstaked_entity", 10_000, func(c *node.Config) uint64 { return c.Pool.MaxOpsAllowedUnstakedEntity }, nil},
		"PRE_VERIFICATION_OVERHEAD_GAS":      {"pre_verification_overhead_gas", 50_000, func(c *node.Config) uint64 { return c.Validation.PreVerification.OverheadGas }, nil},
		"MAX_VERIFICATION_GAS":               {"max_verification_gas", 500_000, func(c *node.Config) uint64 { return c.Validation.Limits.MaxVerificationGas }, nil},
		"MAX_USEROP_SIZE":                    {"max_userop_size", 8192, func(c *node.Config) uint64 { return uint64(c.Validation.Limits.MaxUserOpSize) }, nil},
		"MAX_CONTEXT_SIZE":                   {"max_context_size", 2048, func(c *node.Config) uint64 { return uint64(c.Validation.Limits.MaxContextSize) }, nil},
		"MAX_BUNDLE_SIZE":                    {"max_bundle_bytes", 262_144, func(c *node.Config) uint64 { return c.Proposer.MaxBundleBytes }, []string{"--max_transaction_bytes=1000000"}},
		"MAX_BUNDLE_CONTEXT_SIZE":            {"max_bundle_context_size", 65_536, func(c *node.Config) uint64 { return c.Proposer.MaxContextBytes }, nil},
		"VALIDATION_GAS_SLACK":               {"validation_gas_slack", 4000, func(c *node.Config) uint64 { return c.Validation.Limits.ValidationGasSlack }, nil},
		"VALIDATION_GAS_SLACK of estimates":  {"validation_gas_slack", 4000, func(c *node.Config) uint64 { return c.Estimation.ValidationGasSlack }, nil},
		"cost of a CALL with value":          {"min_call_gas_limit", 9100, func(c *node.Config) uint64 { return c.Validation.MinCallGasLimit }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			config := configured(t, test.with...)
			if have := test.read(&config); have != test.erc {
				t.Errorf("have %d, want %d, the ERC's value", have, test.erc)
			}
			config = configured(t, append(test.with, "--"+test.flag+"=777")...)
			if have := test.read(&config); have != 777 {
				t.Errorf("with --%s=777: have %d", test.flag, have)
			}
		})
	}
}

// The chain's limit on a transaction holds whatever the ERC allows.
func TestABundleIsNotLargerThanATransactionMayBe(t *testing.T) {
	config := configured(t)
	if have := config.Proposer.MaxBundleBytes; have != 126<<10 {
		t.Errorf("have %d bytes, want %d", have, 126<<10)
	}
}

func TestTimeInThePoolIsInWholeSeconds(t *testing.T) {
	if config := configured(t); config.Pool.MaxSecondsInPool != 0 {
		t.Errorf("have %d s by default, want for ever", config.Pool.MaxSecondsInPool)
	}
	if config := configured(t, "--max_time_in_pool=90m"); config.Pool.MaxSecondsInPool != 5400 {
		t.Errorf("have %d s, want 5400", config.Pool.MaxSecondsInPool)
	}
}
