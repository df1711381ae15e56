package store

import (
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"baler/journal"
	"baler/userop"
)

// A mined operation's record is RLP: a fifth of the same in JSON, and there is one for each of the operations of many days. Stores of
// format 2 have JSON (recordMined); those records are read as long as they are remembered, and none is written any more.

// packedMined is a mined operation as its record has it.
type packedMined struct {
	Hash        common.Hash
	EntryPoint  common.Address
	Block       uint64
	BlockHash   common.Hash
	Transaction common.Hash
	Number      uint64 // in the order of the history
	Operation   Optional[packedOperation]
	Story       []byte
}

// packedOperation is a user operation.
type packedOperation struct {
	Version                                                uint8
	Sender                                                 common.Address
	Nonce                                                  uint256.Int
	Factory                                                Optional[common.Address]
	FactoryData, CallData                                  []byte
	CallGasLimit, VerificationGasLimit, PreVerificationGas uint64
	MaxFeePerGas, MaxPriorityFeePerGas                     uint256.Int
	Paymaster                                              Optional[common.Address]
	PaymasterVerificationGasLimit, PaymasterPostOpGasLimit uint64
	PaymasterData                                          []byte
	PaymasterSignature                                     Optional[[]byte]
	Signature                                              []byte
	Authorization                                          Optional[types.SetCodeAuthorization]
}

func packOperation(op *userop.UserOperation) packedOperation {
	packed := packedOperation{
		Version: uint8(op.Version), Sender: op.Sender, Nonce: op.Nonce, Factory: OptionalOf(op.Factory), FactoryData: op.FactoryData, CallData: op.CallData,
		CallGasLimit: op.CallGasLimit, VerificationGasLimit: op.VerificationGasLimit, PreVerificationGas: op.PreVerificationGas,
		MaxFeePerGas: op.MaxFeePerGas, MaxPriorityFeePerGas: op.MaxPriorityFeePerGas,
		Paymaster: OptionalOf(op.Paymaster), PaymasterVerificationGasLimit: op.PaymasterVerificationGasLimit,
		PaymasterPostOpGasLimit: op.PaymasterPostOpGasLimit, PaymasterData: op.PaymasterData,
		Signature: op.Signature, Authorization: OptionalOf(op.Authorization),
	}
	if op.PaymasterSignature != nil {
		packed.PaymasterSignature = Optional[[]byte]{op.PaymasterSignature}
	}
	return packed
}

func (p *packedOperation) operation() *userop.UserOperation {
	op := &userop.UserOperation{
		Version: userop.Version(p.Version), Sender: p.Sender, Nonce: p.Nonce, Factory: p.Factory.Pointer(), FactoryData: p.FactoryData, CallData: p.CallData,
		CallGasLimit: p.CallGasLimit, VerificationGasLimit: p.VerificationGasLimit, PreVerificationGas: p.PreVerificationGas,
		MaxFeePerGas: p.MaxFeePerGas, MaxPriorityFeePerGas: p.MaxPriorityFeePerGas,
		Paymaster: p.Paymaster.Pointer(), PaymasterVerificationGasLimit: p.PaymasterVerificationGasLimit,
		PaymasterPostOpGasLimit: p.PaymasterPostOpGasLimit, PaymasterData: p.PaymasterData,
		Signature: p.Signature, Authorization: p.Authorization.Pointer(),
	}
	if len(p.PaymasterSignature) > 0 {
		op.PaymasterSignature = p.PaymasterSignature[0]
	}
	return op
}

// record returns the record.
func (m *packedMined) record() ([]byte, error) {
	payload, err := rlp.EncodeToBytes(m)
	if err != nil {
		return nil, err
	}
	return journal.Seal(recordMinedPacked, payload), nil
}

// unpackMined reads a record of either kind.
func unpackMined(record []byte) (*packedMined, error) {
	kind, payload, err := journal.Open(record)
	if err != nil {
		return nil, damaged(err)
	}
	m := new(packedMined)
	switch kind {
	case recordMinedPacked:
		err = rlp.DecodeBytes(payload, m)
	case recordMined:
		m, err = parseMined(payload)
	default:
		err = fmt.Errorf("have a record of kind %d, want %d", kind, recordMinedPacked)
	}
	if err == nil && len(m.Operation) > 0 {
		_, err = userop.ParseVersion(userop.Version(m.Operation[0].Version).String())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

// parseMined reads what a record of format 2 holds.
func parseMined(text []byte) (*packedMined, error) {
	var stored struct {
		Hash        common.Hash
		EntryPoint  common.Address
		Block       uint64
		BlockHash   common.Hash
		Transaction common.Hash
		Operation   *storedOperation
		Story       json.RawMessage
		Number      uint64
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, err
	}
	m := &packedMined{
		Hash: stored.Hash, EntryPoint: stored.EntryPoint, Block: stored.Block, BlockHash: stored.BlockHash, Transaction: stored.Transaction,
		Number: stored.Number, Story: stored.Story,
	}
	if stored.Operation != nil {
		op, err := stored.Operation.decode()
		if err != nil {
			return nil, err
		}
		m.Operation = Optional[packedOperation]{packOperation(op.Op)}
	}
	return m, nil
}

// mined returns it as those outside know it.
func (m *packedMined) mined() *MinedOperation {
	out := &MinedOperation{Hash: m.Hash, EntryPoint: m.EntryPoint, Block: m.Block, BlockHash: m.BlockHash, Transaction: m.Transaction}
	if len(m.Operation) > 0 {
		out.Operation = m.Operation[0].operation()
	}
	if len(m.Story) > 0 {
		out.Story = m.Story
	}
	return out
}
