package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Receipt is a transaction's receipt with what rollups add to it.
//
// Of one that a node gave the logs are read when somebody asks: a bundle of a hundred operations has hundreds, and they are most of
// what there is to read. It has no bloom filter, nor what it takes to encode a receipt for a trie.
type Receipt struct {
	types.Receipt

	// L1Fee is what the transaction paid, beside its gas, for its data on the chain that the rollup settles on, in wei; zero
	// on chains whose receipts have no such field.
	L1Fee uint256.Int
	// OperatorFee is what it paid beside both to an OP stack chain's operator, in wei; zero where receipts do not tell it.
	OperatorFee uint256.Int

	logs json.RawMessage // as the node gave them; nil: they are in Logs
}

// Cost is what the transaction paid in all, in wei.
func (r *Receipt) Cost() uint256.Int {
	var cost uint256.Int
	if r.EffectiveGasPrice != nil {
		price, _ := uint256.FromBig(r.EffectiveGasPrice)
		cost = gas.Cost(r.GasUsed, *price)
	}
	cost.Add(&cost, &r.L1Fee)
	return *cost.Add(&cost, &r.OperatorFee)
}

// ReadLogs returns the transaction's logs. An error says that the node gave something else.
func (r *Receipt) ReadLogs() ([]*types.Log, error) {
	if r.logs == nil {
		return r.Logs, nil
	}
	var logs []*types.Log
	if err := json.Unmarshal(r.logs, &logs); err != nil {
		return nil, fmt.Errorf("logs of transaction %s: %w", r.TxHash, err)
	}
	return logs, nil
}

// wireReceipt is a receipt as nodes give it, as far as it is read at once.
type wireReceipt struct {
	Type              hexutil.Uint64  `json:"type"`
	Status            hexutil.Uint64  `json:"status"`
	TxHash            *common.Hash    `json:"transactionHash"`
	GasUsed           *hexutil.Uint64 `json:"gasUsed"`
	CumulativeGasUsed *hexutil.Uint64 `json:"cumulativeGasUsed"`
	EffectiveGasPrice *hexutil.Big    `json:"effectiveGasPrice"`
	ContractAddress   *common.Address `json:"contractAddress"` // null unless it created one
	BlockHash         *common.Hash    `json:"blockHash"`
	BlockNumber       *hexutil.Big    `json:"blockNumber"`
	TransactionIndex  hexutil.Uint64  `json:"transactionIndex"`
	Logs              json.RawMessage `json:"logs"`

	L1Fee               *hexutil.U256   `json:"l1Fee"`                // OP Stack
	OperatorFeeScalar   hexutil.Uint64  `json:"operatorFeeScalar"`    // OP Stack since Isthmus
	OperatorFeeConstant hexutil.Uint64  `json:"operatorFeeConstant"`  // the same
	FootprintScalar     *hexutil.Uint64 `json:"daFootprintGasScalar"` // OP Stack since Jovian
}

var errReceipt = errors.New("a receipt without a hash, a block, gas used or logs")

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Receipt) UnmarshalJSON(raw []byte) error {
	var wire wireReceipt
	if err := json.Unmarshal(raw, &wire); err != nil {
		return err
	}
	if wire.TxHash == nil || wire.GasUsed == nil || wire.CumulativeGasUsed == nil || wire.BlockNumber == nil || len(wire.Logs) == 0 || wire.Logs[0] != '[' {
		return errReceipt
	}
	r.Receipt = types.Receipt{
		Type: uint8(wire.Type & math.MaxUint8), Status: uint64(wire.Status), TxHash: *wire.TxHash, GasUsed: uint64(*wire.GasUsed),
		CumulativeGasUsed: uint64(*wire.CumulativeGasUsed), EffectiveGasPrice: wire.EffectiveGasPrice.ToInt(),
		BlockNumber: wire.BlockNumber.ToInt(), TransactionIndex: uint(wire.TransactionIndex),
	}
	if wire.ContractAddress != nil {
		r.ContractAddress = *wire.ContractAddress
	}
	if wire.BlockHash != nil {
		r.BlockHash = *wire.BlockHash
	}
	r.logs = wire.Logs
	if wire.L1Fee != nil {
		r.L1Fee = uint256.Int(*wire.L1Fee)
	}
	// A receipt has the fee's parameters, not the fee; a field that came with the upgrade which changed the formula tells the upgrade.
	if scalar := uint64(wire.OperatorFeeScalar); scalar != 0 || wire.OperatorFeeConstant != 0 {
		if scalar > math.MaxUint32 {
			return fmt.Errorf("receipt %s: operatorFeeScalar: have %d, want 32 bits", r.TxHash, scalar)
		}
		r.OperatorFee = gas.NewOperatorFee(uint32(scalar), uint64(wire.OperatorFeeConstant), wire.FootprintScalar != nil).Of(r.GasUsed)
	}
	return nil
}
