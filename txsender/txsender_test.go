package txsender

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/core/types"
)

// rpcError is a JSON-RPC error answer.
type rpcError struct {
	code    int
	message string
}

func (e rpcError) Error() string  { return e.message }
func (e rpcError) ErrorCode() int { return e.code }

// fakeNode takes transactions like eth_sendRawTransaction does.
type fakeNode struct {
	err   error
	hash  *common.Hash // answered instead of the transaction's own
	taken []*types.Transaction
}

func (n *fakeNode) CallContext(_ context.Context, result any, method string, args ...any) error {
	if method != "eth_sendRawTransaction" || len(args) != 1 {
		return fmt.Errorf("unexpected call %s with %d arguments", method, len(args))
	}
	if n.err != nil {
		return n.err
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(args[0].(hexutil.Bytes)); err != nil {
		return err
	}
	n.taken = append(n.taken, tx)
	hash := tx.Hash()
	if n.hash != nil {
		hash = *n.hash
	}
	*result.(*common.Hash) = hash
	return nil
}

func TestAnAcceptedTransactionArrivesByteForByte(t *testing.T) {
	node := &fakeNode{}
	tx := types.NewTx(&types.LegacyTx{Nonce: 7, Gas: 21000})
	if answer := NewRaw(node).Send(t.Context(), tx); answer.Class != Accepted {
		t.Fatalf("have %v, want accepted", answer)
	}
	if len(node.taken) != 1 || node.taken[0].Hash() != tx.Hash() {
		t.Fatalf("the node has %v, want the transaction once", node.taken)
	}
}

func TestWhatTheNodeDidNotJudgeIsUnknown(t *testing.T) {
	other := common.Hash{1}
	for name, node := range map[string]*fakeNode{
		"timeout":           {err: context.DeadlineExceeded},
		"connection lost":   {err: errors.New("EOF")},
		"another hash":      {hash: &other},
		"unheard of answer": {err: rpcError{-32000, "the moon is in the wrong house"}},
	} {
		if answer := NewRaw(node).Send(t.Context(), types.NewTx(&types.LegacyTx{})); answer.Class != Unknown || answer.Text == "" {
			t.Errorf("%s: have %+v, want unknown with its text", name, answer)
		}
	}
}

// The phrases are those of the geth we build with, so a renamed error fails here and not in production.
func TestGethsOwnErrorsAreUnderstood(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Class
	}{
		{txpool.ErrAlreadyKnown, AlreadyKnown},
		{txpool.ErrReplaceUnderpriced, ReplacementUnderpriced},
		{txpool.ErrUnderpriced, Underpriced},
		{txpool.ErrTxGasPriceTooLow, Underpriced},
		{txpool.ErrGasLimit, GasLimitTooHigh},
		{txpool.ErrOversizedData, Rejected},
		{txpool.ErrAccountLimitExceeded, PoolFull},
		{txpool.ErrOutOfCapacity, PoolFull},
		{txpool.ErrAlreadyReserved, Rejected},
		{txpool.ErrInflightTxLimitReached, PoolFull},
		{legacypool.ErrTxPoolOverflow, PoolFull},
		{legacypool.ErrOutOfOrderTxFromDelegated, NonceTooHigh},
		{legacypool.ErrAuthorityReserved, Rejected},
		{core.ErrNonceTooLow, NonceTooLow},
		{core.ErrNonceTooHigh, NonceTooHigh},
		{core.ErrInsufficientFunds, InsufficientFunds},
		{core.ErrFeeCapTooLow, BelowBaseFee},
		{core.ErrIntrinsicGas, IntrinsicGasTooLow},
		{core.ErrFloorDataGas, IntrinsicGasTooLow},
		{core.ErrGasLimitTooHigh, GasLimitTooHigh},
		{types.ErrTxTypeNotSupported, Rejected},
		{fmt.Errorf("%w: balance 5, tx cost 9, overshot 4", core.ErrInsufficientFunds), InsufficientFunds},
		{errors.New("tx fee (1.30 ether) exceeds the configured cap (1.00 ether)"), FeeCapExceeded},
	} {
		answer := NewRaw(&fakeNode{err: rpcError{-32000, test.err.Error()}}).Send(t.Context(), types.NewTx(&types.LegacyTx{}))
		if answer.Class != test.want {
			t.Errorf("%q: have %s, want %s", test.err, answer.Class, test.want)
		}
	}
}

// A phrase that contains an earlier row's phrase would never be reached.
func TestNoRowOfTheTableHidesAnother(t *testing.T) {
	rows := Table()
	for i, row := range rows {
		for _, earlier := range rows[:i] {
			if (earlier.Code == 0 || earlier.Code == row.Code) && holdsPhrase(row.Phrase, earlier.Phrase) && earlier.Class != row.Class {
				t.Errorf("%q (%s) is hidden by %q (%s)", row.Phrase, row.Class, earlier.Phrase, earlier.Class)
			}
		}
	}
}

func TestABrokenTableIsRefused(t *testing.T) {
	const row = "[[answer]]\nclient=\"c\"\ncode=0\nphrase=\"p\"\nclass=\"rejected\"\nsource=\"s\"\n"
	if _, err := parseTable(row); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"unknown key":    row + "colour=\"red\"\n",
		"unknown class":  strings.Replace(row, "rejected", "refused", 1),
		"accepted class": strings.Replace(row, "rejected", "accepted", 1),
		"without phrase": strings.Replace(row, "\"p\"", "\"\"", 1),
		"without source": strings.Replace(row, "\"s\"", "\"\"", 1),
		"not TOML":       "answer",
	} {
		if _, err := parseTable(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
