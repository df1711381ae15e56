package devchain

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// errUnprotected has the text of geth's own refusal.
var errUnprotected = errors.New("only replay-protected (EIP-155) transactions allowed over RPC")

// sendAPI replaces geth's eth_sendRawTransaction. It does what geth's does, and besides: no transaction can slip between
// the two halves of Drop, and the transaction is executable, not only queued, when the answer leaves.
type sendAPI struct{ chain *Chain }

// SendRawTransaction implements eth_sendRawTransaction. Refusals are the pool's own errors with their texts.
func (s *sendAPI) SendRawTransaction(_ context.Context, input hexutil.Bytes) (common.Hash, error) {
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(input); err != nil {
		return common.Hash{}, err
	}
	if !tx.Protected() {
		return common.Hash{}, errUnprotected
	}
	if tx.Type() == types.BlobTxType {
		return common.Hash{}, fmt.Errorf("%w: this chain mines no blob transactions", types.ErrTxTypeNotSupported)
	}
	s.chain.sends.RLock()
	defer s.chain.sends.RUnlock()
	if err := s.chain.eth.TxPool().Add([]*types.Transaction{tx}, true)[0]; err != nil {
		return common.Hash{}, err
	}
	return tx.Hash(), nil
}
