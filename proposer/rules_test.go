package proposer

import (
	"slices"
	"testing"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

// The rules of ERC-7562 on a whole bundle, each with what breaks it and what it allows.
func TestRulesOnBundles(t *testing.T) {
	three := []*pool.Operation{operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(1000, 70))}
	size := uint64(three[0].Op.PackedSize())
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   []*pool.Operation
	}{
		{"LIM-040/a bundle of the greatest size is allowed", func(c *Config) { c.MaxBundleBytes = emptyBundleBytes + 3*size }, three},
		{"LIM-040/a byte more breaks", func(c *Config) { c.MaxBundleBytes = emptyBundleBytes + 3*size - 1 }, three[:2]},
		{"LIM-050/contexts of the greatest size are allowed", func(c *Config) { c.MaxContextBytes = 120 }, three},
		{"LIM-050/a byte more breaks", func(c *Config) { c.MaxContextBytes = 119 }, three[:2]},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, test.change)
			s.add(t, three...)
			s.validator.validations = make(map[common.Address]Validation)
			for _, op := range three {
				s.validator.validations[op.Op.Sender] = Validation{ContextSize: 40}
			}
			p := s.propose(t, request())
			if p.Bundle == nil || !slices.Equal(p.Bundle.Hashes(), (&Bundle{Ops: test.want}).Hashes()) {
				t.Errorf("have %+v, want the first %d", p.Bundle, len(test.want))
			}
		})
	}
	if most := DefaultConfig(); most.MaxBundleBytes > 262_144 || most.MaxContextBytes > 65_536 {
		t.Errorf("have %d and %d bytes by default, want at most MAX_BUNDLE_SIZE and MAX_BUNDLE_CONTEXT_SIZE", most.MaxBundleBytes, most.MaxContextBytes)
	}
}
