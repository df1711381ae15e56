package userop

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// The heads of the ABI tuples: one word per member.
const (
	wordSize       = 32
	flatHeadSize   = 11 * wordSize // UserOperation of v0.6
	packedHeadSize = 9 * wordSize  // PackedUserOperation of v0.7 and later
)

func headSize(v Version) int {
	if v.Packed() {
		return packedHeadSize
	}
	return flatHeadSize
}

// padded rounds a length up to whole ABI words.
func padded(n int) int { return (n + wordSize - 1) / wordSize * wordSize }

// ABISize returns the number of bytes that [UserOperation.AppendABI] appends.
func (op *UserOperation) ABISize() int {
	size := headSize(op.Version)
	for _, n := range [...]int{op.initCodeLen(), len(op.CallData), op.paymasterAndDataLen(), len(op.Signature)} {
		size += wordSize + padded(n)
	}
	return size
}

// PackedSize returns the length of `abi.encode(op)` in bytes: the tuple and the word with its offset. It is what
// ERC-7562's MAX_USEROP_SIZE limits (LIM-010), and the operation's share of the calldata of handleOps.
func (op *UserOperation) PackedSize() int { return wordSize + op.ABISize() }

// AppendABI appends the ABI encoding of the operation's tuple, as the EntryPoint of its version takes it, without
// the leading offset word.
func (op *UserOperation) AppendABI(dst []byte) []byte {
	offset := headSize(op.Version)
	next := func(length int) uint64 {
		at := offset
		offset += wordSize + padded(length)
		return uint64(at)
	}

	dst = appendAddress(dst, op.Sender)
	dst = appendUint256(dst, &op.Nonce)
	dst = appendUint64(dst, next(op.initCodeLen()))
	dst = appendUint64(dst, next(len(op.CallData)))
	if op.Version.Packed() {
		dst = op.appendAccountGasLimits(dst)
		dst = appendUint64(dst, op.PreVerificationGas)
		dst = op.appendGasFees(dst)
	} else {
		dst = appendUint64(dst, op.CallGasLimit)
		dst = appendUint64(dst, op.VerificationGasLimit)
		dst = appendUint64(dst, op.PreVerificationGas)
		dst = appendUint256(dst, &op.MaxFeePerGas)
		dst = appendUint256(dst, &op.MaxPriorityFeePerGas)
	}
	dst = appendUint64(dst, next(op.paymasterAndDataLen()))
	dst = appendUint64(dst, next(len(op.Signature)))

	dst = appendUint64(dst, uint64(op.initCodeLen()))
	start := len(dst)
	dst = appendPadding(op.appendInitCode(dst), start)
	dst = appendBytes(dst, op.CallData)
	dst = appendUint64(dst, uint64(op.paymasterAndDataLen()))
	start = len(dst)
	dst = appendPadding(op.appendPaymasterAndData(dst), start)
	return appendBytes(dst, op.Signature)
}

func appendUint64(dst []byte, n uint64) []byte {
	dst = append(dst, make([]byte, wordSize-8)...)
	return binary.BigEndian.AppendUint64(dst, n)
}

func appendUint256(dst []byte, n *uint256.Int) []byte {
	word := n.Bytes32()
	return append(dst, word[:]...)
}

func appendAddress(dst []byte, a common.Address) []byte {
	dst = append(dst, make([]byte, wordSize-common.AddressLength)...)
	return append(dst, a[:]...)
}

func appendBytes(dst, b []byte) []byte {
	dst = appendUint64(dst, uint64(len(b)))
	start := len(dst)
	return appendPadding(append(dst, b...), start)
}

// appendPadding fills with zeros what was appended since start up to a whole word.
func appendPadding(dst []byte, start int) []byte {
	n := len(dst) - start
	return append(dst, make([]byte, padded(n)-n)...)
}
