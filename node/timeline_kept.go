package node

import (
	"encoding/json"

	"baler/gas"
	"baler/pool"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// What of a story outlives the process: the whole of one that ended in a block, with the operation in the store's history, and
// when it began of one that waits. What happened meanwhile to an operation that waits over a restart is not kept.

// keptEntry is a [rpc.TimelineEntry] as the store has it.
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

// packStory writes a story down; nil if there is none.
func packStory(entries []rpc.TimelineEntry) json.RawMessage {
	if len(entries) == 0 {
		return nil
	}
	kept := make([]keptEntry, len(entries))
	for i := range entries {
		kept[i] = keptEntry(entries[i])
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil // every field has its JSON
	}
	return text
}

// unpackStory reads a story back.
func unpackStory(text json.RawMessage) ([]rpc.TimelineEntry, error) {
	if text == nil {
		return nil, nil
	}
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
