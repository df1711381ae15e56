package pool

import "github.com/ethereum/go-ethereum/common"

// SetLists replaces the lists of entities that nothing limits and of those whose operations are refused. It returns the
// operations that left because an entity of them is refused now.
func (p *Pool) SetLists(allow, block []common.Address) []Removed {
	before := p.listed
	p.listed = lists(allow, block)
	var removed []Removed
	for address, now := range p.listed {
		if now == blocked && before[address] != blocked {
			removed = append(removed, p.purge(address)...)
		}
	}
	for address := range p.standings { // a listing hides what the counters say
		if p.status(address) == Throttled {
			p.throttled[address] = struct{}{}
		} else {
			delete(p.throttled, address)
		}
	}
	return removed
}

func lists(allow, block []common.Address) map[common.Address]listing {
	listed := make(map[common.Address]listing, len(allow)+len(block))
	for _, a := range allow {
		listed[a] = allowed
	}
	for _, a := range block {
		listed[a] = blocked
	}
	return listed
}
