package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"

	"baler/profit"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// The bounds of how many single transactions baler_getProfit returns.
const (
	defaultEntries = 20
	maxEntries     = 1000
)

// profitParam is what is asked of the books.
type profitParam struct{ profit.Query }

// UnmarshalJSON implements [json.Unmarshaler]. Unknown members are errors.
func (p *profitParam) UnmarshalJSON(raw []byte) error {
	wire := struct {
		Since   *string         `json:"since"`
		Signer  *common.Address `json:"signer"`
		Bundles *counterParam   `json:"bundles"`
	}{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wire); err != nil {
		return fmt.Errorf("profit: %w", err)
	}
	p.Query = profit.Query{Bundles: defaultEntries}
	if wire.Since != nil {
		day, err := profit.ParseDay(*wire.Since)
		if err != nil {
			return fmt.Errorf("since: %w", err)
		}
		p.Since = day
	}
	if wire.Signer != nil {
		p.Signer = *wire.Signer
	}
	if wire.Bundles != nil {
		if *wire.Bundles > maxEntries {
			return fmt.Errorf("bundles: have %d, want at most %d", *wire.Bundles, maxEntries)
		}
		p.Bundles = int(*wire.Bundles) //nolint:gosec // at most maxEntries
	}
	return nil
}

// GetProfit is baler_getProfit.
func (a *balerAPI) GetProfit(ctx context.Context, query *profitParam) (*profitAnswer, error) {
	return do(ctx, a.calls, "baler_getProfit", func(ctx context.Context) (*profitAnswer, error) {
		q := profit.Query{Bundles: defaultEntries}
		if query != nil {
			q = query.Query
		}
		report, err := a.baler.Profit(ctx, q)
		if err != nil {
			return nil, err
		}
		return wireReport(report), nil
	})
}

// profitAnswer is the answer of baler_getProfit.
type profitAnswer struct {
	Total   sumJSON         `json:"total"`
	Signers []signerSumJSON `json:"signers"`
	Days    []daySumJSON    `json:"days"`
	Bundles []earningJSON   `json:"bundles"`
}

// sumJSON is a sum on the wire. Profit is a decimal number of wei, because it may be negative.
type sumJSON struct {
	Profit        string         `json:"profit"`
	Earned        *hexutil.U256  `json:"earned"`
	Cost          *hexutil.U256  `json:"cost"`
	L1Fee         *hexutil.U256  `json:"l1Fee"`
	Wasted        *hexutil.U256  `json:"wasted"`
	Bundles       hexutil.Uint64 `json:"bundles"`
	Reverted      hexutil.Uint64 `json:"reverted"`
	Cancellations hexutil.Uint64 `json:"cancellations"`
	Operations    hexutil.Uint64 `json:"operations"`
	GasLimit      hexutil.Uint64 `json:"gasLimit"`
	GasUsed       hexutil.Uint64 `json:"gasUsed"`
	ChargedGas    hexutil.Uint64 `json:"chargedGas"`
}

type signerSumJSON struct {
	Signer common.Address `json:"signer"`
	sumJSON
}

type daySumJSON struct {
	Day string `json:"day"`
	sumJSON
}

// earningJSON is one transaction on the wire.
type earningJSON struct {
	TransactionHash common.Hash     `json:"transactionHash"`
	BlockNumber     hexutil.Uint64  `json:"blockNumber"`
	BlockHash       common.Hash     `json:"blockHash"`
	At              uint64          `json:"at"` // of the block, unix milliseconds
	Signer          common.Address  `json:"signer"`
	EntryPoint      *common.Address `json:"entryPoint,omitempty"`
	Kind            profit.Kind     `json:"kind"`
	Operations      hexutil.Uint64  `json:"operations"`
	GasLimit        hexutil.Uint64  `json:"gasLimit"`
	GasUsed         hexutil.Uint64  `json:"gasUsed"`
	ChargedGas      hexutil.Uint64  `json:"chargedGas"`
	Cost            *hexutil.U256   `json:"cost"`
	L1Fee           *hexutil.U256   `json:"l1Fee"`
	Earned          *hexutil.U256   `json:"earned"`
	Profit          string          `json:"profit"`
	Expected        *string         `json:"expected"`
}

func wireReport(r *profit.Report) *profitAnswer {
	answer := &profitAnswer{
		Total: wireSum(&r.Total), Signers: make([]signerSumJSON, 0, len(r.Signers)), Days: make([]daySumJSON, 0, len(r.Days)),
		Bundles: make([]earningJSON, 0, len(r.Entries)),
	}
	for i := range r.Signers {
		answer.Signers = append(answer.Signers, signerSumJSON{r.Signers[i].Signer, wireSum(&r.Signers[i].Sum)})
	}
	for i := range r.Days {
		answer.Days = append(answer.Days, daySumJSON{r.Days[i].Day.String(), wireSum(&r.Days[i].Sum)})
	}
	for i := range r.Entries {
		answer.Bundles = append(answer.Bundles, wireEarning(&r.Entries[i]))
	}
	return answer
}

func wireSum(s *profit.Sum) sumJSON {
	return sumJSON{
		Profit: s.Profit().String(), Earned: (*hexutil.U256)(&s.Earned), Cost: (*hexutil.U256)(&s.Cost), L1Fee: (*hexutil.U256)(&s.L1Fee),
		Wasted: (*hexutil.U256)(&s.Wasted), Bundles: hexutil.Uint64(s.Bundles), Reverted: hexutil.Uint64(s.Reverted),
		Cancellations: hexutil.Uint64(s.Cancellations), Operations: hexutil.Uint64(s.Operations), GasLimit: hexutil.Uint64(s.GasLimit),
		GasUsed: hexutil.Uint64(s.GasUsed), ChargedGas: hexutil.Uint64(s.ChargedGas),
	}
}

func wireEarning(e *profit.Entry) earningJSON {
	wire := earningJSON{
		TransactionHash: e.Transaction, BlockNumber: hexutil.Uint64(e.Block), BlockHash: e.BlockHash, At: e.Time * 1000, Signer: e.Signer,
		Kind: e.Kind, Operations: hexutil.Uint64(max(e.Operations, 0)), GasLimit: hexutil.Uint64(e.GasLimit),
		GasUsed: hexutil.Uint64(e.GasUsed), ChargedGas: hexutil.Uint64(e.ChargedGas), Cost: (*hexutil.U256)(&e.Cost),
		L1Fee: (*hexutil.U256)(&e.L1Fee), Earned: (*hexutil.U256)(&e.Earned), Profit: e.Profit().String(), Expected: decimal(e.Expected),
	}
	if e.EntryPoint != (common.Address{}) {
		wire.EntryPoint = &e.EntryPoint
	}
	return wire
}

// decimal is a number that may be negative, nil if there is none.
func decimal(n *big.Int) *string {
	if n == nil {
		return nil
	}
	text := n.String()
	return &text
}
