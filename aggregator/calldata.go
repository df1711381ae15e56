package aggregator

import (
	"context"
	"encoding/binary"
	"errors"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// Selectors of IAggregator (ERC-7766), which differ between v0.6 and later versions, and of the BLS account. A test
// compares them with the contracts' ABI.
const (
	selValidateUserOpSignatureV06 = "\x64\xc5\x30\xcd"
	selValidateUserOpSignature    = "\x06\x2a\x42\x2b"
	selAggregateSignaturesV06     = "\x27\x5e\x2d\x79"
	selAggregateSignatures        = "\xae\x57\x4a\x43"
	selValidateSignaturesV06      = "\xe3\x56\x3a\x4f"
	selValidateSignatures         = "\x2d\xd8\x11\x33"
	selGetPublicKey               = "\x2e\x33\x44\x52"
)

const wordSize = 32

func selector(v userop.Version, v06, later string) []byte {
	if v.Packed() {
		return []byte(later)
	}
	return []byte(v06)
}

// encodeValidateUserOpSignature returns the calldata of validateUserOpSignature(op).
func encodeValidateUserOpSignature(op *userop.UserOperation) []byte {
	data := selector(op.Version, selValidateUserOpSignatureV06, selValidateUserOpSignature)
	return op.AppendABI(appendNumber(data, wordSize))
}

// encodeAggregateSignatures returns the calldata of aggregateSignatures(ops).
func encodeAggregateSignatures(v userop.Version, ops []*userop.UserOperation) []byte {
	data := selector(v, selAggregateSignaturesV06, selAggregateSignatures)
	return append(appendNumber(data, wordSize), opsArray(v, ops)...)
}

// encodeValidateSignatures returns the calldata of validateSignatures(ops, signature).
func encodeValidateSignatures(v userop.Version, ops []*userop.UserOperation, signature []byte) []byte {
	array := opsArray(v, ops)
	data := appendNumber(selector(v, selValidateSignaturesV06, selValidateSignatures), 2*wordSize)
	data = appendNumber(data, 2*wordSize+len(array))
	data = append(data, array...)
	data = append(appendNumber(data, len(signature)), signature...)
	return append(data, make([]byte, -len(signature)&(wordSize-1))...)
}

// opsArray is the encoding of an array of operations. It is what stands in the calldata of handleOps(ops, beneficiary)
// behind the two words of its head.
func opsArray(v userop.Version, ops []*userop.UserOperation) []byte {
	return entrypoint.EncodeHandleOps(v, ops, common.Address{})[4+2*wordSize:]
}

func appendNumber(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint64(append(dst, make([]byte, wordSize-8)...), uint64(n))
}

// decodeBytes reads the answer of a function that returns bytes.
func decodeBytes(ret []byte) ([]byte, bool) {
	number := func(at int) (int, bool) {
		if at > len(ret)-wordSize {
			return 0, false
		}
		high, low := ret[at:at+wordSize-4], binary.BigEndian.Uint32(ret[at+wordSize-4:])
		for _, b := range high {
			if b != 0 {
				return 0, false
			}
		}
		return int(low), true
	}
	at, ok := number(0)
	if !ok {
		return nil, false
	}
	size, ok := number(at)
	if !ok || size > len(ret)-at-wordSize {
		return nil, false
	}
	return ret[at+wordSize : at+wordSize+size], true
}

// message is the transaction object of eth_call.
type message struct {
	To    common.Address `json:"to"`
	Input hexutil.Bytes  `json:"input"`
}

// at names a block in eth_call (EIP-1898): an answer is of that block or an error.
func at(block common.Hash) map[string]any { return map[string]any{"blockHash": block} }

// call asks the node for what a contract returns at a block. A revert is an error with [isRevert].
func call(ctx context.Context, node Node, block common.Hash, to common.Address, input []byte) ([]byte, error) {
	var ret hexutil.Bytes
	err := node.CallContext(ctx, &ret, "eth_call", message{to, input}, at(block))
	return ret, err
}

// revertCode is the JSON-RPC error code of go-ethereum and of what follows it for an eth_call that reverted.
const revertCode = 3

// isRevert reports whether an error of eth_call says that the contract reverted, and with what. Nodes that say so in
// other ways are trouble: better wait than blame an operation.
func isRevert(err error) ([]byte, bool) {
	coded, ok := errors.AsType[rpc.Error](err)
	if !ok || coded.ErrorCode() != revertCode {
		return nil, false
	}
	var data []byte
	if with, ok := errors.AsType[rpc.DataError](err); ok {
		if text, ok := with.ErrorData().(string); ok {
			data, _ = hexutil.Decode(text) // a revert without readable data is a revert still
		}
	}
	return data, true
}
