package validation

import (
	"baler/erc7562"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Config is what an operator may choose. The zero value of a field means its default.
type Config struct {
	Limits          erc7562.Limits      // ERC-7562's constants
	PreVerification gas.PreVerification // how much preVerificationGas an operation must offer

	// MinCallGasLimit is the least callGasLimit: the cost of a CALL with value, 9,000 and the 100 of a warm account.
	MinCallGasLimit uint64
	// MinMaxFee and MinPriorityFee are the least fees, wei per gas, whatever the base fee is.
	MinMaxFee      uint256.Int
	MinPriorityFee uint256.Int
	// ExpirySlack is how many seconds after the head an operation must still be valid; default 30.
	ExpirySlack uint64
	// ExpiryBlockSlack is the same for operations whose validity is in block numbers (v0.9); default 3.
	ExpiryBlockSlack uint64
	// SimulationGas is the gas of the local call that validates one operation; default 30,000,000.
	SimulationGas uint64
	// Beneficiary stands for the bundler in the validation of one operation. It must be without code. The default is
	// an address nobody has.
	Beneficiary common.Address
	// SkipNodeCheck leaves out the node's eth_call that has the last word on a bundle.
	SkipNodeCheck bool
}

// defaultBeneficiary is an address without code and with nobody's key.
func defaultBeneficiary() common.Address {
	return common.Address(crypto.Keccak256([]byte("baler: beneficiary of a simulation"))[12:])
}

func (c Config) withDefaults() Config {
	limits := erc7562.DefaultLimits()
	if c.Limits.MaxUserOpSize == 0 {
		c.Limits.MaxUserOpSize = limits.MaxUserOpSize
	}
	if c.Limits.MaxContextSize == 0 {
		c.Limits.MaxContextSize = limits.MaxContextSize
	}
	if c.Limits.MaxVerificationGas == 0 {
		c.Limits.MaxVerificationGas = limits.MaxVerificationGas
	}
	if c.Limits.ValidationGasSlack == 0 {
		c.Limits.ValidationGasSlack = limits.ValidationGasSlack
	}
	if c.MinCallGasLimit == 0 {
		c.MinCallGasLimit = DefaultMinCallGasLimit
	}
	if c.ExpirySlack == 0 {
		c.ExpirySlack = 30
	}
	if c.ExpiryBlockSlack == 0 {
		c.ExpiryBlockSlack = 3
	}
	if c.SimulationGas == 0 {
		c.SimulationGas = 30_000_000
	}
	if c.Beneficiary == (common.Address{}) {
		c.Beneficiary = defaultBeneficiary()
	}
	return c
}

// DefaultMinCallGasLimit is the cost of a CALL with non-zero value to a warm account (ERC-4337: "The callGasLimit is at
// least the cost of a CALL with non-zero value").
const DefaultMinCallGasLimit = 9_100
