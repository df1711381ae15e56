package pool

import (
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/holiman/uint256"
)

func TestFindKnowsAnOperationBySenderAndWholeNonce(t *testing.T) {
	t.Parallel()
	p := newPool(t)
	first, second, other := operation(1, nonce(0, 5)), operation(1, nonce(0, 6), ahead(1)), operation(1, nonce(7, 5))
	add(t, p, first, second, other)
	for name, c := range map[string]struct {
		sender     uint64
		nonce      uint256.Int
		entryPoint entrypoint.EntryPoint
		want       *Operation
	}{
		"first":              {1, uint256.Int{5}, ep07, first},
		"second":             {1, uint256.Int{6}, ep07, second},
		"other key":          {1, uint256.Int{5, 7}, ep07, other},
		"before":             {1, uint256.Int{4}, ep07, nil},
		"behind":             {1, uint256.Int{7}, ep07, nil},
		"unknown key":        {1, uint256.Int{5, 8}, ep07, nil},
		"another sender":     {2, uint256.Int{5}, ep07, nil},
		"another EntryPoint": {1, uint256.Int{5}, entrypoint.Canonical(userop.V06), nil},
	} {
		if have := p.Find(c.entryPoint.Address, sender(c.sender), c.nonce); have != c.want {
			t.Errorf("%s: have %v, want %v", name, have, c.want)
		}
	}
}
