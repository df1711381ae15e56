package userop

import (
	"encoding/json"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// marshalled is the JSON of an operation of any version (ERC-7769): absent members are left out.
type marshalled struct {
	Sender               common.Address `json:"sender"`
	Nonce                *hexutil.U256  `json:"nonce"`
	InitCode             *hexutil.Bytes `json:"initCode,omitempty"` // v0.6
	Factory              *hexutil.Bytes `json:"factory,omitempty"`
	FactoryData          *hexutil.Bytes `json:"factoryData,omitempty"`
	CallData             hexutil.Bytes  `json:"callData"`
	CallGasLimit         hexutil.Uint64 `json:"callGasLimit"`
	VerificationGasLimit hexutil.Uint64 `json:"verificationGasLimit"`
	PreVerificationGas   hexutil.Uint64 `json:"preVerificationGas"`
	MaxFeePerGas         *hexutil.U256  `json:"maxFeePerGas"`
	MaxPriorityFeePerGas *hexutil.U256  `json:"maxPriorityFeePerGas"`

	PaymasterAndData              *hexutil.Bytes  `json:"paymasterAndData,omitempty"` // v0.6
	Paymaster                     *common.Address `json:"paymaster,omitempty"`
	PaymasterVerificationGasLimit *hexutil.Uint64 `json:"paymasterVerificationGasLimit,omitempty"`
	PaymasterPostOpGasLimit       *hexutil.Uint64 `json:"paymasterPostOpGasLimit,omitempty"`
	PaymasterData                 *hexutil.Bytes  `json:"paymasterData,omitempty"`
	PaymasterSignature            *hexutil.Bytes  `json:"paymasterSignature,omitempty"` // v0.9

	Signature hexutil.Bytes            `json:"signature"`
	Auth      *marshalledAuthorization `json:"eip7702Auth,omitempty"`
}

type marshalledAuthorization struct {
	ChainID *hexutil.U256  `json:"chainId"`
	Address common.Address `json:"address"`
	Nonce   hexutil.Uint64 `json:"nonce"`
	YParity hexutil.Uint64 `json:"yParity"`
	R       *hexutil.U256  `json:"r"`
	S       *hexutil.U256  `json:"s"`
}

// MarshalJSON returns the operation in the shape of its version; [Decode] reads it back to an equal operation.
func (op *UserOperation) MarshalJSON() ([]byte, error) {
	m := marshalled{
		Sender:               op.Sender,
		Nonce:                u256(op.Nonce),
		CallData:             op.CallData,
		CallGasLimit:         hexutil.Uint64(op.CallGasLimit),
		VerificationGasLimit: hexutil.Uint64(op.VerificationGasLimit),
		PreVerificationGas:   hexutil.Uint64(op.PreVerificationGas),
		MaxFeePerGas:         u256(op.MaxFeePerGas),
		MaxPriorityFeePerGas: u256(op.MaxPriorityFeePerGas),
		Signature:            op.Signature,
		Auth:                 marshalAuthorization(op.Authorization),
	}
	if op.Version.Packed() {
		op.marshalPacked(&m)
	} else {
		initCode, paymasterAndData := hexutil.Bytes(op.InitCode()), hexutil.Bytes(op.PaymasterAndData())
		m.InitCode, m.PaymasterAndData = &initCode, &paymasterAndData
	}
	return json.Marshal(&m)
}

func (op *UserOperation) marshalPacked(m *marshalled) {
	if op.Factory != nil {
		factory, data := hexutil.Bytes(op.Factory[:]), hexutil.Bytes(op.FactoryData)
		if op.IsEIP7702() {
			factory = factory[:2] // "exactly the INITCODE_EIP7702_MARKER = 0x7702 flag" (ERC-7769)
		}
		m.Factory, m.FactoryData = &factory, &data
	}
	if op.Paymaster == nil {
		return
	}
	verification := hexutil.Uint64(op.PaymasterVerificationGasLimit)
	postOp := hexutil.Uint64(op.PaymasterPostOpGasLimit)
	data := hexutil.Bytes(op.PaymasterData)
	m.Paymaster = op.Paymaster
	m.PaymasterVerificationGasLimit, m.PaymasterPostOpGasLimit = &verification, &postOp
	m.PaymasterData = &data
	if op.hasPaymasterSignature() {
		signature := hexutil.Bytes(op.PaymasterSignature)
		m.PaymasterSignature = &signature
	}
}

func marshalAuthorization(auth *types.SetCodeAuthorization) *marshalledAuthorization {
	if auth == nil {
		return nil
	}
	return &marshalledAuthorization{
		ChainID: u256(auth.ChainID),
		Address: auth.Address,
		Nonce:   hexutil.Uint64(auth.Nonce),
		YParity: hexutil.Uint64(auth.V),
		R:       u256(auth.R),
		S:       u256(auth.S),
	}
}

// u256 returns a copy to marshal from: the operation itself is shared and must not be aliased.
func u256(n uint256.Int) *hexutil.U256 { return (*hexutil.U256)(&n) }
