package evm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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

// values are the answers to keys, in their order.
type values struct {
	accounts []account
	nonces   []uint64
	slots    []common.Hash
}

// read asks the node for the keys, and the questions, in one round trip: by calls of the state loader where the
// node takes them, otherwise by single requests in as few batches as Options.BatchSize allows.
func (s *Source) read(ctx context.Context, v *View, want keys, questions []*Question) (values, Stats, error) {
	if !s.loader.use(want) {
		return s.readSingly(ctx, v, want, questions)
	}
	got, stats, err := s.readByCalls(ctx, v, want, questions)
	if !errors.Is(err, errLoader) {
		return got, stats, err
	}
	s.loader.failed()
	got, more, err := s.readSingly(ctx, v, want, nil)
	more.add(stats)
	return got, more, err
}

// reply is where one account's or slot's answers go. Pointers tell an answer from a null.
type reply struct {
	balance *hexutil.Big
	nonce   *hexutil.Uint64
	code    *hexutil.Bytes
	slot    *string
}

// readSingly asks for every value by its own request. While it is not known whether the node takes the state loader's
// calls, these travel with the requests, and are compared with the answers.
func (s *Source) readSingly(ctx context.Context, v *View, want keys, questions []*Question) (values, Stats, error) {
	at := blockRef{v.hash}
	got := values{
		accounts: make([]account, len(want.accounts)), nonces: make([]uint64, len(want.nonces)), slots: make([]common.Hash, len(want.slots)),
	}
	replies := make([]reply, want.len())
	accountReplies, nonceReplies := replies[:len(want.accounts)], replies[len(want.accounts):len(want.accounts)+len(want.nonces)]
	slotReplies := replies[len(want.accounts)+len(want.nonces):]
	batch := make([]rpc.BatchElem, 0, 3*len(want.accounts)+len(want.nonces)+len(want.slots))
	for i, addr := range want.accounts {
		r := &accountReplies[i]
		batch = append(batch,
			rpc.BatchElem{Method: "eth_getBalance", Args: []any{addr, at}, Result: &r.balance},
			rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{addr, at}, Result: &r.nonce})
		hash, code, ok := s.settledCode(addr, v.header)
		if ok {
			got.accounts[i].codeHash, got.accounts[i].code = hash, code
			continue
		}
		batch = append(batch, rpc.BatchElem{Method: "eth_getCode", Args: []any{addr, at}, Result: &r.code})
	}
	for i, addr := range want.nonces {
		if !slices.Contains(want.accounts, addr) {
			batch = append(batch, rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{addr, at}, Result: &nonceReplies[i].nonce})
		}
	}
	for i, slot := range want.slots {
		batch = append(batch, rpc.BatchElem{Method: "eth_getStorageAt", Args: []any{slot.Account, slot.Key, at}, Result: &slotReplies[i].slot})
	}
	probe := s.loader.probe(want, at)
	stats, err := s.sendWith(ctx, batch, probe, questions, at)
	if err != nil {
		return values{}, stats, err
	}
	for i, addr := range want.accounts {
		if err := s.decodeAccount(addr, &accountReplies[i], v, &got.accounts[i]); err != nil {
			return values{}, stats, fmt.Errorf("account %s: %w", addr, err)
		}
	}
	for i, addr := range want.nonces {
		if at := slices.Index(want.accounts, addr); at >= 0 {
			got.nonces[i] = got.accounts[at].nonce
			continue
		}
		if nonceReplies[i].nonce == nil {
			return values{}, stats, fmt.Errorf("nonce of %s: %w", addr, errNoResult)
		}
		got.nonces[i] = uint64(*nonceReplies[i].nonce)
	}
	for i, slot := range want.slots {
		if got.slots[i], err = decodeWord(slotReplies[i].slot); err != nil {
			return values{}, stats, fmt.Errorf("slot %s of %s: %w", slot.Key, slot.Account, err)
		}
	}
	s.loader.judge(probe, got)
	return got, stats, nil
}

func (s *Source) decodeAccount(addr common.Address, r *reply, v *View, a *account) error {
	if r.balance == nil || r.nonce == nil {
		return errNoResult
	}
	balance, overflow := uint256.FromBig(r.balance.ToInt())
	if overflow {
		return fmt.Errorf("balance: have %s, want at most 256 bits", r.balance)
	}
	a.balance, a.nonce, a.nonceKnown = *balance, uint64(*r.nonce), true
	if a.codeHash == (common.Hash{}) { // not settled, so it was asked for
		if r.code == nil {
			return errNoResult
		}
		a.codeHash, a.code = s.keepCode(*r.code)
		s.sight(addr, a.codeHash, a.code, v.header.Number.Uint64())
	}
	a.empty = a.balance.IsZero() && a.nonce == 0 && a.codeHash == types.EmptyCodeHash
	return nil
}

// keepCode files code under its hash.
func (s *Source) keepCode(code []byte) (common.Hash, []byte) {
	if len(code) == 0 {
		return types.EmptyCodeHash, nil
	}
	hash := crypto.Keccak256Hash(code)
	return hash, s.intern(hash, code)
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

// sendWith sends required requests together with the loader's calls and questions, whose failures are left in them.
func (s *Source) sendWith(ctx context.Context, required []rpc.BatchElem, calls *loaderCalls, questions []*Question, at blockRef) (Stats, error) {
	optional := slices.Concat(calls.elems(), elemsOf(questions, at))
	stats, err := s.send(ctx, required, optional)
	n := copy(calls.elems(), optional)
	answered(questions, optional[n:])
	return stats, err
}

// send sends the requests in batches and sends again those that failed because the node does not know the block (yet):
// behind a load balancer the next try may reach one that does. Any other failure of a required request fails the read;
// that of an optional one is left in it.
func (s *Source) send(ctx context.Context, required, optional []rpc.BatchElem) (Stats, error) {
	var stats Stats
	batch := slices.Concat(required, optional)
	again := make([]int, len(batch))
	for i := range again {
		again[i] = i
	}
	for attempt := 1; len(again) > 0; attempt++ {
		if attempt > 1 {
			if err := s.opts.Wait(ctx, attempt-1); err != nil {
				return stats, err
			}
		}
		for chunk := range slices.Chunk(again, s.opts.BatchSize) {
			if err := s.sendChunk(ctx, batch, chunk, &stats); err != nil {
				return stats, err
			}
		}
		again = again[:0]
		for i, elem := range batch {
			switch {
			case elem.Error == nil:
			case IsUnknownBlock(elem.Error):
				again = append(again, i)
			case i < len(required):
				return stats, fmt.Errorf("%s: %w", elem.Method, elem.Error)
			}
		}
		if len(again) > 0 && attempt >= s.opts.Attempts {
			return stats, fmt.Errorf("after %d attempts: %w", attempt, batch[again[0]].Error)
		}
	}
	copy(optional, batch[len(required):])
	return stats, nil
}

// sendChunk sends the requests at the indices and puts their errors in place.
func (s *Source) sendChunk(ctx context.Context, batch []rpc.BatchElem, indices []int, stats *Stats) error {
	chunk := make([]rpc.BatchElem, len(indices))
	for i, index := range indices {
		chunk[i] = batch[index]
		chunk[i].Error = nil
	}
	stats.RoundTrips++
	stats.Requests += len(chunk)
	if err := s.node.BatchCallContext(ctx, chunk); err != nil {
		return err
	}
	for i, index := range indices {
		batch[index].Error = chunk[i].Error
	}
	return nil
}

// IsUnknownBlock reports whether a node's answer means that it has no such block: EIP-1898's code, or the words
// go-ethereum, Erigon, Nethermind, Besu and Reth use.
func IsUnknownBlock(err error) bool {
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
