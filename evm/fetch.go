package evm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// blockRef is the block parameter of EIP-1898.
type blockRef struct {
	BlockHash common.Hash `json:"blockHash"`
}

var errNoResult = errors.New("the node answered null")

// reply is where one account's or slot's answers go. Pointers tell an answer from a null.
type reply struct {
	balance *hexutil.Big
	nonce   *hexutil.Uint64
	code    *hexutil.Bytes
	slot    *string
}

// read asks the node for the keys, in as few batches as Options.BatchSize allows.
func (s *Source) read(ctx context.Context, v *View, want keys) ([]account, []common.Hash, Stats, error) {
	var (
		at       = blockRef{v.hash}
		batch    = make([]rpc.BatchElem, 0, 3*len(want.accounts)+len(want.slots))
		replies  = make([]reply, want.len())
		accounts = make([]account, len(want.accounts))
		slots    = make([]common.Hash, len(want.slots))
	)
	for i, addr := range want.accounts {
		r := &replies[i]
		batch = append(batch,
			rpc.BatchElem{Method: "eth_getBalance", Args: []any{addr, at}, Result: &r.balance},
			rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{addr, at}, Result: &r.nonce})
		hash, code, ok := s.settledCode(addr, v.header)
		if ok {
			accounts[i].codeHash, accounts[i].code = hash, code
			continue
		}
		batch = append(batch, rpc.BatchElem{Method: "eth_getCode", Args: []any{addr, at}, Result: &r.code})
	}
	for i, slot := range want.slots {
		r := &replies[len(want.accounts)+i]
		batch = append(batch, rpc.BatchElem{
			Method: "eth_getStorageAt", Args: []any{slot.Account, slot.Key, at}, Result: &r.slot,
		})
	}

	stats, err := s.send(ctx, batch)
	if err != nil {
		return nil, nil, stats, err
	}
	for i, addr := range want.accounts {
		if err := s.decodeAccount(addr, &replies[i], v, &accounts[i]); err != nil {
			return nil, nil, stats, fmt.Errorf("account %s: %w", addr, err)
		}
	}
	for i, slot := range want.slots {
		if slots[i], err = decodeWord(replies[len(want.accounts)+i].slot); err != nil {
			return nil, nil, stats, fmt.Errorf("slot %s of %s: %w", slot.Key, slot.Account, err)
		}
	}
	return accounts, slots, stats, nil
}

func (s *Source) decodeAccount(addr common.Address, r *reply, v *View, a *account) error {
	if r.balance == nil || r.nonce == nil {
		return errNoResult
	}
	balance, overflow := uint256.FromBig(r.balance.ToInt())
	if overflow {
		return fmt.Errorf("balance: have %s, want at most 256 bits", r.balance)
	}
	a.balance, a.nonce = *balance, uint64(*r.nonce)
	if a.codeHash != (common.Hash{}) {
		return nil // settled, not asked for
	}
	if r.code == nil {
		return errNoResult
	}
	a.codeHash = types.EmptyCodeHash
	if len(*r.code) > 0 {
		a.codeHash = crypto.Keccak256Hash(*r.code)
		a.code = s.intern(a.codeHash, *r.code)
	}
	s.sight(addr, a.codeHash, a.code, v.header.Number.Uint64())
	return nil
}

// decodeWord reads a storage value. Nodes differ in how they print small ones ("0x0", "0x", 32 bytes).
func decodeWord(s *string) (common.Hash, error) {
	if s == nil {
		return common.Hash{}, errNoResult
	}
	digits, ok := strings.CutPrefix(*s, "0x")
	if !ok || len(digits) > 2*common.HashLength {
		return common.Hash{}, fmt.Errorf("have %.80q, want at most 32 bytes of 0x-prefixed hex", *s)
	}
	var word common.Hash
	padded := strings.Repeat("0", 2*common.HashLength-len(digits)) + digits
	if _, err := hex.Decode(word[:], []byte(padded)); err != nil {
		return common.Hash{}, fmt.Errorf("have %q: %w", *s, err)
	}
	return word, nil
}

// send sends the requests in batches and sends again those that failed because the node does not know the block (yet):
// behind a load balancer the next try may reach one that does.
func (s *Source) send(ctx context.Context, batch []rpc.BatchElem) (Stats, error) {
	var stats Stats
	for attempt := 1; ; attempt++ {
		for start := 0; start < len(batch); start += s.opts.BatchSize {
			chunk := batch[start:min(start+s.opts.BatchSize, len(batch))]
			stats.RoundTrips++
			stats.Requests += len(chunk)
			if err := s.node.BatchCallContext(ctx, chunk); err != nil {
				return stats, err
			}
		}
		var again []rpc.BatchElem
		var unknown error
		for _, elem := range batch {
			if elem.Error == nil {
				continue
			}
			if !isUnknownBlock(elem.Error) {
				return stats, fmt.Errorf("%s: %w", elem.Method, elem.Error)
			}
			unknown = elem.Error
			elem.Error = nil
			again = append(again, elem)
		}
		if len(again) == 0 {
			return stats, nil
		}
		if attempt >= s.opts.Attempts {
			return stats, fmt.Errorf("after %d attempts: %w", attempt, unknown)
		}
		if err := s.opts.Wait(ctx, attempt); err != nil {
			return stats, err
		}
		batch = again
	}
}

// isUnknownBlock reports whether a node's answer means that it has no such block: EIP-1898's code, or the words
// go-ethereum, Erigon, Nethermind, Besu and Reth use.
func isUnknownBlock(err error) bool {
	const resourceNotFound = -32001
	var coded rpc.Error
	if errors.As(err, &coded) && coded.ErrorCode() == resourceNotFound {
		return true
	}
	text := strings.ToLower(err.Error())
	for _, words := range []string{"header not found", "unknown block", "block not found", "header for hash not found"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
