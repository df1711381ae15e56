package evm

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// ChainConfigFor returns the fork rules of a chain: those of go-ethereum for mainnet, Sepolia and Hoodi; for every
// other chain id mainnet's current forks, all active from genesis.
func ChainConfigFor(chainID uint64) *params.ChainConfig {
	if known := knownConfig(chainID); known != nil {
		return known
	}
	return currentForks(chainID)
}

// knownConfig returns go-ethereum's own rules of a chain, nil if it has none.
func knownConfig(chainID uint64) *params.ChainConfig {
	for _, known := range []*params.ChainConfig{params.MainnetChainConfig, params.SepoliaChainConfig, params.HoodiChainConfig} {
		if known.ChainID.IsUint64() && known.ChainID.Uint64() == chainID {
			return known
		}
	}
	return nil
}

// currentForks names mainnet's forks one by one, so that an upgrade of go-ethereum, which may know later ones, does not
// move any gas number.
func currentForks(chainID uint64) *params.ChainConfig {
	zero := func() *uint64 { return new(uint64) }
	return &params.ChainConfig{
		ChainID:                 new(big.Int).SetUint64(chainID),
		HomesteadBlock:          new(big.Int),
		EIP150Block:             new(big.Int),
		EIP155Block:             new(big.Int),
		EIP158Block:             new(big.Int),
		ByzantiumBlock:          new(big.Int),
		ConstantinopleBlock:     new(big.Int),
		PetersburgBlock:         new(big.Int),
		IstanbulBlock:           new(big.Int),
		MuirGlacierBlock:        new(big.Int),
		BerlinBlock:             new(big.Int),
		LondonBlock:             new(big.Int),
		ArrowGlacierBlock:       new(big.Int),
		GrayGlacierBlock:        new(big.Int),
		MergeNetsplitBlock:      new(big.Int),
		TerminalTotalDifficulty: new(big.Int),
		ShanghaiTime:            zero(),
		CancunTime:              zero(),
		PragueTime:              zero(),
		OsakaTime:               zero(),
		BPO1Time:                zero(),
		BPO2Time:                zero(),
		DepositContractAddress:  common.HexToAddress("0x00000000219ab540356cBB839Cbe05303d7705Fa"),
		BlobScheduleConfig: &params.BlobScheduleConfig{
			Cancun: params.DefaultCancunBlobConfig,
			Prague: params.DefaultPragueBlobConfig,
			BPO1:   params.DefaultBPO1BlobConfig,
			BPO2:   params.DefaultBPO2BlobConfig,
		},
	}
}
