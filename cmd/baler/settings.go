package main

import (
	"cmp"
	"context"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/datafee"
	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/node"
	"baler/pool"
	"baler/proposer"
	"baler/signer"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
	"github.com/lmittmann/tint"
)

// bundlerSettings are the settings of the bundler itself, wherever its chain comes from. The names are the seed's; the
// ERCs' constants have the ERCs' values as defaults.
type bundlerSettings struct {
	Chain      chainSettings      `embed:"" group:"Chain"`
	Senders    senderSettings     `embed:"" group:"Bundle senders"`
	Relay      relaySettings      `embed:"" group:"Transaction senders"`
	Proposals  proposerSettings   `embed:"" group:"Bundles and fees"`
	Mempool    poolSettings       `embed:"" group:"Mempool"`
	Validation validatorSettings  `embed:"" group:"Validation"`
	Aggregator aggregatorSettings `embed:"" group:"Signature aggregators"`
	RPC        rpcSettings        `embed:"" group:"JSON-RPC"`
	Admin      adminSettings      `embed:"" group:"Operators"`
	Log        logSettings        `embed:"" group:"Logs"`
	Traces     traceSettings      `embed:"" group:"Traces"`
}

// chainSettings say what is sane on the chain.
type chainSettings struct {
	ChainSpec        string        `help:"Whose defaults are used on a chain that is not known: ethereum, sepolia, optimism, base, arbitrum, polygon, bnb, gnosis, avalanche, scroll, dev. Default: by the chain id." placeholder:"NAME"`
	NodePollInterval time.Duration `help:"How often the newest block is asked for where heads are not announced; 0: as suits the chain's blocks." default:"0s"`
}

// spec returns the chain's defaults.
func (s chainSettings) spec(chainID uint64) (chain.Spec, error) {
	if s.ChainSpec == "" {
		return chain.SpecOf(chainID), nil
	}
	spec, known := chain.SpecNamed(s.ChainSpec, chainID)
	if !known {
		return spec, badSetting("--chain_spec: have %q, want one of %s", s.ChainSpec, strings.Join(chain.SpecNames(), ", "))
	}
	return spec, nil
}

type senderSettings struct {
	NumSigners                      int    `help:"How many of the keys get a bundle sender; 0: all." default:"0"`
	NumShards                       uint64 `help:"Divide the accounts among the keys by uint160(sender) mod num_shards. 0: by claims, each operation to the first key that takes it: no key is idle while operations wait, and what a dead builder held is free after a while. Shards keep an account with one key for good, which needs no agreement between builders; the accounts of a key that is away or out of funds wait for it." default:"0"`
	ShardIndex                      uint64 `help:"Shard of the first key; the next keys have the shards after it. The keys here and elsewhere must cover all of num_shards." default:"0"`
	Beneficiary                     string `help:"Address that takes the bundles' fees. Default: each signer its own." placeholder:"ADDRESS"`
	BundlingMode                    string `help:"auto: bundles are sent by themselves; manual: on debug_bundler_sendBundleNow." enum:"auto,manual" default:"auto"`
	BundleMaxSendIntervalMillis     uint64 `help:"Also build a bundle when so long none was tried, in milliseconds; 0: new blocks only." default:"0"`
	MaxBlocksToWaitForMine          uint64 `help:"Blocks after which a transaction that is not mined is replaced." default:"2"`
	ReplacementFeePercentIncrease   uint64 `help:"How much more a replacement pays, in both fees, in percent." default:"10"`
	MaxReplacementUnderpricedBlocks uint64 `help:"Underpriced and priced out for more than so many blocks, a transaction is cancelled." default:"20"`
	MaxCancellationFeeIncreases     uint64 `help:"Fee increases after which cancelling is given up." default:"15"`
}

// priceSettings say what operations must pay.
type priceSettings struct {
	PriorityFeeModeKind              string `help:"What an operation must pay: priority_fee_increase_percent (its priority fee N% above the bundle's) or base_fee_percent (N% of the base fee)." default:"priority_fee_increase_percent" placeholder:"KIND"`
	PriorityFeeModeValue             uint64 `help:"The N of the priority fee mode." default:"0"`
	BundleBaseFeeOverheadPercent     uint64 `help:"Added to the next base fee for the bundle's max fee, in percent." default:"27"`
	BundlePriorityFeeOverheadPercent uint64 `help:"Added to the oracle's priority fee, in percent." default:"0"`
	MinPriorityFeePerGas             string `help:"Least priority fee of a bundle, in wei per gas. Default: the chain's." placeholder:"WEI"`
	MaxPriorityFeePerGas             uint64 `help:"Most that the oracle may suggest, in wei per gas; 0: no limit." default:"100000000000"`
}

type proposerSettings struct {
	priceSettings

	MaxBundleSize           int    `help:"Most operations of a bundle." default:"128"`
	MaxBundleGas            uint64 `help:"Most gas that the operations of a bundle may use together, by their limits. Its transaction never has more than the chain allows (EIP-7825), whatever this is." default:"25000000"`
	MaxBundleBytes          uint64 `help:"Most bytes of a bundle's calldata (MAX_BUNDLE_SIZE of ERC-7562)." default:"262144"`
	MaxBundleContextSize    uint64 `help:"Most bytes of all paymasters' contexts in a bundle (MAX_BUNDLE_CONTEXT_SIZE)." default:"65536"`
	MaxTransactionBytes     uint64 `help:"Most bytes of calldata that nodes take in a transaction: they refuse transactions over 128 KiB." default:"129024"`
	MaxBlockSharePercent    uint64 `help:"Most of a block's gas limit that a bundle may take, in percent; 0: all." default:"75"`
	BundleGasMarginPercent  uint64 `help:"Added to the gas that a bundle was measured to need beside its operations' calls, in percent." default:"10"`
	MaxDeferred             int    `help:"How often an operation is left out in favour of others that pay more (it conflicts with them, or they use up its paymaster's deposit), before it goes first; 0: never." default:"8"`
	MaxEntryPointPassedOver int    `help:"How often an EntryPoint with operations is passed over for one that pays more, before it goes first." default:"4"`
	BundlePacking           string `help:"priority: the first operation that does not fit ends the bundle; fill: it is passed over." enum:"priority,fill" default:"priority"`
	BundleNodeCheck         string `help:"Which bundles the node has the last word on, by an eth_call, after they have run in the local EVM. sampled: the first 4 of each kind (EntryPoint, fork, with EIP-7702 tuples or without), then one in 16; all bundles with aggregators; and all when the local EVM has disagreed with the node about anything, or is not used. always: all. With sampled a bundle leaves sooner, and the node has less to do; with always a difference between the local EVM and the chain costs no reverted bundle before it is noticed." enum:"sampled,always" default:"sampled"`
	MaxFeePerGas            string `help:"Most a bundle or cancellation offers, in wei per gas. Default: the chain's." placeholder:"WEI"`
	MaxBundleFee            string `help:"Most a bundle transaction may cost, gas limit times max fee, in wei. Default: the chain's." placeholder:"WEI"`
	MaxCancellationSpend    string `help:"Most one cancellation may cost, in wei. Default: the chain's." placeholder:"WEI"`
	MinBundleProfit         int64  `help:"Least profit a bundle must be expected to make, in wei." default:"0"`
}

type poolSettings struct {
	MinReplacementFeeIncreasePercentage uint64        `help:"How much higher both fees of an operation must be to replace another, in percent." default:"10"`
	SameSenderMempoolCount              uint64        `help:"Operations of one unstaked sender (SAME_SENDER_MEMPOOL_COUNT)." default:"4"`
	SameUnstakedEntityMempoolCount      uint64        `help:"Operations of one unstaked factory or paymaster (SAME_UNSTAKED_ENTITY_MEMPOOL_COUNT)." default:"10"`
	MaxOpsAllowedUnstakedEntity         uint64        `help:"Most of what an unstaked factory or paymaster got included that raises its number of operations (MAX_OPS_ALLOWED_UNSTAKED_ENTITY)." default:"10000"`
	ThrottledEntityMempoolCount         uint64        `help:"Operations of a throttled entity (THROTTLED_ENTITY_MEMPOOL_COUNT)." default:"4"`
	ThrottledEntityLiveBlocks           uint64        `help:"Blocks that an operation of a throttled entity may wait (THROTTLED_ENTITY_LIVE_BLOCKS)." default:"10"`
	ThrottledEntityBundleCount          uint64        `help:"Operations of a throttled entity in one bundle (THROTTLED_ENTITY_BUNDLE_COUNT)." default:"4"`
	MinInclusionRateDenominator         uint64        `help:"One of so many operations of an entity that are seen must be included (MIN_INCLUSION_RATE_DENOMINATOR)." default:"10"`
	ThrottlingSlack                     uint64        `help:"Inclusions that an entity may fall short by before it is throttled (THROTTLING_SLACK)." default:"10"`
	BanSlack                            uint64        `help:"Inclusions that an entity may fall short by before it is banned (BAN_SLACK)." default:"50"`
	BanOpsSeenPenalty                   uint64        `help:"The opsSeen of an entity that made a bundle fail (BAN_OPS_SEEN_PENALTY)." default:"10000"`
	MaxSizeInBytes                      uint64        `help:"Memory for operations, in bytes; the worst paying leave first." default:"268435456"`
	MaxTimeInPool                       time.Duration `help:"How long an operation may wait, by the chain's clock, in whole seconds; 0: for ever." default:"0"`
	AllowList                           []string      `help:"Entities that no count or reputation limits." placeholder:"ADDRESS" reload:""`
	BlockList                           []string      `help:"Entities whose operations are refused." placeholder:"ADDRESS" reload:""`
}

type validatorSettings struct {
	MaxVerificationGas         uint64 `help:"Verification gas limits must be lower (MAX_VERIFICATION_GAS)." default:"500000"`
	PvgExpectedBundleSize      string `help:"How many operations are expected to share a bundle's 21,000 gas, when preVerificationGas is estimated and judged: a number, or auto: as many as bundles had over the last 50 blocks. With more than 1 an operation may wait for others, because no bundle is sent at a loss." default:"1" placeholder:"N"`
	PreVerificationOverheadGas uint64 `help:"Asked for beside the calldata's gas (PRE_VERIFICATION_OVERHEAD_GAS)." default:"50000"`
	MaxUseropSize              int    `help:"Most bytes of a packed operation (MAX_USEROP_SIZE)." name:"max-userop-size" default:"8192"`
	MaxContextSize             int    `help:"Most bytes of a paymaster's context (MAX_CONTEXT_SIZE)." default:"2048"`
	ValidationGasSlack         uint64 `help:"Gas that the verification gas limits must leave over (VALIDATION_GAS_SLACK)." default:"4000"`
	MinCallGasLimit            uint64 `help:"Least callGasLimit: the cost of a CALL with value (ERC-4337)." default:"9100"`
	MinStakeValue              string `help:"Stake of a staked entity, in wei (MIN_STAKE_VALUE)." default:"1000000000000000000"`
	MinUnstakeDelay            uint64 `help:"Unstake delay of a staked entity, in seconds (MIN_UNSTAKE_DELAY)." default:"86400"`
	Tracing                    string `help:"Where operations are simulated: never: in the local EVM; fallback: there until it disagrees with the node, then by debug_traceCall; always: by debug_traceCall." enum:"never,fallback,always" default:"fallback"`
	DataFees                   string `help:"How the chain charges for a transaction's data beside its gas: none; op-stack: by its GasPriceOracle, its operator fee with it; arbitrum: by its NodeInterface; scroll: by its L1GasPriceOracle; auto: as is known of the chain id." enum:"auto,none,op-stack,arbitrum,scroll" default:"auto"`
	Unsafe                     bool   `help:"Accept operations that break ERC-7562's rules on opcodes, code, storage and stakes. For chains with a single trusted source of operations."`
	ExpirySlack                uint64 `help:"An operation must stay valid for so many seconds." default:"30"`
	ExpiryBlockSlack           uint64 `help:"The same in blocks, for validity in block numbers (v0.9)." default:"3"`
	MaxSecondsBeforeValid      uint64 `help:"An operation may come so many seconds before its time range begins; it waits until then." default:"600"`
	MaxBlocksBeforeValid       uint64 `help:"The same in blocks, for validity in block numbers (v0.9)." default:"50"`
}

type logSettings struct {
	LogLevel  slog.Level `help:"debug, info, warn or error." default:"info" reload:""`
	LogFormat string     `help:"pretty or json." enum:"pretty,json" default:"pretty"`
}

func (s logSettings) logger(c console) *slog.Logger {
	var level slog.Leveler = s.LogLevel
	if c.level != nil {
		c.level.Set(s.LogLevel)
		level = c.level
	}
	var handler slog.Handler = slog.NewJSONHandler(c.err, &slog.HandlerOptions{Level: level})
	if s.LogFormat != "json" {
		handler = tint.NewTextHandler(c.err, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal(c.err)})
	}
	if c.chain != "" {
		return slog.New(handler).With("chain", c.chain)
	}
	return slog.New(handler)
}

// nodeConfig turns the settings into the pipeline's configuration, or says which setting is wrong.
func (s bundlerSettings) nodeConfig(chainID uint64, entryPoints []entrypoint.EntryPoint, keys []signer.Signer, log *slog.Logger) (node.Config, error) {
	var config node.Config
	mode, err := gas.ParsePriorityFeeMode(s.Proposals.PriorityFeeModeKind, s.Proposals.PriorityFeeModeValue)
	if err != nil {
		return config, badSetting("--priority_fee_mode_kind: %w", err)
	}
	packing, err := proposer.ParsePacking(s.Proposals.BundlePacking)
	if err != nil {
		return config, badSetting("--bundle_packing: %w", err)
	}
	beneficiary, err := optionalAddress("--beneficiary", s.Senders.Beneficiary)
	if err != nil {
		return config, err
	}
	if s.Admin.MaxHeadAge <= 0 {
		return config, badSetting("--max_head_age: have %s, want more than 0", s.Admin.MaxHeadAge)
	}
	minStake, err := wei("--min_stake_value", s.Validation.MinStakeValue, uint256.Int{})
	if err != nil {
		return config, err
	}
	if minStake.IsZero() {
		return config, badSetting("--min_stake_value: have %q, want at least 1", s.Validation.MinStakeValue)
	}
	spec, err := s.Chain.spec(chainID)
	if err != nil {
		return config, err
	}
	if spec.MinPriorityFee, err = wei("--min_priority_fee_per_gas", s.Proposals.MinPriorityFeePerGas, spec.MinPriorityFee); err != nil {
		return config, err
	}
	if spec.MaxFeePerGas, err = wei("--max_fee_per_gas", s.Proposals.MaxFeePerGas, spec.MaxFeePerGas); err != nil {
		return config, err
	}
	if spec.MaxBundleFee, err = wei("--max_bundle_fee", s.Proposals.MaxBundleFee, spec.MaxBundleFee); err != nil {
		return config, err
	}
	if spec.MaxCancellationSpend, err = wei("--max_cancellation_spend", s.Proposals.MaxCancellationSpend, spec.MaxCancellationSpend); err != nil {
		return config, err
	}
	mempool, err := s.Mempool.config(&minStake, s.Validation.MinUnstakeDelay)
	if err != nil {
		return config, err
	}
	if err := s.Validation.check(); err != nil {
		return config, err
	}
	shards, err := s.Senders.shards(len(keys))
	if err != nil {
		return config, err
	}
	config = node.Config{
		ChainID: chainID, EntryPoints: entryPoints, Signers: keys, Beneficiary: beneficiary,
		BundleInterval: time.Duration(s.Senders.BundleMaxSendIntervalMillis) * time.Millisecond,
		MinPriorityFee: spec.MinPriorityFee,
		MaxPriorityFee: *uint256.NewInt(s.Proposals.MaxPriorityFeePerGas),
		LookupBlocks:   10_000, HistorySize: 100_000,
		Pool:   mempool,
		Shards: shards,

		MaxHeadAge:            s.Admin.MaxHeadAge,
		MaxSecondsBeforeValid: s.Validation.MaxSecondsBeforeValid, MaxBlocksBeforeValid: s.Validation.MaxBlocksBeforeValid,
		Proposer:   s.Proposals.config(mode, packing),
		Validation: s.Validation.config(minStake),
		Sender:     s.Senders.config(),
		Follow:     chain.FollowOptions{Log: log, PollInterval: cmp.Or(s.Chain.NodePollInterval, spec.PollInterval())},
	}
	if s.Proposals.BundleNodeCheck == "sampled" {
		config.Validation.NodeCheck = validation.NodeCheckSampled
	}
	config.Proposer.MaxFeePerGas, config.Proposer.MaxBundleFee, config.MaxCancelSpend = spec.MaxFeePerGas, spec.MaxBundleFee, spec.MaxCancellationSpend
	if s.Validation.DataFees != "auto" {
		if spec.DataFees, err = datafee.ParseKind(s.Validation.DataFees); err != nil {
			return config, badSetting("--data_fees: %w", err)
		}
	}
	config.Validation.DataFees = datafee.New(spec.DataFees)
	config.Estimation.DataFees = config.Validation.DataFees
	if config.FollowBundleSize, config.Validation.PreVerification.BundleSize, err = s.Validation.bundleSize(); err != nil {
		return config, err
	}
	config.Estimation.PreVerification = config.Validation.PreVerification
	config.Proposer.PreVerification = config.Validation.PreVerification
	config.Estimation.MaxVerificationGas = s.Validation.MaxVerificationGas
	config.Estimation.ValidationGasSlack = s.Validation.ValidationGasSlack
	config.Estimation.MinCallGas = s.Validation.MinCallGasLimit
	return config, nil
}

// choose returns the keys that get a sender.
func (s senderSettings) choose(keys []signer.Signer) ([]signer.Signer, error) {
	switch {
	case s.NumSigners < 0 || s.NumSigners > len(keys):
		return nil, badSetting("--num_signers: have %d, want 0 (all) to %d, the number of keys", s.NumSigners, len(keys))
	case s.NumSigners == 0:
		return keys, nil
	default:
		return keys[:s.NumSigners], nil
	}
}

// shards returns how the accounts are divided among the keys.
func (s senderSettings) shards(keys int) (node.Shards, error) {
	switch {
	case s.NumShards == 0 && s.ShardIndex == 0:
		return node.Shards{}, nil
	case s.NumShards == 0:
		return node.Shards{}, badSetting("--shard_index: have %d without --num_shards", s.ShardIndex)
	case s.ShardIndex >= s.NumShards || uint64(keys) > s.NumShards-s.ShardIndex:
		return node.Shards{}, badSetting("--num_shards: have %d, want at least --shard_index %d plus the number of keys, %d", s.NumShards, s.ShardIndex, keys)
	default:
		return node.Shards{Count: s.NumShards, First: s.ShardIndex}, nil
	}
}

func (s senderSettings) config() bundlesender.Config {
	config := bundlesender.DefaultConfig()
	config.MaxBlocksToWaitForMine = s.MaxBlocksToWaitForMine
	config.ReplacementFeePercentIncrease = s.ReplacementFeePercentIncrease
	config.MaxReplacementUnderpricedBlocks = s.MaxReplacementUnderpricedBlocks
	config.MaxCancellationFeeIncreases = s.MaxCancellationFeeIncreases
	config.Manual = s.BundlingMode == "manual"
	return config
}

func (s proposerSettings) config(mode gas.PriorityFeeMode, packing proposer.Packing) proposer.Config {
	config := proposer.DefaultConfig()
	config.PriorityFeeMode = mode
	config.Packing = packing
	config.BaseFeeOverheadPercent = s.BundleBaseFeeOverheadPercent
	config.PriorityFeeOverheadPercent = s.BundlePriorityFeeOverheadPercent
	config.MaxBundleSize = s.MaxBundleSize
	config.MaxBundleGas = s.MaxBundleGas
	config.MaxBlockSharePercent = s.MaxBlockSharePercent
	config.GasMarginPercent, config.MaxPassedOver = s.BundleGasMarginPercent, s.MaxEntryPointPassedOver
	config.MaxDeferred = s.MaxDeferred
	config.MaxBundleBytes = min(s.MaxBundleBytes, s.MaxTransactionBytes)
	config.MaxContextBytes = s.MaxBundleContextSize
	config.MinProfit = big.NewInt(s.MinBundleProfit)
	return config
}

func (s poolSettings) config(minStake *uint256.Int, minUnstakeDelay uint64) (pool.Config, error) {
	config := pool.DefaultConfig()
	config.ReplacementFeeIncreasePercent = s.MinReplacementFeeIncreasePercentage
	config.SameSenderCount = s.SameSenderMempoolCount
	config.SameUnstakedEntityCount = s.SameUnstakedEntityMempoolCount
	config.MaxOpsAllowedUnstakedEntity = s.MaxOpsAllowedUnstakedEntity
	config.ThrottledEntityCount = s.ThrottledEntityMempoolCount
	config.ThrottledEntityLiveBlocks = s.ThrottledEntityLiveBlocks
	config.ThrottledEntityBundleCount = s.ThrottledEntityBundleCount
	config.MinInclusionRateDenominator = s.MinInclusionRateDenominator
	config.ThrottlingSlack, config.BanSlack, config.BanOpsSeenPenalty = s.ThrottlingSlack, s.BanSlack, s.BanOpsSeenPenalty
	config.MaxBytes = s.MaxSizeInBytes
	config.MaxSecondsInPool = uint64(s.MaxTimeInPool / time.Second)
	config.MinStake, config.MinUnstakeDelay = *minStake, minUnstakeDelay
	if s.MinInclusionRateDenominator == 0 {
		return config, badSetting("--min_inclusion_rate_denominator: have 0, want at least 1")
	}
	if s.MaxTimeInPool < 0 || s.MaxTimeInPool > 0 && s.MaxTimeInPool < time.Second {
		return config, badSetting("--max_time_in_pool: have %s, want 0 or at least 1s", s.MaxTimeInPool)
	}
	var err error
	if config.Allow, err = addresses("--allow_list", s.AllowList); err != nil {
		return config, err
	}
	config.Block, err = addresses("--block_list", s.BlockList)
	return config, err
}

// check refuses zeros that would be taken for "the default".
func (s validatorSettings) check() error {
	for _, setting := range []struct {
		flag  string
		value uint64
	}{
		{"--max_verification_gas", s.MaxVerificationGas},
		{"--pre_verification_overhead_gas", s.PreVerificationOverheadGas},
		{"--max_userop_size", uint64(max(s.MaxUseropSize, 0))},
		{"--max_context_size", uint64(max(s.MaxContextSize, 0))},
		{"--validation_gas_slack", s.ValidationGasSlack},
		{"--min_call_gas_limit", s.MinCallGasLimit},
		{"--min_unstake_delay", s.MinUnstakeDelay},
		{"--expiry_slack", s.ExpirySlack},
		{"--expiry_block_slack", s.ExpiryBlockSlack},
	} {
		if setting.value == 0 {
			return badSetting("%s: want at least 1", setting.flag)
		}
	}
	return nil
}

// bundleSize reads the size of bundles for which operations are asked to pay.
func (s validatorSettings) bundleSize() (follows bool, size uint64, err error) {
	if s.PvgExpectedBundleSize == "auto" {
		return true, 0, nil
	}
	if size, err = strconv.ParseUint(s.PvgExpectedBundleSize, 10, 32); err != nil || size == 0 {
		return false, 0, badSetting("--pvg_expected_bundle_size: have %q, want a number from 1 on, or auto", s.PvgExpectedBundleSize)
	}
	return false, size, nil
}

func (s validatorSettings) config(minStake uint256.Int) validation.Config {
	limits := erc7562.Limits{
		MaxUserOpSize: s.MaxUseropSize, MaxContextSize: s.MaxContextSize,
		MaxVerificationGas: s.MaxVerificationGas, ValidationGasSlack: s.ValidationGasSlack,
	}
	tracing := map[string]validation.Tracing{
		"never": validation.TracingNever, "fallback": validation.TracingFallback, "always": validation.TracingAlways,
	}
	return validation.Config{
		Tracing: tracing[s.Tracing], Unsafe: s.Unsafe, Stakes: erc7562.StakeLimits{MinStake: minStake, MinUnstakeDelay: s.MinUnstakeDelay},
		Limits: limits, PreVerification: gas.PreVerification{OverheadGas: s.PreVerificationOverheadGas}, ExpirySlack: s.ExpirySlack,
		ExpiryBlockSlack: s.ExpiryBlockSlack, MinCallGasLimit: s.MinCallGasLimit,
	}
}

// entryPointSettings are the EntryPoint versions to serve.
type entryPointSettings struct {
	EntryPoint []string `help:"EntryPoint versions to serve: 0.6, 0.7, 0.8, 0.9 or all." default:"all" placeholder:"VERSION"`
}

// versions returns the versions chosen, newest first: the preferred EntryPoint is the newest.
func (s entryPointSettings) versions() ([]userop.Version, error) {
	if slices.Contains(s.EntryPoint, "all") {
		versions := userop.Versions()
		slices.Reverse(versions)
		return versions, nil
	}
	var versions []userop.Version
	for _, text := range s.EntryPoint {
		version, err := userop.ParseVersion(text)
		if err != nil {
			return nil, badSetting("--entry_point: %w", err)
		}
		if !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	if len(versions) == 0 {
		return nil, badSetting("--entry_point: no version given")
	}
	return versions, nil
}

// deployed returns the canonical EntryPoints of the versions, and complains about those without code on the chain. With
// `all`, those that are not deployed are left out.
func (s entryPointSettings) deployed(ctx context.Context, client *chain.Client) ([]entrypoint.EntryPoint, error) {
	versions, err := s.versions()
	if err != nil {
		return nil, err
	}
	var found []entrypoint.EntryPoint
	for _, version := range versions {
		ep := entrypoint.Canonical(version)
		code, err := client.Code(ctx, common.Hash{}, ep.Address)
		if err != nil {
			return nil, noAnswer("--node_http", err)
		}
		switch {
		case len(code) > 0:
			found = append(found, ep)
		case !slices.Contains(s.EntryPoint, "all"):
			return nil, badSetting("--entry_point: EntryPoint v%s has no code at %s on this chain", version, ep.Address)
		}
	}
	if len(found) == 0 {
		return nil, badSetting("--entry_point: no EntryPoint is deployed on this chain")
	}
	return found, nil
}

// wei reads an amount in decimal; empty is the fallback.
func wei(flag, text string, fallback uint256.Int) (uint256.Int, error) {
	if text == "" {
		return fallback, nil
	}
	amount, err := uint256.FromDecimal(text)
	if err != nil {
		return uint256.Int{}, badSetting("%s: have %q, want wei in decimal", flag, text)
	}
	return *amount, nil
}

func optionalAddress(flag, text string) (common.Address, error) {
	if text == "" {
		return common.Address{}, nil
	}
	list, err := addresses(flag, []string{text})
	if err != nil {
		return common.Address{}, err
	}
	return list[0], nil
}

func addresses(flag string, texts []string) ([]common.Address, error) {
	var list []common.Address
	for _, text := range texts {
		if !common.IsHexAddress(text) {
			return nil, badSetting("%s: have %q, want an address", flag, text)
		}
		list = append(list, common.HexToAddress(text))
	}
	return list, nil
}
