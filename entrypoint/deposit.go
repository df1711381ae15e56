package entrypoint

import (
	"encoding/binary"
	"fmt"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// DepositInfo is what an account, paymaster, factory or aggregator has in an EntryPoint: its deposit, which pays for
// operations, and its stake, which is locked.
type DepositInfo struct {
	Deposit         uint256.Int // wei
	Staked          bool
	Stake           uint256.Int // wei
	UnstakeDelaySec uint32
	WithdrawTime    uint64 // unix seconds from which an unlocked stake may be withdrawn; 0: locked, or no stake
}

// DecodeDepositInfo decodes the result of getDepositInfo.
func DecodeDepositInfo(result []byte) (DepositInfo, error) {
	r := &reader{data: result}
	info := DepositInfo{
		Deposit: r.uint256(0),
		Staked:  r.bool(wordSize),
		Stake:   r.uint256(2 * wordSize),
	}
	delay := r.uint64(3 * wordSize)
	info.WithdrawTime = r.uint64(4 * wordSize)
	if delay > 1<<32-1 {
		r.fail("have unstake delay %d, want at most 32 bits", delay)
	}
	info.UnstakeDelaySec = uint32(delay)
	if r.err != nil {
		return DepositInfo{}, fmt.Errorf("getDepositInfo: %w", r.err)
	}
	return info, nil
}

// DecodeUint256 decodes a result that is one number: getNonce, balanceOf, validateUserOp.
func DecodeUint256(result []byte) (uint256.Int, error) {
	r := &reader{data: result}
	return r.uint256(0), r.err
}

// DecodeValidatePaymasterUserOp decodes the result of a paymaster's validatePaymasterUserOp. The context shares the
// memory of result.
func DecodeValidatePaymasterUserOp(result []byte) (context []byte, validationData uint256.Int, err error) {
	r := &reader{data: result}
	context, validationData = r.bytes(0, 0), r.uint256(wordSize)
	if r.err != nil {
		return nil, uint256.Int{}, fmt.Errorf("validatePaymasterUserOp: %w", r.err)
	}
	return context, validationData, nil
}

// The EntryPoint's state variables: StakeManager's `deposits` comes first, then NonceManager's `nonceSequenceNumber`.
const (
	depositsSlot = 0
	noncesSlot   = 1
)

// DepositSlot returns the storage slot of the EntryPoint that holds the account's deposit. In v0.6 stake and staked
// flag share the word; use [WithDeposit] to change it and [ParseDepositSlots] to read it. Stake and delays (v0.7 and
// later), delays alone (v0.6), follow in the next slot, [StakeSlot].
func DepositSlot(_ userop.Version, account common.Address) common.Hash {
	return mappingSlot(common.BytesToHash(account[:]), wordOf(depositsSlot))
}

// StakeSlot returns the slot after [DepositSlot].
func StakeSlot(v userop.Version, account common.Address) common.Hash {
	slot := DepositSlot(v, account)
	n := new(uint256.Int).SetBytes32(slot[:])
	n.AddUint64(n, 1)
	return n.Bytes32()
}

// NonceSlot returns the storage slot of the EntryPoint that holds the sequence of the sender's nonce key (the upper
// 192 bits of a nonce, right-aligned).
func NonceSlot(_ userop.Version, sender common.Address, key uint256.Int) common.Hash {
	outer := mappingSlot(common.BytesToHash(sender[:]), wordOf(noncesSlot))
	return mappingSlot(key.Bytes32(), outer)
}

// mappingSlot is Solidity's slot of mapping[key] for a mapping at the slot.
func mappingSlot(key, slot common.Hash) common.Hash {
	return crypto.Keccak256Hash(key[:], slot[:])
}

func wordOf(n uint64) (word common.Hash) {
	binary.BigEndian.PutUint64(word[wordSize-8:], n)
	return word
}

// Layout of v0.6's first word, from its low end: deposit (112 bits), staked (8), stake (112).
// Of the second word in v0.7 and later: staked (8), stake (112), unstakeDelaySec (32), withdrawTime (48); in v0.6 it
// holds the last two alone.
const (
	amountBits = 112
	flagBits   = 8
	delayBits  = 32
	timeBits   = 48
)

// ParseDepositSlots reads the two storage words of an account's deposit; they are those of [DepositSlot] and
// [StakeSlot].
func ParseDepositSlots(v userop.Version, deposit, stake common.Hash) DepositInfo {
	first, second := new(uint256.Int).SetBytes32(deposit[:]), new(uint256.Int).SetBytes32(stake[:])
	var info DepositInfo
	staking := second
	if v.Packed() {
		info.Deposit = *first
	} else {
		info.Deposit = takeBits(first, amountBits)
		staking = first
	}
	flag := takeBits(staking, flagBits)
	info.Staked = !flag.IsZero()
	info.Stake = takeBits(staking, amountBits)
	delay, withdraw := takeBits(second, delayBits), takeBits(second, timeBits)
	info.UnstakeDelaySec, info.WithdrawTime = uint32(delay.Uint64()), withdraw.Uint64()
	return info
}

// takeBits returns the lowest bits of the word and shifts them out of it.
func takeBits(word *uint256.Int, n uint) uint256.Int {
	var low uint256.Int
	low.And(word, mask(n))
	word.Rsh(word, n)
	return low
}

// mask returns 2^n - 1.
func mask(n uint) *uint256.Int {
	m := new(uint256.Int).Lsh(uint256.NewInt(1), n)
	return m.SubUint64(m, 1)
}

// WithDeposit returns the word of [DepositSlot] with another deposit in it, in wei. v0.6 holds 112 bits: a larger
// deposit is stored as the largest.
func WithDeposit(v userop.Version, word common.Hash, deposit uint256.Int) common.Hash {
	if v.Packed() {
		return deposit.Bytes32()
	}
	if deposit.Gt(mask(amountBits)) {
		deposit = *mask(amountBits)
	}
	n := new(uint256.Int).SetBytes32(word[:])
	n.Rsh(n, amountBits)
	n.Lsh(n, amountBits)
	return n.Or(n, &deposit).Bytes32()
}
