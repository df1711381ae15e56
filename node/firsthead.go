package node

import (
	"time"

	"baler/chain"
	"baler/pool"
)

// headPatience is how long a node may show no new head before its chain is taken as it is.
const headPatience = 30 * time.Second

// firstHead drops the first heads of a node that is behind what was seen before the start: in its state operations wait that
// are mined, and would be bundled once more, and others are not valid yet, and would be taken out. It returns the first head to begin with; false: there is none. A node that
// makes no progress has lost the blocks, and the operations in them were not mined.
func (n *Node) firstHead(updates <-chan chain.Update) (first chain.Update, open bool) {
	if first, open = <-updates; !open {
		return first, false
	}
	seen := max(n.lastMined(), newestAdmission(n.restoring))
	if number := first.Head.Number.Uint64(); number >= seen || seen-number > chain.ReorgDepth {
		return first, true // or it is another chain, made anew
	}
	n.log.Warn("the node is behind what was seen before the start; waiting for it", "head", first.Head.Number, "seen", seen)
	for first.Head.Number.Uint64() < seen {
		patience := time.NewTimer(headPatience)
		select {
		case first, open = <-updates:
			patience.Stop()
			if !open {
				return first, false
			}
			first.Gap = true // as the first of all is: what came before it is not known
		case <-patience.C:
			return first, true
		}
	}
	return first, true
}

// lastMined is the number of the newest block in which the store has seen an operation mined; 0: none.
func (n *Node) lastMined() uint64 {
	for mined, err := range n.config.Store.Latest() {
		if err == nil {
			return mined.Block
		}
	}
	return 0
}

// newestAdmission is the number of the newest block at which one of the operations was admitted; 0: there is none.
func newestAdmission(ops []*pool.Operation) (block uint64) {
	for _, op := range ops {
		block = max(block, op.AddedBlock)
	}
	return block
}
