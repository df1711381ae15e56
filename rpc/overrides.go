package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/holiman/uint256"
)

// StateOverrides is the state override set of eth_call: what an estimation assumes about accounts instead of
// their state on chain.
type StateOverrides map[common.Address]AccountOverride

// AccountOverride replaces parts of one account. Fields left nil keep the chain's value.
type AccountOverride struct {
	Balance *uint256.Int // wei
	Nonce   *uint64
	Code    *[]byte

	// State replaces the whole storage, StateDiff single slots; at most one of the two is set.
	State     map[common.Hash]common.Hash
	StateDiff map[common.Hash]common.Hash
}

var errStateAndDiff = errors.New("have both state and stateDiff, want one of them")

// UnmarshalJSON decodes one account of the override set, refusing fields it does not know: a misspelt or
// unsupported override must not be ignored silently.
func (o *AccountOverride) UnmarshalJSON(raw []byte) error {
	var fields struct {
		Balance   *hexutil.U256               `json:"balance"`
		Nonce     *hexutil.Uint64             `json:"nonce"`
		Code      *hexutil.Bytes              `json:"code"`
		State     map[common.Hash]common.Hash `json:"state"`
		StateDiff map[common.Hash]common.Hash `json:"stateDiff"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&fields); err != nil {
		return fmt.Errorf("state override: %w", err)
	}
	if fields.State != nil && fields.StateDiff != nil {
		return fmt.Errorf("state override: %w", errStateAndDiff)
	}
	*o = AccountOverride{
		Balance: (*uint256.Int)(fields.Balance),
		Nonce:   (*uint64)(fields.Nonce),
		Code:    (*[]byte)(fields.Code),
		State:   fields.State, StateDiff: fields.StateDiff,
	}
	return nil
}
