package entrypoint

import (
	"encoding/binary"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Function selectors. Those with an operation among their arguments differ between v0.6 and later versions. As string
// constants they cannot be changed; a test compares them with the contracts' ABI.
const (
	selHandleOpsV06               = "\x1f\xad\x94\x8c"
	selHandleOps                  = "\x76\x5e\x82\x7f"
	selHandleAggregatedOpsV06     = "\x4b\x1d\x7c\xf5"
	selHandleAggregatedOps        = "\xdb\xed\x18\xe0"
	selGetUserOpHashV06           = "\xa6\x19\x35\x31"
	selGetUserOpHash              = "\x22\xcd\xde\x4c"
	selValidateUserOpV06          = "\x3a\x87\x1c\xdd"
	selValidateUserOp             = "\x19\x82\x2f\x7c"
	selValidatePaymasterUserOpV06 = "\xf4\x65\xc7\x7e"
	selValidatePaymasterUserOp    = "\x52\xb7\x51\x2c"
	selPostOpV06                  = "\xa9\xa2\x34\x09"
	selPostOp                     = "\x7c\x62\x7b\x21"
	selExecuteUserOp              = "\x8d\xd7\x71\x2f"
	selCreateSender               = "\x57\x0e\x1a\x36"
	selInitEip7702Sender          = "\xc0\x9a\xd0\xd9"
	selGetNonce                   = "\x35\x56\x7e\x1a"
	selBalanceOf                  = "\x70\xa0\x82\x31"
	selGetDepositInfo             = "\x52\x87\xce\x12"
	selDepositTo                  = "\xb7\x60\xfa\xf9"
)

const wordSize = 32

// OpsPerAggregator are operations whose signatures one aggregator contract checks together. With a zero aggregator
// each account checks its own.
type OpsPerAggregator struct {
	Ops        []*userop.UserOperation
	Aggregator common.Address
	Signature  []byte
}

func selector(v userop.Version, v06, later string) string {
	if v.Packed() {
		return later
	}
	return v06
}

// EncodeHandleOps returns the calldata of handleOps(ops, beneficiary) for an EntryPoint of version v. All operations
// must be of a version with the same shape as v (v0.6 flat, later ones packed).
func EncodeHandleOps(v userop.Version, ops []*userop.UserOperation, beneficiary common.Address) []byte {
	buf := make([]byte, 0, 4+3*wordSize+opsSize(ops))
	buf = append(buf, selector(v, selHandleOpsV06, selHandleOps)...)
	buf = appendUint64(buf, 2*wordSize)
	buf = appendAddress(buf, beneficiary)
	return appendOps(buf, ops)
}

// EncodeHandleAggregatedOps returns the calldata of handleAggregatedOps(opsPerAggregator, beneficiary).
func EncodeHandleAggregatedOps(v userop.Version, groups []OpsPerAggregator, beneficiary common.Address) []byte {
	size := 4 + 3*wordSize
	for _, g := range groups {
		size += wordSize + groupSize(g)
	}
	buf := make([]byte, 0, size)
	buf = append(buf, selector(v, selHandleAggregatedOpsV06, selHandleAggregatedOps)...)
	buf = appendUint64(buf, 2*wordSize)
	buf = appendAddress(buf, beneficiary)
	buf = appendUint64(buf, uint64(len(groups)))
	offset := len(groups) * wordSize
	for _, g := range groups {
		buf = appendUint64(buf, uint64(offset))
		offset += groupSize(g)
	}
	for _, g := range groups {
		buf = appendUint64(buf, 3*wordSize)
		buf = appendAddress(buf, g.Aggregator)
		buf = appendUint64(buf, uint64(4*wordSize+opsSize(g.Ops)))
		buf = appendOps(buf, g.Ops)
		buf = appendBytes(buf, g.Signature)
	}
	return buf
}

// groupSize is the length of one UserOpsPerAggregator: its head, operations and signature.
func groupSize(g OpsPerAggregator) int {
	return 4*wordSize + opsSize(g.Ops) + wordSize + padded(len(g.Signature))
}

// opsSize is the length of an encoded array of operations without its length word.
func opsSize(ops []*userop.UserOperation) int {
	size := 0
	for _, op := range ops {
		size += op.PackedSize()
	}
	return size
}

// appendOps appends a dynamic array of operations: length, offsets, tuples.
func appendOps(buf []byte, ops []*userop.UserOperation) []byte {
	buf = appendUint64(buf, uint64(len(ops)))
	offset := len(ops) * wordSize
	for _, op := range ops {
		buf = appendUint64(buf, uint64(offset))
		offset += op.ABISize()
	}
	for _, op := range ops {
		buf = op.AppendABI(buf)
	}
	return buf
}

// EncodeGetUserOpHash returns the calldata of getUserOpHash(op).
func EncodeGetUserOpHash(op *userop.UserOperation) []byte {
	buf := make([]byte, 0, 4+op.PackedSize())
	buf = append(buf, selector(op.Version, selGetUserOpHashV06, selGetUserOpHash)...)
	return op.AppendABI(appendUint64(buf, wordSize))
}

// EncodeGetNonce returns the calldata of getNonce(sender, key); key is the upper 192 bits of a nonce, right-aligned.
func EncodeGetNonce(sender common.Address, key uint256.Int) []byte {
	return appendUint256(appendAddress([]byte(selGetNonce), sender), &key)
}

// EncodeBalanceOf returns the calldata of balanceOf(account): its deposit in the EntryPoint, in wei.
func EncodeBalanceOf(account common.Address) []byte {
	return appendAddress([]byte(selBalanceOf), account)
}

// EncodeDepositTo returns the calldata of depositTo(account), a payable function.
func EncodeDepositTo(account common.Address) []byte {
	return appendAddress([]byte(selDepositTo), account)
}

// EncodeGetDepositInfo returns the calldata of getDepositInfo(account); see [DecodeDepositInfo].
func EncodeGetDepositInfo(account common.Address) []byte {
	return appendAddress([]byte(selGetDepositInfo), account)
}

// EncodeValidateUserOp returns the calldata with which the EntryPoint calls the account's
// validateUserOp(op, hash, missingFunds); missingFunds is in wei.
func EncodeValidateUserOp(op *userop.UserOperation, hash common.Hash, missingFunds *uint256.Int) []byte {
	return encodeValidation(selector(op.Version, selValidateUserOpV06, selValidateUserOp), op, hash, missingFunds)
}

// EncodeValidatePaymasterUserOp returns the calldata with which the EntryPoint calls the paymaster's
// validatePaymasterUserOp(op, hash, maxCost); maxCost is in wei. See [DecodeValidatePaymasterUserOp].
func EncodeValidatePaymasterUserOp(op *userop.UserOperation, hash common.Hash, maxCost *uint256.Int) []byte {
	return encodeValidation(selector(op.Version, selValidatePaymasterUserOpV06, selValidatePaymasterUserOp), op, hash, maxCost)
}

func encodeValidation(sel string, op *userop.UserOperation, hash common.Hash, amount *uint256.Int) []byte {
	buf := make([]byte, 0, 4+3*wordSize+op.ABISize())
	buf = appendUint64(append(buf, sel...), 3*wordSize)
	buf = append(buf, hash[:]...)
	return op.AppendABI(appendUint256(buf, amount))
}

// PostOpMode says to postOp how the operation went.
type PostOpMode uint8

// The modes of IPaymaster.
const (
	PostOpSucceeded      PostOpMode = iota // the operation succeeded
	PostOpOpReverted                       // the operation reverted; the paymaster still pays
	PostOpPostOpReverted                   // v0.6: postOp itself reverted and is called again
)

// EncodePostOp returns the calldata with which the EntryPoint calls the paymaster's postOp. actualGasCost is in wei;
// feePerGas, in wei per gas, is what v0.7 and later add and is not used for v0.6.
func EncodePostOp(v userop.Version, mode PostOpMode, context []byte, actualGasCost, feePerGas *uint256.Int) []byte {
	buf := []byte(selector(v, selPostOpV06, selPostOp))
	head := uint64(3 * wordSize)
	if v.Packed() {
		head += wordSize
	}
	buf = appendUint64(buf, uint64(mode))
	buf = appendUint64(buf, head)
	buf = appendUint256(buf, actualGasCost)
	if v.Packed() {
		buf = appendUint256(buf, feePerGas)
	}
	return appendBytes(buf, context)
}

// EncodeCreateSender returns the calldata with which the EntryPoint calls its SenderCreator's createSender(initCode).
func EncodeCreateSender(initCode []byte) []byte {
	return appendBytes(appendUint64([]byte(selCreateSender), wordSize), initCode)
}

// EncodeInitEip7702Sender returns the calldata with which the EntryPoint (v0.8 and later) calls its SenderCreator's
// initEip7702Sender(sender, data), for an operation with the EIP-7702 marker and data behind it.
func EncodeInitEip7702Sender(sender common.Address, data []byte) []byte {
	buf := appendAddress([]byte(selInitEip7702Sender), sender)
	return appendBytes(appendUint64(buf, 2*wordSize), data)
}

// IsExecuteUserOp reports whether the EntryPoint calls the account with executeUserOp(op, hash) in place of the
// operation's callData: v0.7 and later, if callData begins with that function's selector (ERC-4337).
func IsExecuteUserOp(op *userop.UserOperation) bool {
	return op.Version.Packed() && len(op.CallData) >= 4 && string(op.CallData[:4]) == selExecuteUserOp
}

// ExecuteUserOpSelector returns the selector of IAccountExecute.executeUserOp.
func ExecuteUserOpSelector() [4]byte { return [4]byte([]byte(selExecuteUserOp)) }

// EncodeExecuteUserOp returns the calldata of executeUserOp(op, hash).
func EncodeExecuteUserOp(op *userop.UserOperation, hash common.Hash) []byte {
	buf := make([]byte, 0, 4+2*wordSize+op.ABISize())
	buf = appendUint64(append(buf, selExecuteUserOp...), 2*wordSize)
	return op.AppendABI(append(buf, hash[:]...))
}

// AccountCall returns what the EntryPoint calls the account with to execute the operation, and whether it calls at
// all (v0.6 and later skip the call if callData is empty).
func AccountCall(op *userop.UserOperation, hash common.Hash) (calldata []byte, called bool) {
	if IsExecuteUserOp(op) {
		return EncodeExecuteUserOp(op, hash), true
	}
	return op.CallData, len(op.CallData) > 0
}

func padded(n int) int { return (n + wordSize - 1) / wordSize * wordSize }

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
	dst = append(appendUint64(dst, uint64(len(b))), b...)
	return append(dst, make([]byte, padded(len(b))-len(b))...)
}
