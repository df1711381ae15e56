package aggregator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"baler/aggregator/bls"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// BLSGas is what the contract of contracts/bls costs a bundle, measured on a chain with mainnet's rules up to Osaka
// (EIP-7883 among them). Most of it is the pairings of EIP-1108: 45,000 and 34,000 for the group, 34,000 for each
// operation, and what hashing a message to the curve takes: 17,000 to 34,000.
func BLSGas() gas.Aggregation {
	return gas.Aggregation{GroupGas: 95_000, OperationGas: 75_000, SignatureBytes: bls.SignatureSize}
}

// maxKeys bounds how many accounts' keys are remembered.
const maxKeys = 100_000

// BLS serves a BLSAggregator of contracts/bls. It does the contract's arithmetic by itself and reads the public keys of
// deployed accounts from the node, each account's once: they never change, as that contract demands. Where an account
// breaks that promise the contract's own answer, in the bundle's validation, is another one; [Set.Culprits] then reads
// the keys again.
type BLS struct {
	at   BLSDomain
	cost gas.Aggregation
	node Node
	keys *lru.Cache[common.Address, bls.PublicKey]
}

// BLSDomain is where signatures are good: it is part of what is signed.
type BLSDomain struct {
	Aggregator common.Address
	EntryPoint common.Address
	ChainID    uint64
}

// NewBLS returns the aggregator of the domain. cost is [BLSGas] unless the chain prices its precompiles in another way.
func NewBLS(domain BLSDomain, cost gas.Aggregation, node Node) *BLS {
	return &BLS{at: domain, cost: cost, node: node, keys: lru.NewCache[common.Address, bls.PublicKey](maxKeys)}
}

// Address implements [Aggregator].
func (b *BLS) Address() common.Address { return b.at.Aggregator }

// Gas implements [Aggregator].
func (b *BLS) Gas() gas.Aggregation { return b.cost }

// ValidateUserOpSignature implements [Aggregator]. The signature in a bundle is empty.
func (b *BLS) ValidateUserOpSignature(ctx context.Context, block common.Hash, op *userop.UserOperation) ([]byte, error) {
	signature, err := bls.ParseSignature(op.Signature)
	if err != nil {
		return nil, refuse(b.at.Aggregator, "%v", err)
	}
	return nil, b.verify(ctx, block, []*userop.UserOperation{op}, signature)
}

// AggregateSignatures implements [Aggregator]. It needs nothing of the block.
func (b *BLS) AggregateSignatures(_ context.Context, _ common.Hash, ops []*userop.UserOperation) ([]byte, error) {
	signatures := make([]bls.Signature, len(ops))
	for i, op := range ops {
		signature, err := bls.ParseSignature(op.Signature)
		if err != nil {
			return nil, refuse(b.at.Aggregator, "operation of %s: %v", op.Sender, err)
		}
		signatures[i] = signature
	}
	sum := bls.Sum(signatures).Bytes()
	return sum[:], nil
}

// ValidateSignatures implements [Aggregator].
func (b *BLS) ValidateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation, signature []byte) error {
	for _, op := range ops {
		if len(op.Signature) != 0 {
			return refuse(b.at.Aggregator, "the operation of %s still carries a signature of its own", op.Sender)
		}
	}
	sum, err := bls.ParseSignature(signature)
	if err != nil {
		return refuse(b.at.Aggregator, "%v", err)
	}
	return b.verify(ctx, block, ops, sum)
}

// verify checks a sum of signatures.
func (b *BLS) verify(ctx context.Context, block common.Hash, ops []*userop.UserOperation, sum bls.Signature) error {
	keys, err := b.publicKeys(ctx, block, ops)
	if err != nil {
		return err
	}
	messages := make([][32]byte, len(ops))
	for i, op := range ops {
		messages[i] = b.at.Message(op, keys[i])
	}
	if !bls.Verify(sum, keys, messages) {
		return refuse(b.at.Aggregator, "the signature is wrong")
	}
	return nil
}

// forget drops what is remembered of the operations' accounts.
func (b *BLS) forget(ops []*userop.UserOperation) {
	for _, op := range ops {
		b.keys.Remove(op.Sender)
	}
}

// publicKeys returns the operations' keys, those that are not known by one batch of questions.
func (b *BLS) publicKeys(ctx context.Context, block common.Hash, ops []*userop.UserOperation) ([]bls.PublicKey, error) {
	keys := make([]bls.PublicKey, len(ops))
	var batch []rpc.BatchElem
	var asked []int
	for i, op := range ops {
		if code := op.InitCode(); len(code) != 0 {
			key, err := initCodeKey(code)
			if err != nil {
				return nil, refuse(b.at.Aggregator, "account %s: %v", op.Sender, err)
			}
			keys[i] = key
			continue
		}
		if key, ok := b.keys.Get(op.Sender); ok {
			keys[i] = key
			continue
		}
		asked = append(asked, i)
		batch = append(batch, rpc.BatchElem{
			Method: "eth_call", Args: []any{message{op.Sender, []byte(selGetPublicKey)}, at(block)}, Result: new(hexutil.Bytes),
		})
	}
	if len(batch) == 0 {
		return keys, nil
	}
	if err := b.node.BatchCallContext(ctx, batch); err != nil {
		return nil, fmt.Errorf("read BLS keys: %w", err)
	}
	for n, i := range asked {
		key, err := b.answeredKey(ops[i].Sender, batch[n])
		if err != nil {
			return nil, err
		}
		keys[i] = key
		b.keys.Add(ops[i].Sender, key)
	}
	return keys, nil
}

// answeredKey reads what an account answered.
func (b *BLS) answeredKey(account common.Address, answer rpc.BatchElem) (bls.PublicKey, error) {
	if answer.Error != nil {
		if _, reverted := isRevert(answer.Error); reverted {
			return bls.PublicKey{}, refuse(b.at.Aggregator, "account %s tells no public key", account)
		}
		return bls.PublicKey{}, fmt.Errorf("read the BLS key of %s: %w", account, answer.Error)
	}
	ret, ok := answer.Result.(*hexutil.Bytes)
	if !ok || len(*ret) < bls.PublicKeySize {
		return bls.PublicKey{}, refuse(b.at.Aggregator, "account %s tells no public key", account)
	}
	key, err := bls.ParsePublicKey((*ret)[:bls.PublicKeySize])
	if err != nil {
		return bls.PublicKey{}, refuse(b.at.Aggregator, "account %s: %v", account, err)
	}
	return key, nil
}

// errInitCode says that an initCode has no room for a key.
var errInitCode = errors.New("initCode does not end with a public key")

// initCodeKey reads the key of an account that is not deployed yet: the end of its initCode.
func initCodeKey(initCode []byte) (bls.PublicKey, error) {
	if len(initCode) < bls.PublicKeySize {
		return bls.PublicKey{}, fmt.Errorf("%w: have %d bytes, want at least %d", errInitCode, len(initCode), bls.PublicKeySize)
	}
	return bls.ParsePublicKey(initCode[len(initCode)-bls.PublicKeySize:])
}

// Message returns what the key signs for an operation: the contract's getUserOpMessage. It covers every field but the
// signature (in v0.9 a paymaster's signature is covered too: the paymaster signs first), the key, and the domain.
func (d BLSDomain) Message(op *userop.UserOperation, key bls.PublicKey) [32]byte {
	public := key.Bytes()
	buf := make([]byte, 0, 5*wordSize)
	buf = append(buf, operationHash(op)...)
	buf = append(buf, crypto.Keccak256(public[:])...)
	buf = append(buf, common.LeftPadBytes(d.Aggregator[:], wordSize)...)
	buf = append(buf, number(d.ChainID)...)
	buf = append(buf, common.LeftPadBytes(d.EntryPoint[:], wordSize)...)
	return [32]byte(crypto.Keccak256(buf))
}

// operationHash is the keccak256 of the abi.encode of the operation's fields without its signature, dynamic ones as their hash.
func operationHash(op *userop.UserOperation) []byte {
	nonce := op.Nonce.Bytes32()
	buf := make([]byte, 0, 10*wordSize)
	buf = append(buf, common.LeftPadBytes(op.Sender[:], wordSize)...)
	buf = append(buf, nonce[:]...)
	buf = append(buf, crypto.Keccak256(op.InitCode())...)
	buf = append(buf, crypto.Keccak256(op.CallData)...)
	if op.Version.Packed() {
		limits, fees := op.AccountGasLimits(), op.GasFees()
		buf = append(buf, limits[:]...)
		buf = append(buf, number(op.PreVerificationGas)...)
		buf = append(buf, fees[:]...)
	} else {
		maxFee, maxPriority := op.MaxFeePerGas.Bytes32(), op.MaxPriorityFeePerGas.Bytes32()
		buf = append(buf, number(op.CallGasLimit)...)
		buf = append(buf, number(op.VerificationGasLimit)...)
		buf = append(buf, number(op.PreVerificationGas)...)
		buf = append(buf, maxFee[:]...)
		buf = append(buf, maxPriority[:]...)
	}
	return crypto.Keccak256(append(buf, crypto.Keccak256(op.PaymasterAndData())...))
}

func number(n uint64) []byte {
	return common.LeftPadBytes(binary.BigEndian.AppendUint64(nil, n), wordSize)
}
