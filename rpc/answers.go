package rpc

import (
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// The server calls MarshalJSON of an answer itself, of a nil pointer too: that is the answer null.
const nullJSON = "null"

// MarshalJSON writes the estimate as ERC-7769 has it: quantities, the paymaster's only where there is one.
func (e *GasEstimate) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte(nullJSON), nil
	}
	return json.Marshal(struct {
		PreVerificationGas            hexutil.Uint64  `json:"preVerificationGas"`
		VerificationGasLimit          hexutil.Uint64  `json:"verificationGasLimit"`
		CallGasLimit                  hexutil.Uint64  `json:"callGasLimit"`
		PaymasterVerificationGasLimit *hexutil.Uint64 `json:"paymasterVerificationGasLimit,omitempty"`
		PaymasterPostOpGasLimit       *hexutil.Uint64 `json:"paymasterPostOpGasLimit,omitempty"`
	}{
		hexutil.Uint64(e.PreVerificationGas), hexutil.Uint64(e.VerificationGasLimit), hexutil.Uint64(e.CallGasLimit),
		(*hexutil.Uint64)(e.PaymasterVerificationGasLimit), (*hexutil.Uint64)(e.PaymasterPostOpGasLimit),
	})
}

// MarshalJSON writes the operation twice: its fields beside the inclusion, as ERC-7769 says, and as the member
// `userOperation`, where the clients in use (viem, permissionless.js, ethers-based ones) read it.
func (i *OperationInfo) MarshalJSON() ([]byte, error) {
	if i == nil {
		return []byte(nullJSON), nil
	}
	op, err := json.Marshal(i.Op)
	if err != nil {
		return nil, err
	}
	members := make(map[string]json.RawMessage)
	if err := json.Unmarshal(op, &members); err != nil {
		return nil, fmt.Errorf("operation's JSON: %w", err)
	}
	place := struct {
		UserOperation   json.RawMessage     `json:"userOperation"`
		EntryPoint      common.AddressEIP55 `json:"entryPoint"`
		BlockNumber     *hexutil.Uint64     `json:"blockNumber"`
		BlockHash       *common.Hash        `json:"blockHash"`
		TransactionHash *common.Hash        `json:"transactionHash"`
	}{UserOperation: op, EntryPoint: common.AddressEIP55(i.EntryPoint)}
	if i.Mined != nil {
		place.BlockNumber = (*hexutil.Uint64)(&i.Mined.BlockNumber)
		place.BlockHash, place.TransactionHash = &i.Mined.BlockHash, &i.Mined.TransactionHash
	}
	raw, err := json.Marshal(place)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &members); err != nil { // adds to the members there are
		return nil, err
	}
	return json.Marshal(members)
}

// MarshalJSON writes the receipt as ERC-7769 has it. Without a paymaster its address is zero, as in the EntryPoint's
// event; reason is there only if the operation's call reverted with data.
func (r *OperationReceipt) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte(nullJSON), nil
	}
	logs := r.Logs
	if logs == nil {
		logs = []*types.Log{}
	}
	receipt := r.Receipt
	if len(receipt) == 0 {
		receipt = json.RawMessage(nullJSON)
	}
	return json.Marshal(struct {
		UserOpHash    common.Hash         `json:"userOpHash"`
		EntryPoint    common.AddressEIP55 `json:"entryPoint"`
		Sender        common.AddressEIP55 `json:"sender"`
		Nonce         *hexutil.U256       `json:"nonce"`
		Paymaster     common.AddressEIP55 `json:"paymaster"`
		ActualGasCost *hexutil.U256       `json:"actualGasCost"`
		ActualGasUsed *hexutil.U256       `json:"actualGasUsed"`
		Success       bool                `json:"success"`
		Reason        hexutil.Bytes       `json:"reason,omitempty"`
		Logs          []*types.Log        `json:"logs"`
		Receipt       json.RawMessage     `json:"receipt"`
	}{
		r.UserOpHash, common.AddressEIP55(r.EntryPoint), common.AddressEIP55(r.Sender), (*hexutil.U256)(&r.Nonce),
		common.AddressEIP55(r.Paymaster), (*hexutil.U256)(&r.ActualGasCost), (*hexutil.U256)(&r.ActualGasUsed),
		r.Success, r.Reason, logs, receipt,
	})
}
