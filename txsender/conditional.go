package txsender

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// DefaultMaxKnownSlots is how many storage conditions a conditional transaction carries at most. op-geth refuses a cost
// above 1000, where each slot or root costs one, block bounds one and time bounds one (op-geth params/conditional_tx_params.go,
// core/types/transaction_conditional.go Cost); bor refuses 1000 slots or more (bor core/types/transaction_conditional.go
// ValidateLength).
const DefaultMaxKnownSlots = 998

// KnownAccount is what a transaction relies on in one account: the root of its whole storage, or some slots.
type KnownAccount struct {
	Root  common.Hash // zero: none; Slots count then
	Slots map[common.Hash]common.Hash
}

// MarshalJSON writes the root as a hash, or the slots as an object (ERC-7796, knownAccounts).
func (k KnownAccount) MarshalJSON() ([]byte, error) {
	if k.Root != (common.Hash{}) {
		return json.Marshal(k.Root)
	}
	return json.Marshal(k.Slots)
}

func (k KnownAccount) slots() int {
	if k.Root != (common.Hash{}) {
		return 1
	}
	return len(k.Slots)
}

// KnownAccounts is the state a transaction relies on.
type KnownAccounts map[common.Address]KnownAccount

func (k KnownAccounts) slots() int {
	n := 0
	for _, account := range k {
		n += account.slots()
	}
	return n
}

// limit returns at most n conditions: all roots that fit, then slots, one of each account in turn, so that a limit weakens
// the protection of each account rather than taking it from some. The same input gives the same choice.
func (k KnownAccounts) limit(n int) KnownAccounts {
	out := make(KnownAccounts, len(k))
	keys := make(map[common.Address][]common.Hash, len(k))
	addresses := slices.SortedFunc(maps.Keys(k), common.Address.Cmp)
	for _, address := range addresses {
		account := k[address]
		switch {
		case account.Root == (common.Hash{}):
			keys[address] = slices.SortedFunc(maps.Keys(account.Slots), func(a, b common.Hash) int { return bytes.Compare(a[:], b[:]) })
		case n > 0:
			out[address] = KnownAccount{Root: account.Root}
			n--
		}
	}
	for round := 0; n > 0; round++ {
		took := false
		for _, address := range addresses {
			if n == 0 || round >= len(keys[address]) {
				continue
			}
			if out[address].Slots == nil {
				out[address] = KnownAccount{Slots: make(map[common.Hash]common.Hash)}
			}
			slot := keys[address][round]
			out[address].Slots[slot] = k[address].Slots[slot]
			took = true
			n--
		}
		if !took {
			break
		}
	}
	return out
}

// conditions is the second argument of eth_sendRawTransactionConditional.
type conditions struct {
	KnownAccounts  KnownAccounts   `json:"knownAccounts"`
	BlockNumberMin *hexutil.Uint64 `json:"blockNumberMin,omitempty"`
	BlockNumberMax *hexutil.Uint64 `json:"blockNumberMax,omitempty"`
	TimestampMin   *hexutil.Uint64 `json:"timestampMin,omitempty"`
	TimestampMax   *hexutil.Uint64 `json:"timestampMax,omitempty"`
}

func bound(n uint64) *hexutil.Uint64 {
	if n == 0 {
		return nil
	}
	return (*hexutil.Uint64)(&n)
}

// countsParentBlocks are the chains whose sequencer compares block bounds with the parent chain's block number, which we do
// not follow: Arbitrum One, Nova and Sepolia (OffchainLabs/nitro execution/gethexec/sequencer.go preTxFilter,
// OffchainLabs/go-ethereum arbitrum_types/txoptions.go Check).
func countsParentBlocks(chainID uint64) bool {
	return chainID == 42161 || chainID == 42170 || chainID == 421614
}

// Conditional submits with eth_sendRawTransactionConditional (ERC-7796): the sequencer refuses the transaction, at no cost, once the
// state it relies on has changed. What has no conditions, as a cancellation, goes the plain way.
type Conditional struct {
	endpoint Caller
	origin   string
	plain    *Raw
	maxSlots int
	noBlocks bool // block bounds would be misunderstood
	odd      *oddities
}

// Cancellation implements [Sender].
func (*Conditional) Cancellation() Cancellation { return Hard }

// Send implements [Sender]: without conditions, so as a plain node does.
func (c *Conditional) Send(ctx context.Context, tx *types.Transaction) Answer {
	return c.plain.Send(ctx, tx)
}

// SendHinted implements [Hinted].
func (c *Conditional) SendHinted(ctx context.Context, tx *types.Transaction, hints Hints) Answer {
	if c.noBlocks {
		hints.BlockMin, hints.BlockMax = 0, 0
	}
	if !hints.Conditional() {
		return c.plain.Send(ctx, tx)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return unencodable(err)
	}
	var hash common.Hash
	err = c.endpoint.CallContext(ctx, &hash, "eth_sendRawTransactionConditional", hexutil.Bytes(raw), conditions{
		KnownAccounts:  hints.KnownAccounts.limit(c.maxSlots),
		BlockNumberMin: bound(hints.BlockMin), BlockNumberMax: bound(hints.BlockMax),
		TimestampMin: bound(hints.TimeMin), TimestampMax: bound(hints.TimeMax),
	})
	return c.odd.answer(c.origin, err, hash, tx.Hash())
}
