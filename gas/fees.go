// Package gas is the arithmetic of gas and fees: pre-verification gas, the calldata floor of EIP-7623, a bundle's gas
// limit, and the fees of a bundle and of its replacements.
//
// It is pure: numbers in, numbers out. Gas is in units of gas, fees in wei per gas.
package gas

import "github.com/holiman/uint256"

// Fees are the two EIP-1559 fees of a transaction or an operation, in wei per gas.
type Fees struct {
	MaxFee      uint256.Int
	MaxPriority uint256.Int
}
