package evm

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// Block is what code sees of the block it runs in. Fees are in wei per gas, Time in seconds since 1970.
type Block struct {
	Number      uint64
	Time        uint64
	GasLimit    uint64
	BaseFee     *big.Int // nil on a chain without EIP-1559
	BlobBaseFee *big.Int // nil before Cancun
	Coinbase    common.Address
	Random      common.Hash // PREVRANDAO
	Difficulty  *big.Int    // nil or zero: after the merge
}

// AfterHeader returns the block that follows the header: number and time are one more, the base fee is EIP-1559's, the
// rest is the header's. A caller that knows better (a chain with a fixed slot time) changes the fields.
func AfterHeader(cfg *params.ChainConfig, h *types.Header) Block {
	b := AtHeader(cfg, h)
	b.Number++
	b.Time++
	if h.BaseFee != nil {
		b.BaseFee = eip1559.CalcBaseFee(cfg, h)
	}
	return b
}

// AtHeader returns the header's own block, the context in which a node's eth_call runs at that block.
func AtHeader(cfg *params.ChainConfig, h *types.Header) Block {
	b := Block{
		Number:   h.Number.Uint64(),
		Time:     h.Time,
		GasLimit: h.GasLimit,
		Coinbase: h.Coinbase,
		Random:   h.MixDigest,
	}
	if h.Difficulty != nil && h.Difficulty.Sign() > 0 {
		b.Difficulty = new(big.Int).Set(h.Difficulty)
	}
	if h.BaseFee != nil {
		b.BaseFee = new(big.Int).Set(h.BaseFee)
	}
	if h.ExcessBlobGas != nil && cfg.BlobScheduleConfig != nil {
		b.BlobBaseFee = eip4844.CalcBlobFee(cfg, h)
	}
	return b
}
