package evm

import (
	"crypto/sha256"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// An operation's signature is checked when it arrives, again with each bundle that it is tried in, and after everything that
// changes what it read. The answer is the same each time, and looking it up costs a hundredth of the curve's arithmetic.
// go-ethereum has such a cache too, but of one megabyte for each contract: 3,000 signatures, less than a pool holds.

const (
	// rememberedChecks is how many answers are kept of each contract that checks signatures; one takes about 200 bytes.
	rememberedChecks = 16_384
	// maxRemembered is how long an input may be whose answer is kept, in bytes. Theirs have 128 and 160.
	maxRemembered = 256
)

// precompiles are the precompiled contracts of each fork; those that check signatures remember their answers. It is safe for
// concurrent use.
type precompiles struct {
	forks   sync.Map // params.Rules -> vm.PrecompiledContracts
	answers map[common.Address]*lru.Cache[[sha256.Size]byte, string]
}

func newPrecompiles() *precompiles {
	p := &precompiles{answers: make(map[common.Address]*lru.Cache[[sha256.Size]byte, string])}
	for _, addr := range []common.Address{common.BytesToAddress([]byte{1}), common.BytesToAddress([]byte{1, 0})} { // ECRECOVER, P256VERIFY
		p.answers[addr] = lru.NewCache[[sha256.Size]byte, string](rememberedChecks)
	}
	return p
}

// of returns the contracts under the rules. The map must not be changed.
func (p *precompiles) of(rules params.Rules) vm.PrecompiledContracts {
	if known, ok := p.forks.Load(rules); ok {
		if contracts, ok := known.(vm.PrecompiledContracts); ok {
			return contracts
		}
	}
	contracts := vm.ActivePrecompiledContracts(rules)
	for addr, answers := range p.answers {
		if contract, ok := contracts[addr]; ok {
			contracts[addr] = remembering{contract, answers}
		}
	}
	p.forks.Store(rules, contracts)
	return contracts
}

// remembering is a contract whose output depends on its input alone, in every fork that has it.
type remembering struct {
	vm.PrecompiledContract

	answers *lru.Cache[[sha256.Size]byte, string]
}

// Run implements vm.PrecompiledContract.
func (r remembering) Run(input []byte) ([]byte, error) {
	if len(input) > maxRemembered {
		return r.PrecompiledContract.Run(input)
	}
	key := sha256.Sum256(input)
	if output, ok := r.answers.Get(key); ok {
		if output == "" {
			return nil, nil // as it answers to what is no signature
		}
		return []byte(output), nil
	}
	output, err := r.PrecompiledContract.Run(input)
	if err == nil {
		r.answers.Add(key, string(output))
	}
	return output, err
}
