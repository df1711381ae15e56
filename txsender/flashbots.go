package txsender

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// Flashbots submits to Flashbots Protect, by the formats of flashbots/flashbots-docs
// docs/flashbots-auction/advanced/rpc-endpoint.mdx (methods, signature) and
// docs/flashbots-protect/additional-documentation/status-api.md (status).
//
// The relay knows us by the key that signs requests: only that key may cancel what it sent.
type Flashbots struct {
	relay  *endpoint
	status *endpoint // its url is a prefix: the hash follows
	key    *ecdsa.PrivateKey
	wishes *preferences
	odd    *oddities
}

// preferences is the field of that name of eth_sendPrivateTransaction.
type preferences struct {
	Fast    bool     `json:"fast"`
	Privacy *privacy `json:"privacy,omitempty"`
}

type privacy struct {
	Builders []string `json:"builders"`
}

// wishesFor returns the preferences to send, nil for the relay's own.
func wishesFor(fast bool, builders []string) *preferences {
	if !fast && len(builders) == 0 {
		return nil
	}
	wishes := &preferences{Fast: fast}
	if len(builders) > 0 {
		wishes.Privacy = &privacy{builders}
	}
	return wishes
}

type privateTransaction struct {
	Tx             hexutil.Bytes   `json:"tx"`
	MaxBlockNumber *hexutil.Uint64 `json:"maxBlockNumber,omitempty"`
	Preferences    *preferences    `json:"preferences,omitempty"`
}

// Cancellation implements [Sender]: the relay forgets a transaction on request.
func (*Flashbots) Cancellation() Cancellation { return Soft }

// Send implements [Sender]: the relay tries for as many blocks as it does by itself (25).
func (f *Flashbots) Send(ctx context.Context, tx *types.Transaction) Answer {
	return f.SendHinted(ctx, tx, Hints{})
}

// SendHinted implements [Hinted]: MaxBlock is the last block the relay tries.
func (f *Flashbots) SendHinted(ctx context.Context, tx *types.Transaction, hints Hints) Answer {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return unencodable(err)
	}
	var hash common.Hash
	params := []privateTransaction{{Tx: raw, MaxBlockNumber: bound(hints.MaxBlock), Preferences: f.wishes}}
	err = f.relay.call(ctx, &hash, "eth_sendPrivateTransaction", params, f.sign)
	return f.odd.answer(f.relay.origin, err, hash, tx.Hash())
}

// sign adds X-Flashbots-Signature: the address, and its EIP-191 signature of the hex keccak256 of the exact body.
func (f *Flashbots) sign(body []byte, headers http.Header) error {
	digest := crypto.Keccak256Hash(body).Hex()
	signature, err := crypto.Sign(accounts.TextHash([]byte(digest)), f.key)
	if err != nil {
		return errors.New("sign request to the relay: the key does not sign") // the cause may show it
	}
	headers.Set("X-Flashbots-Signature", crypto.PubkeyToAddress(f.key.PublicKey).Hex()+":"+hexutil.Encode(signature))
	return nil
}

// Status implements [StatusReporter].
func (f *Flashbots) Status(ctx context.Context, hash common.Hash) (Status, error) {
	code, body, err := f.status.exchange(ctx, http.MethodGet, f.status.url+hash.Hex(), f.status.headers.Clone(), nil)
	if err != nil {
		return Status{}, fmt.Errorf("status of %s at %s: %w", hash, f.status.origin, err)
	}
	status, err := decodeStatus(code, body)
	if err != nil {
		return Status{}, fmt.Errorf("status of %s at %s: %w", hash, f.status.origin, err)
	}
	return status, nil
}

func decodeStatus(code int, body []byte) (Status, error) {
	if code != http.StatusOK {
		return Status{}, &statusError{code}
	}
	var answer struct {
		Status       RelayState `json:"status"`
		SimError     string     `json:"simError"`
		RevertReason string     `json:"revertReason"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Status{}, fmt.Errorf("have an unreadable status: %w", err)
	}
	switch answer.Status {
	case RelayPending, RelayIncluded, RelayFailed, RelayCancelled, RelayUnknown:
	default:
		return Status{}, fmt.Errorf("have status %q, want PENDING, INCLUDED, FAILED, CANCELLED or UNKNOWN", tidy(string(answer.Status)))
	}
	detail := tidy(answer.SimError)
	if answer.RevertReason != "" {
		detail = tidy(detail + " " + answer.RevertReason)
	}
	return Status{answer.Status, detail}, nil
}

// Cancel implements [Canceller] with eth_cancelPrivateTransaction. For what the relay does not cancel, the status decides: a
// transaction that it never received or has given up needs no cancelling.
func (f *Flashbots) Cancel(ctx context.Context, hashes []common.Hash) (bool, error) {
	done := true
	var failed []error
	for _, hash := range hashes {
		gone, err := f.cancel(ctx, hash)
		if err != nil {
			failed = append(failed, err)
		}
		done = done && gone
	}
	return done, errors.Join(failed...)
}

func (f *Flashbots) cancel(ctx context.Context, hash common.Hash) (bool, error) {
	var cancelled bool
	params := []struct {
		TxHash common.Hash `json:"txHash"`
	}{{hash}}
	err := f.relay.call(ctx, &cancelled, "eth_cancelPrivateTransaction", params, f.sign)
	if err != nil {
		return false, fmt.Errorf("cancel %s at %s: %w", hash, f.relay.origin, err)
	}
	if cancelled {
		return true, nil
	}
	status, err := f.Status(ctx, hash)
	if err != nil {
		return false, err
	}
	return status.Gone() || status.State == RelayUnknown, nil
}

// Close implements io.Closer.
func (f *Flashbots) Close() error { return errors.Join(f.relay.Close(), f.status.Close()) }

// flashbotsURLs are the relay and the status API of the chains that Flashbots Protect serves (the sources above).
func flashbotsURLs(chainID uint64) (relay, status Secret, served bool) {
	switch chainID {
	case 1:
		return "https://relay.flashbots.net", "https://protect.flashbots.net/tx/", true
	case 11155111:
		return "https://relay-sepolia.flashbots.net", "https://protect-sepolia.flashbots.net/tx/", true
	default:
		return "", "", false
	}
}
