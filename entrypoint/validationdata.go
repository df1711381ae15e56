package entrypoint

import (
	"errors"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// ErrMixedRanges says that account and paymaster of one operation limit its validity in different units. ERC-4337
// forbids it: one timestamp and one block number cannot be mixed in the same operation's validity range.
var ErrMixedRanges = errors.New("account and paymaster mix a time range and a block range")

// ValidationData is what validateUserOp and validatePaymasterUserOp return (ERC-4337): who checks the signature, and
// when the operation is valid.
type ValidationData struct {
	Aggregator common.Address // zero: checked by the account; 1: the signature is wrong; else a contract
	ValidAfter uint64         // unix seconds, or a block number if Blocks
	ValidUntil uint64         // the same; 0: without end
	Blocks     bool           // the range is in block numbers (v0.9)
}

// A bound with its highest bit set is a block number, in v0.9 and if both bounds have it.
const (
	boundBits      = 48
	maxBound       = 1<<boundBits - 1
	blockRangeFlag = 1 << (boundBits - 1)
	blockRangeMask = blockRangeFlag - 1
)

// signatureFailed is SIG_VALIDATION_FAILED as an aggregator.
func signatureFailed() common.Address { return common.Address{19: 1} }

// ParseValidationData unpacks the word as the EntryPoint of version v does: aggregator in the low 160 bits, then
// validUntil and validAfter with 48 bits each. In v0.9 a range is in blocks if both bounds have the highest bit, a zero
// validUntil counting as the largest number.
func ParseValidationData(v userop.Version, data uint256.Int) ValidationData {
	word := data.Bytes32()
	until := new(uint256.Int).Rsh(&data, 160).Uint64() & maxBound
	after := new(uint256.Int).Rsh(&data, 160+boundBits).Uint64() & maxBound
	d := ValidationData{Aggregator: common.Address(word[12:]), ValidAfter: after, ValidUntil: until}
	if v < userop.V09 || after < blockRangeFlag || until != 0 && until < blockRangeFlag {
		return d
	}
	d.Blocks = true
	d.ValidAfter, d.ValidUntil = after&blockRangeMask, until&blockRangeMask
	if until == blockRangeFlag {
		// Until block zero: never. A zero ValidUntil would say for ever, so the range is made empty otherwise.
		d.ValidAfter, d.ValidUntil = max(d.ValidAfter, 1), 1
	}
	return d
}

// SignatureFailed reports whether the contract says that the signature is wrong.
func (d ValidationData) SignatureFailed() bool { return d.Aggregator == signatureFailed() }

// HasAggregator reports whether a contract must check the signature.
func (d ValidationData) HasAggregator() bool {
	return d.Aggregator != (common.Address{}) && !d.SignatureFailed()
}

// Unlimited reports whether the operation is valid at any time.
func (d ValidationData) Unlimited() bool { return d.ValidAfter == 0 && d.ValidUntil == 0 }

// InRange reports whether the EntryPoint of version v, in the block with the number and timestamp (unix seconds), would
// find the operation within its range. v0.6 and v0.7 count ValidAfter itself as valid, later versions do not.
func (d ValidationData) InRange(v userop.Version, number, timestamp uint64) bool {
	now := timestamp
	if d.Blocks {
		now = number
	}
	if d.ValidUntil != 0 && now > d.ValidUntil {
		return false
	}
	if v >= userop.V08 && !d.Unlimited() {
		return now > d.ValidAfter
	}
	return now >= d.ValidAfter
}

// Intersect returns when both the account's and the paymaster's ranges hold, with the account's aggregator. The
// paymaster's own verdict on its signature is not part of the result. It fails with [ErrMixedRanges] if one range is in
// blocks and the other in seconds.
func Intersect(account, paymaster ValidationData) (ValidationData, error) {
	switch {
	case paymaster.Unlimited():
		return account, nil
	case account.Unlimited():
		paymaster.Aggregator = account.Aggregator
		return paymaster, nil
	case account.Blocks != paymaster.Blocks:
		return ValidationData{}, ErrMixedRanges
	}
	account.ValidAfter = max(account.ValidAfter, paymaster.ValidAfter)
	if account.ValidUntil == 0 || paymaster.ValidUntil != 0 && paymaster.ValidUntil < account.ValidUntil {
		account.ValidUntil = paymaster.ValidUntil
	}
	return account, nil
}
