package evm

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// forkConfig is a fork in the answer of eth_config (EIP-7910).
type forkConfig struct {
	ActivationTime  uint64                    `json:"activationTime"`
	BlobSchedule    *params.BlobConfig        `json:"blobSchedule"`
	ChainID         *hexutil.Big              `json:"chainId"`
	Precompiles     map[string]common.Address `json:"precompiles"`
	SystemContracts map[string]common.Address `json:"systemContracts"`
}

// nodeConfig is the answer of eth_config.
type nodeConfig struct {
	Current *forkConfig `json:"current"`
	Next    *forkConfig `json:"next"`
	Last    *forkConfig `json:"last"`
}

// DetectChainConfig returns the fork rules of a chain as its node tells them by eth_config (EIP-7910): the forks in force
// and those to come, recognised by the precompiled and system contracts that they brought. Where go-ethereum knows the
// chain, or the node does not have the method, the result is that of [ChainConfigFor]. An error is the node's trouble, or
// that it serves another chain.
//
// What a chain has changed beyond such contracts is not in the answer.
func DetectChainConfig(ctx context.Context, node Node, chainID uint64) (*params.ChainConfig, error) {
	if known := knownConfig(chainID); known != nil {
		return known, nil
	}
	var answer nodeConfig
	err := node.CallContext(ctx, &answer, "eth_config")
	if _, answered := errors.AsType[rpc.Error](err); answered || err == nil && answer.Current == nil {
		return ChainConfigFor(chainID), nil
	}
	if err != nil {
		return nil, fmt.Errorf("eth_config: %w", err)
	}
	if id := answer.Current.ChainID; id != nil && id.ToInt().Cmp(new(big.Int).SetUint64(chainID)) != 0 {
		return nil, fmt.Errorf("eth_config: have chain id %s, want %d", id.ToInt(), chainID)
	}
	return answer.rules(chainID), nil
}

// rules returns what the answer says: forks in force are so from the beginning, for nobody runs anything in the past.
func (c nodeConfig) rules(chainID uint64) *params.ChainConfig {
	cfg := currentForks(chainID)
	cfg.CancunTime, cfg.PragueTime, cfg.OsakaTime, cfg.BPO1Time, cfg.BPO2Time = nil, nil, nil, nil, nil
	blobs := c.Current.BlobSchedule
	cfg.BlobScheduleConfig = nil
	if blobs != nil {
		// One schedule, whichever of the forks is the latest.
		cfg.BlobScheduleConfig = &params.BlobScheduleConfig{Cancun: blobs, Prague: blobs}
	}
	c.Current.activate(cfg, 0)
	if c.Next != nil {
		c.Next.activate(cfg, c.Next.ActivationTime)
		cfg.BPO1Time = later(cfg.BlobScheduleConfig, c.Next, func(s *params.BlobScheduleConfig) { s.BPO1 = c.Next.BlobSchedule })
	}
	if c.Last != nil && c.Next != nil && c.Last.ActivationTime > c.Next.ActivationTime {
		c.Last.activate(cfg, c.Last.ActivationTime)
		cfg.BPO2Time = later(cfg.BlobScheduleConfig, c.Last, func(s *params.BlobScheduleConfig) { s.BPO2 = c.Last.BlobSchedule })
	}
	return cfg
}

// later files a fork's blob schedule as one of those that change nothing else (EIP-7892).
func later(s *params.BlobScheduleConfig, f *forkConfig, set func(*params.BlobScheduleConfig)) *uint64 {
	if s == nil || f.BlobSchedule == nil {
		return nil
	}
	set(s)
	return &f.ActivationTime
}

// activate sets the time of each fork whose contracts are there and that is not active earlier.
func (f *forkConfig) activate(cfg *params.ChainConfig, at uint64) {
	_, beaconRoots := f.SystemContracts["BEACON_ROOTS_ADDRESS"]
	_, kzg := f.Precompiles["KZG_POINT_EVALUATION"]
	_, bls := f.Precompiles["BLS12_G1ADD"]
	_, p256 := f.Precompiles["P256VERIFY"]
	_, builders := f.SystemContracts["BUILDER_DEPOSIT_CONTRACT_ADDRESS"]
	// P256VERIFY alone is not Osaka: rollups had it years before.
	osaka := p256 && bls
	for _, fork := range []struct {
		time **uint64
		here bool
	}{
		{&cfg.CancunTime, beaconRoots || kzg}, {&cfg.PragueTime, bls}, {&cfg.OsakaTime, osaka}, {&cfg.AmsterdamTime, builders},
	} {
		if fork.here && *fork.time == nil {
			*fork.time = &at
		}
	}
	if deposits, ok := f.SystemContracts["DEPOSIT_CONTRACT_ADDRESS"]; ok {
		cfg.DepositContractAddress = deposits
	}
}
