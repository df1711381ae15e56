package userop

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// keccak256 of the EIP-712 strings of EntryPoint v0.8 and later. As string constants they cannot be changed, and
// a test computes them again.
const (
	// "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
	domainTypeHash = "\x8b\x73\xc3\xc6\x9b\xb8\xfe\x3d\x51\x2e\xcc\x4c\xf7\x59\xcc\x79\x23\x9f\x7b\x17\x9b\x0f\xfa\xca\xa9\xa7\x5d\x52\x2b\x39\x40\x0f"
	// "ERC4337"
	domainNameHash = "\x36\x4d\xa2\x8a\x5c\x92\xbc\xc8\x7f\xe9\x7c\x88\x13\xa6\xc6\xb8\xa3\xa0\x49\xb0\xea\x0a\x32\x8f\xcb\x0b\x4f\x0e\x00\x33\x75\x86"
	// "1"
	domainVersionHash = "\xc8\x9e\xfd\xaa\x54\xc0\xf2\x0c\x7a\xdf\x61\x28\x82\xdf\x09\x50\xf5\xa9\x51\x63\x7e\x03\x07\xcd\xcb\x4c\x67\x2f\x29\x8b\x8b\xc6"
	// "PackedUserOperation(address sender,uint256 nonce,bytes initCode,bytes callData,bytes32 accountGasLimits,
	// uint256 preVerificationGas,bytes32 gasFees,bytes paymasterAndData)"
	packedTypeHash = "\x29\xa0\xbc\xa4\xaf\x4b\xe3\x42\x13\x98\xda\x00\x29\x5e\x58\xe6\xd7\xde\x38\xcb\x49\x22\x14\x75\x4c\xb6\xa4\x75\x07\xdd\x6f\x8e"
)

// hasher is what one hash computation needs, in one allocation beside the keccak state.
type hasher struct {
	keccak crypto.KeccakState
	buf    [10 * wordSize]byte
	out    common.Hash
}

func (h *hasher) write(b []byte) {
	_, _ = h.keccak.Write(b) // a hash never fails to take bytes
}

func (h *hasher) sum() common.Hash {
	_, _ = h.keccak.Read(h.out[:])
	h.keccak.Reset()
	return h.out
}

func (h *hasher) hash(b []byte) common.Hash {
	h.write(b)
	return h.sum()
}

// Hash returns the operation's hash, equal to getUserOpHash of the EntryPoint at entryPoint on the chain.
//
// For an operation with the EIP-7702 marker (v0.8 and later) delegate is the address that stands, or will stand by
// the operation's own authorization, in the sender's code; it is not used otherwise. Signature, Authorization and
// PaymasterSignature are not part of the hash (ERC-4337, "Definitions").
func (op *UserOperation) Hash(entryPoint common.Address, chainID uint64, delegate common.Address) common.Hash {
	h := &hasher{keccak: crypto.NewKeccakState()}
	if op.Version >= V08 {
		return op.hashTyped(h, entryPoint, chainID, delegate)
	}
	inner := op.hashStruct(h, delegate)
	buf := append(h.buf[:0], inner[:]...)
	buf = appendAddress(buf, entryPoint)
	return h.hash(appendUint64(buf, chainID))
}

// hashTyped is EIP-712: keccak256(0x1901 ++ domain separator ++ struct hash).
func (op *UserOperation) hashTyped(h *hasher, entryPoint common.Address, chainID uint64, delegate common.Address) common.Hash {
	buf := append(h.buf[:0], domainTypeHash...)
	buf = append(buf, domainNameHash...)
	buf = append(buf, domainVersionHash...)
	buf = appendUint64(buf, chainID)
	domain := h.hash(appendAddress(buf, entryPoint))
	inner := op.hashStruct(h, delegate)
	buf = append(h.buf[:0], 0x19, 0x01)
	buf = append(buf, domain[:]...)
	return h.hash(append(buf, inner[:]...))
}

// hashStruct hashes the operation's own fields, dynamic ones as their hash.
func (op *UserOperation) hashStruct(h *hasher, delegate common.Address) common.Hash {
	initCode := op.hashInitCode(h, delegate)
	callData := h.hash(op.CallData)
	paymaster := op.hashPaymasterAndData(h)

	buf := h.buf[:0]
	if op.Version >= V08 {
		buf = append(buf, packedTypeHash...)
	}
	buf = appendAddress(buf, op.Sender)
	buf = appendUint256(buf, &op.Nonce)
	buf = append(buf, initCode[:]...)
	buf = append(buf, callData[:]...)
	if op.Version.Packed() {
		buf = op.appendAccountGasLimits(buf)
		buf = appendUint64(buf, op.PreVerificationGas)
		buf = op.appendGasFees(buf)
	} else {
		buf = appendUint64(buf, op.CallGasLimit)
		buf = appendUint64(buf, op.VerificationGasLimit)
		buf = appendUint64(buf, op.PreVerificationGas)
		buf = appendUint256(buf, &op.MaxFeePerGas)
		buf = appendUint256(buf, &op.MaxPriorityFeePerGas)
	}
	return h.hash(append(buf, paymaster[:]...))
}

// hashInitCode puts the delegate in the place of the EIP-7702 marker (ERC-4337, "Support for EIP-7702
// authorizations").
func (op *UserOperation) hashInitCode(h *hasher, delegate common.Address) common.Hash {
	if op.Factory == nil {
		return h.sum()
	}
	first := *op.Factory
	if op.IsEIP7702() {
		first = delegate
	}
	h.write(append(h.buf[:0], first[:]...))
	h.write(op.FactoryData)
	return h.sum()
}

// hashPaymasterAndData leaves a paymaster signature and its length out of the hash, but not the magic that
// announces it (v0.9).
func (op *UserOperation) hashPaymasterAndData(h *hasher) common.Hash {
	if op.Paymaster == nil {
		return h.sum()
	}
	h.write(op.appendPaymasterFixed(h.buf[:0]))
	data := op.PaymasterData
	signed := op.hasPaymasterSignature()
	if !signed && op.Version >= V09 {
		if n, ok := paymasterSignatureLen(data); ok && n > 0 {
			data, signed = data[:len(data)-n-paymasterSuffixLen], true
		}
	}
	h.write(data)
	if signed {
		h.write(append(h.buf[:0], paymasterSigMagic...))
	}
	return h.sum()
}
