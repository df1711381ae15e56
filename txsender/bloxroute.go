package txsender

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

const (
	bloxrouteURL Secret = "https://api.blxrbdn.com"
	polygon      uint64 = 137
)

// Bloxroute submits to bloXroute's private transactions on Polygon, by the formats of
// docs.bloxroute.com/polygon/submit-transactions/private-transactions (method, parameters) and
// docs.bloxroute.com/getting-started/authorization-headers.
//
// The relay forgets nothing on request. A cancellation is a transaction, and has nothing to hide: it goes to the public node,
// where every validator sees it.
type Bloxroute struct {
	relay  *endpoint
	public *Raw
	signer types.Signer
	odd    *oddities
}

// Cancellation implements [Sender].
func (*Bloxroute) Cancellation() Cancellation { return Hard }

// Send implements [Sender].
func (b *Bloxroute) Send(ctx context.Context, tx *types.Transaction) Answer {
	if frees(tx, b.signer) {
		return b.public.Send(ctx, tx)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return unencodable(err)
	}
	var taken bloxrouteResult
	params := struct {
		Transaction string `json:"transaction"`
	}{hex.EncodeToString(raw)} // without 0x
	err = b.relay.call(ctx, &taken, "polygon_private_tx", params, nil)
	return b.odd.answer(b.relay.origin, err, taken.hash, tx.Hash())
}

// Close implements io.Closer.
func (b *Bloxroute) Close() error { return b.relay.Close() }

// bloxrouteResult is the transaction's hash, which the documentation names txHash on some chains and tx_hash on others, and
// shows with and without 0x.
type bloxrouteResult struct{ hash common.Hash }

// UnmarshalJSON implements json.Unmarshaler.
func (r *bloxrouteResult) UnmarshalJSON(data []byte) error {
	var result struct {
		TxHash  string `json:"txHash"`
		TxHash2 string `json:"tx_hash"`
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return err
	}
	text := result.TxHash
	if text == "" {
		text = result.TxHash2
	}
	if text == "" {
		return errors.New("have no txHash, want one")
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return fmt.Errorf("txHash: %w", err)
	}
	if len(raw) != common.HashLength {
		return fmt.Errorf("txHash: have %d bytes, want %d", len(raw), common.HashLength)
	}
	r.hash = common.BytesToHash(raw)
	return nil
}
