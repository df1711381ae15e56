package load

import (
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Calls of the contracts a load needs. Their arguments are few and of fixed size, so they are encoded by hand.

// selector returns the four bytes that name a function.
func selector(signature string) []byte { return crypto.Keccak256([]byte(signature))[:4] }

func word(n *uint256.Int) []byte {
	b := n.Bytes32()
	return b[:]
}

func word64(n uint64) []byte { return word(uint256.NewInt(n)) }

func wordAddress(a common.Address) []byte { return common.LeftPadBytes(a[:], 32) }

func joined(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// encodeGetAddress is SimpleAccountFactory.getAddress: the address createAccount will give the account.
func encodeGetAddress(owner common.Address, salt uint64) []byte {
	return joined(selector("getAddress(address,uint256)"), wordAddress(owner), word64(salt))
}

// encodeCreateAccount is SimpleAccountFactory.createAccount, the factory data of a first operation.
func encodeCreateAccount(owner common.Address, salt uint64) []byte {
	return joined(selector("createAccount(address,uint256)"), wordAddress(owner), word64(salt))
}

// encodeExecute is SimpleAccount.execute with empty call data: a transfer of value wei.
func encodeExecute(to common.Address, value uint64) []byte {
	return joined(selector("execute(address,uint256,bytes)"), wordAddress(to), word64(value), word64(0x60), word64(0))
}

// encodeGetNonce is EntryPoint.getNonce for key 0.
func encodeGetNonce(sender common.Address) []byte {
	return joined(selector("getNonce(address,uint192)"), wordAddress(sender), word64(0))
}

// encodePaymasterGetHash is VerifyingPaymaster.getHash: what its signer signs for an operation that is sponsored
// without an end (validUntil 0) from the start (validAfter 0).
func encodePaymasterGetHash(op *userop.UserOperation) []byte {
	name := "getHash((address,uint256,bytes,bytes,uint256,uint256,uint256,uint256,uint256,bytes,bytes),uint48,uint48)"
	if op.Version.Packed() {
		name = "getHash((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes),uint48,uint48)"
	}
	return op.AppendABI(joined(selector(name), word64(0x60), word64(0), word64(0)))
}

// innerCall is one call of Multicall3; none may fail.
type innerCall struct {
	to    common.Address
	value *uint256.Int
	data  []byte
}

// encodeAggregate3Value is Multicall3.aggregate3Value.
func encodeAggregate3Value(calls []innerCall) []byte {
	offsets, tuples := []byte(nil), []byte(nil)
	for _, call := range calls {
		offsets = append(offsets, word64(uint64(32*len(calls)+len(tuples)))...)
		padding := make([]byte, (32-len(call.data)%32)%32)
		tuples = append(tuples, joined(wordAddress(call.to), word64(0), word(call.value), word64(0x80),
			word64(uint64(len(call.data))), call.data, padding)...)
	}
	return joined(selector("aggregate3Value((address,bool,uint256,bytes)[])"), word64(0x20), word64(uint64(len(calls))), offsets, tuples)
}
