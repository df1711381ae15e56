package gas

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// ErrNoBaseFee is the error of a header without a base fee.
var ErrNoBaseFee = errors.New("header has no base fee")

// NextBaseFee returns the base fee of the block after parent (EIP-1559), in wei per gas. The error is [ErrNoBaseFee]
// or says what in the header makes no sense; it is the node's fault, never the operation's.
func NextBaseFee(config *params.ChainConfig, parent *types.Header) (uint256.Int, error) {
	if config.IsLondon(parent.Number) && parent.BaseFee == nil {
		return uint256.Int{}, fmt.Errorf("block %v: %w", parent.Number, ErrNoBaseFee)
	}
	if parent.GasLimit < config.ElasticityMultiplier() {
		return uint256.Int{}, fmt.Errorf("block %v: gas limit: have %d, want at least %d",
			parent.Number, parent.GasLimit, config.ElasticityMultiplier())
	}
	next, overflow := uint256.FromBig(eip1559.CalcBaseFee(config, parent))
	if overflow {
		return uint256.Int{}, fmt.Errorf("block %v: next base fee does not fit 256 bits", parent.Number)
	}
	return *next, nil
}
