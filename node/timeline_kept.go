package node

import (
	"encoding/json"

	"baler/gas"
	"baler/pool"
	"baler/rpc"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
)

// What of a story outlives the process: the whole of one that ended in a block, with the operation in the store's history, and
// when it began of one that waits. What happened meanwhile to an operation that waits over a restart is not kept.

// keptEntry is a [rpc.TimelineEntry] as stores of format 2 had it, in JSON.
type keptEntry struct {
	At          int64           `json:"at"`
	Block       uint64          `json:"block,omitempty"`
	Event       string          `json:"event"`
	Reason      string          `json:"reason,omitempty"`
	Cause       string          `json:"cause,omitempty"`
	Code        int             `json:"code,omitempty"`
	Rule        string          `json:"rule,omitempty"`
	Have        *uint256.Int    `json:"have,omitempty"`
	Want        *uint256.Int    `json:"want,omitempty"`
	About       *common.Address `json:"about,omitempty"`
	Other       *common.Hash    `json:"other,omitempty"`
	Signer      *common.Address `json:"signer,omitempty"`
	Transaction *common.Hash    `json:"tx,omitempty"`
	Nonce       *uint64         `json:"nonce,omitempty"`
	Fees        *gas.Fees       `json:"fees,omitempty"`
	Success     *bool           `json:"success,omitempty"`
	GasUsed     *uint256.Int    `json:"gasUsed,omitempty"`
	GasCost     *uint256.Int    `json:"gasCost,omitempty"`
	Times       int             `json:"times,omitempty"`
	LastAt      int64           `json:"lastAt,omitempty"`
	LastBlock   uint64          `json:"lastBlock,omitempty"`
}

// packedEntry is a [rpc.TimelineEntry] in RLP.
type packedEntry struct {
	At, Block     uint64
	Event         string
	Reason, Cause string
	Code          uint32 // of the two's complement
	Rule          string
	Have, Want    store.Optional[uint256.Int]
	About         store.Optional[common.Address]
	Other         store.Optional[common.Hash]
	Signer        store.Optional[common.Address]
	Transaction   store.Optional[common.Hash]
	Nonce         store.Optional[uint64]
	Fees          store.Optional[gas.Fees]
	Success       store.Optional[bool]
	GasUsed       store.Optional[uint256.Int]
	GasCost       store.Optional[uint256.Int]
	Times         uint64
	LastAt        uint64
	LastBlock     uint64
}

func pack(e *rpc.TimelineEntry) packedEntry {
	return packedEntry{
		At: uint64(e.At), Block: e.Block, Event: e.Event, Reason: e.Reason, Cause: e.Cause, Code: uint32(int32(e.Code)), Rule: e.Rule, //nolint:gosec // a time; a JSON-RPC code
		Have: store.OptionalOf(e.Have), Want: store.OptionalOf(e.Want), About: store.OptionalOf(e.About), Other: store.OptionalOf(e.Other), Signer: store.OptionalOf(e.Signer),
		Transaction: store.OptionalOf(e.Transaction), Nonce: store.OptionalOf(e.Nonce), Fees: store.OptionalOf(e.Fees), Success: store.OptionalOf(e.Success),
		GasUsed: store.OptionalOf(e.GasUsed), GasCost: store.OptionalOf(e.GasCost), Times: uint64(e.Times), LastAt: uint64(e.LastAt), LastBlock: e.LastBlock, //nolint:gosec // a count; a time
	}
}

func (p *packedEntry) entry() rpc.TimelineEntry {
	return rpc.TimelineEntry{
		At: int64(p.At), Block: p.Block, Event: p.Event, Reason: p.Reason, Cause: p.Cause, Code: int(int32(p.Code)), Rule: p.Rule, //nolint:gosec // as above
		Have: p.Have.Pointer(), Want: p.Want.Pointer(), About: p.About.Pointer(), Other: p.Other.Pointer(), Signer: p.Signer.Pointer(),
		Transaction: p.Transaction.Pointer(), Nonce: p.Nonce.Pointer(), Fees: p.Fees.Pointer(), Success: p.Success.Pointer(),
		GasUsed: p.GasUsed.Pointer(), GasCost: p.GasCost.Pointer(), Times: int(p.Times), LastAt: int64(p.LastAt), LastBlock: p.LastBlock, //nolint:gosec // as above
	}
}

// packStory writes a story down, in a tenth of what it takes in memory; nil if there is none.
func packStory(entries []rpc.TimelineEntry) []byte {
	if len(entries) == 0 {
		return nil
	}
	packed := make([]packedEntry, len(entries))
	for i := range entries {
		packed[i] = pack(&entries[i])
	}
	story, err := rlp.EncodeToBytes(packed)
	if err != nil {
		return nil // every field has its RLP
	}
	return story
}

// unpackStory reads a story back. Those in JSON are of a store that was of format 2.
func unpackStory(story []byte) ([]rpc.TimelineEntry, error) {
	switch {
	case len(story) == 0:
		return nil, nil
	case story[0] == '[':
		return parseStory(story)
	}
	var packed []packedEntry
	if err := rlp.DecodeBytes(story, &packed); err != nil {
		return nil, err
	}
	entries := make([]rpc.TimelineEntry, len(packed))
	for i := range packed {
		entries[i] = packed[i].entry()
	}
	return entries, nil
}

func parseStory(text []byte) ([]rpc.TimelineEntry, error) {
	var kept []keptEntry
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	entries := make([]rpc.TimelineEntry, len(kept))
	for i := range kept {
		entries[i] = rpc.TimelineEntry(kept[i])
	}
	return entries, nil
}

// storyOf is what happened to an operation, as far as this process or the store remembers it; nil if neither does.
func (n *Node) storyOf(hash common.Hash) []rpc.TimelineEntry {
	if told := n.timeline.of(hash); told != nil {
		return told
	}
	mined, err := n.config.Store.Mined(hash)
	if err != nil || mined == nil {
		return nil
	}
	entries, err := unpackStory(mined.Story)
	if err != nil {
		n.log.Error("the story of a mined operation could not be read back", "op", hash, "err", err)
		return nil
	}
	return entries
}

// begin begins the story of an operation that was accepted before this process, unless it has one.
func (t *timeline) begin(op *pool.Operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.find(op.Hash) != nil || op.AddedTime == 0 {
		return
	}
	at := moment{ms: int64(op.AddedTime) * 1000, block: op.AddedBlock} //nolint:gosec // a block's time
	t.tell(op.Hash, at.entry(eventAdded))
}
