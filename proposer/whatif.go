package proposer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"

	"baler/gas"
	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Moment is what one proposal had to choose from, small enough to be kept for many blocks: it is for replaying the choice
// under another policy. Fees are in wei per gas; what does not fit 64 bits is the greatest that does.
type Moment struct {
	Block      uint64 // the head
	EntryPoint common.Address
	BaseFee    uint64 // of the next block
	Priority   uint64 // the oracle's priority fee
	Policy     gas.Policy
	Candidates []Candidate // best paying first
}

// Candidate is one operation of a moment.
type Candidate struct {
	ID                  [16]byte // what its hash begins with
	Sender              [8]byte  // what its account's address ends with
	Staked              bool     // its account is, so that several of its operations may be in a bundle
	MaxFee, MaxPriority uint64
	MaxGas              uint64 // counts against the bundle's gas limit
	Gas                 uint64 // what it is charged for at most, if its call uses its limit
}

// MomentOf returns what the operations of one EntryPoint were to a proposal.
func MomentOf(block uint64, entryPoint common.Address, baseFee, priority uint256.Int, policy gas.Policy, ops []*pool.Operation) *Moment {
	m := &Moment{Block: block, EntryPoint: entryPoint, BaseFee: saturated(&baseFee), Priority: saturated(&priority), Policy: policy}
	for _, op := range ops {
		units, ok := op.Op.MaxGas()
		if !ok || op.EntryPoint.Address != entryPoint {
			continue
		}
		m.Candidates = append(m.Candidates, Candidate{
			ID: [16]byte(op.Hash[:16]), Sender: [8]byte(op.Op.Sender[12:]), Staked: op.Staked.Sender,
			MaxFee: saturated(&op.Op.MaxFeePerGas), MaxPriority: saturated(&op.Op.MaxPriorityFeePerGas), MaxGas: units,
			Gas: min(units, op.Op.PreVerificationGas+op.VerificationGasUsed+op.Op.CallGasLimit),
		})
	}
	return m
}

func saturated(n *uint256.Int) uint64 {
	if !n.IsUint64() {
		return math.MaxUint64
	}
	return n.Uint64()
}

// momentFormat begins every encoded moment.
const momentFormat = 1

// Encode returns the moment in about 50 bytes for each candidate.
func (m *Moment) Encode() []byte {
	b := append(make([]byte, 0, 64+56*len(m.Candidates)), momentFormat)
	b = append(b, m.EntryPoint[:]...)
	for _, n := range []uint64{
		m.Block, m.BaseFee, m.Priority, uint64(m.Policy.Mode.Kind), m.Policy.Mode.Value, m.Policy.BaseFeeOverheadPercent,
		m.Policy.PriorityFeeOverheadPercent, uint64(len(m.Candidates)),
	} {
		b = binary.AppendUvarint(b, n)
	}
	for i := range m.Candidates {
		c := &m.Candidates[i]
		b = append(append(b, c.ID[:]...), c.Sender[:]...)
		var staked uint64
		if c.Staked {
			staked = 1
		}
		for _, n := range []uint64{staked, c.MaxFee, c.MaxPriority, c.MaxGas, c.Gas} {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

// ErrMoment says that bytes are no moment.
var ErrMoment = errors.New("malformed moment")

// DecodeMoment is the inverse of [Moment.Encode]. An error wraps [ErrMoment].
func DecodeMoment(b []byte) (*Moment, error) {
	r := momentReader{rest: b}
	if format := r.take(1); r.failed || format[0] != momentFormat {
		return nil, fmt.Errorf("%w: it begins with %x", ErrMoment, format)
	}
	m := &Moment{EntryPoint: common.BytesToAddress(r.take(common.AddressLength))}
	m.Block, m.BaseFee, m.Priority = r.number(), r.number(), r.number()
	m.Policy.Mode.Kind = gas.PriorityFeeModeKind(min(r.number(), math.MaxUint8)) //nolint:gosec // at most 255
	m.Policy.Mode.Value, m.Policy.BaseFeeOverheadPercent, m.Policy.PriorityFeeOverheadPercent = r.number(), r.number(), r.number()
	for n := r.number(); n > 0 && !r.failed; n-- {
		c := Candidate{ID: [16]byte(r.take(16)), Sender: [8]byte(r.take(8)), Staked: r.number() == 1}
		c.MaxFee, c.MaxPriority, c.MaxGas, c.Gas = r.number(), r.number(), r.number(), r.number()
		m.Candidates = append(m.Candidates, c)
	}
	if r.failed || len(r.rest) != 0 {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrMoment, len(b))
	}
	return m, nil
}

// momentReader reads until something is missing.
type momentReader struct {
	rest   []byte
	failed bool
}

// take returns n bytes, zeros if they are not there.
func (r *momentReader) take(n int) []byte {
	if len(r.rest) < n {
		r.failed = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *momentReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// WhatIf is a policy to replay moments under. The zero bounds are the defaults'.
type WhatIf struct {
	Policy        *gas.Policy // nil: what each moment was under
	MaxBundleSize int
	MaxBundleGas  uint64
}

// Replayed is what would have been bundled, and earned, if everything bundled is mined.
type Replayed struct {
	Moments    int
	Bundles    int
	Operations int // bundled
	Never      int // operations that were candidates and are not bundled
	// Blocks is how many blocks the bundled operations waited since they were first seen, all together.
	Blocks uint64
	// Margin is what the operations pay for their gas beyond what the bundles pay for it, in wei: each with its gas at most.
	// What preVerificationGas brings or costs beside is the same under every policy, and not in it.
	Margin *big.Int
}

// Replay chooses from each moment again, in the order given. It knows nothing of operations that fail, nor of those that would
// have come otherwise, or not, under the other policy. An error is the sequence's.
func (w WhatIf) Replay(moments iter.Seq2[*Moment, error]) (*Replayed, error) {
	config := DefaultConfig()
	if w.MaxBundleSize == 0 {
		w.MaxBundleSize = config.MaxBundleSize
	}
	if w.MaxBundleGas == 0 {
		w.MaxBundleGas = config.MaxBundleGas
	}
	result := &Replayed{Margin: new(big.Int)}
	seen, done := make(map[[16]byte]uint64), make(map[[16]byte]bool)
	for m, err := range moments {
		if err != nil {
			return nil, err
		}
		result.Moments++
		if taken := w.choose(m, seen, done, result); taken > 0 {
			result.Bundles++
			result.Operations += taken
		}
	}
	result.Never = len(seen) - len(done)
	return result, nil
}

// choose takes from one moment what the policy takes, and returns how many operations that are.
func (w WhatIf) choose(m *Moment, seen map[[16]byte]uint64, done map[[16]byte]bool, result *Replayed) int {
	policy := m.Policy
	if w.Policy != nil {
		policy = *w.Policy
	}
	baseFee := *uint256.NewInt(m.BaseFee)
	bundle, required := policy.Required(baseFee, *uint256.NewInt(m.Priority))
	price := bundle.EffectivePrice(baseFee)
	left, taken := w.MaxBundleGas, 0
	senders := make(map[[8]byte]bool)
	for i := range m.Candidates {
		c := &m.Candidates[i]
		if _, known := seen[c.ID]; !known {
			seen[c.ID] = m.Block
		}
		offers := gas.Fees{MaxFee: *uint256.NewInt(c.MaxFee), MaxPriority: *uint256.NewInt(c.MaxPriority)}
		if done[c.ID] || !gas.Pays(offers, required) || senders[c.Sender] && !c.Staked || taken == w.MaxBundleSize {
			continue
		}
		if c.MaxGas > left {
			break // bundle_packing=priority
		}
		left -= c.MaxGas
		taken++
		done[c.ID], senders[c.Sender] = true, true
		result.Blocks += m.Block - min(m.Block, seen[c.ID])
		own := offers.EffectivePrice(baseFee)
		margin := new(big.Int).Sub(own.ToBig(), price.ToBig())
		result.Margin.Add(result.Margin, margin.Mul(margin, new(big.Int).SetUint64(c.Gas)))
	}
	return taken
}
