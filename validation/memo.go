package validation

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// The memo keeps the results of validations that passed, each with everything it depended on. A later validation of the
// same operation on a state where all of that has the same values is the same validation; only times, fees and
// deposits are looked at anew. See the package comment for why that is sound.

const (
	maxMemos     = 20_000    // operations remembered
	maxMemoReads = 1_000     // values one of them may depend on
	memoBudget   = 1_000_000 // values all of them together may depend on
	maxContent   = 16 << 10  // bytes of an operation whose buffer is used again
)

// memo is safe for concurrent use and bounded.
type memo struct {
	mu    sync.Mutex
	kept  lru.BasicLRU[common.Hash, *memory]
	reads int

	next atomic.Pointer[nextBlock] // at the head seen last

	contents sync.Pool // of *[]byte, to put operations together in

	hits, misses, stale atomic.Uint64
}

func newMemo() *memo { return &memo{kept: lru.NewBasicLRU[common.Hash, *memory](maxMemos)} }

// MemoStats counts validations by how the memo took part in them.
type MemoStats struct {
	Hits   uint64 // answered without running anything
	Stale  uint64 // run again: something the validation depends on had changed
	Misses uint64 // run: the operation was not known
	Kept   int    // operations that are remembered now
}

// MemoStats returns the counts since the validator was made.
func (v *Validator) MemoStats() MemoStats {
	v.memo.mu.Lock()
	kept := v.memo.kept.Len()
	v.memo.mu.Unlock()
	return MemoStats{Hits: v.memo.hits.Load(), Stale: v.memo.stale.Load(), Misses: v.memo.misses.Load(), Kept: kept}
}

// memory is a validation that passed.
type memory struct {
	result   *Result
	reads    *evm.ReadSet // what the result depends on: the run's read set and what is read beside it
	ahead    uint64
	rules    params.Rules // of the fork
	coinbase common.Address
	// payer is the paymaster's deposit, if it may change as long as it is enough.
	payer *evm.Slot
	// same is the head at which the reads were last found to be the same.
	same atomic.Pointer[nextBlock]
}

func (m *memo) get(key common.Hash) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, _ := m.kept.Get(key)
	return e
}

func (m *memo) put(key common.Hash, e *memory) {
	if e.reads.Len() > maxMemoReads {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(key)
	for m.kept.Len() >= maxMemos || m.reads+e.reads.Len() > memoBudget {
		_, old, ok := m.kept.RemoveOldest()
		if !ok {
			break
		}
		m.reads -= old.reads.Len()
	}
	m.kept.Add(key, e)
	m.reads += e.reads.Len()
}

// Settled says that the operation is mined, or is another process's matter now: what is remembered of it makes room. If it comes
// again, as after a reorg, it is run again.
func (v *Validator) Settled(ep entrypoint.EntryPoint, op *userop.UserOperation) {
	v.memo.drop(v.memo.key(ep, op))
}

func (m *memo) drop(key common.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(key)
}

func (m *memo) dropLocked(key common.Hash) {
	if old, ok := m.kept.Peek(key); ok {
		m.reads -= old.reads.Len()
		m.kept.Remove(key)
	}
}

// forget drops all that is remembered.
func (m *memo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept.Purge()
	m.reads = 0
}

// key identifies an operation by all of its content, the signature included, at an EntryPoint.
func (m *memo) key(ep entrypoint.EntryPoint, op *userop.UserOperation) common.Hash {
	buffer, ok := m.contents.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	content := append((*buffer)[:0], byte(op.Version), byte(ep.Version))
	content = append(content, ep.Address[:]...)
	content = op.AppendABI(content)
	if auth := op.Authorization; auth != nil {
		for _, n := range []*uint256.Int{&auth.ChainID, uint256.NewInt(auth.Nonce), uint256.NewInt(uint64(auth.V)), &auth.R, &auth.S} {
			word := n.Bytes32()
			content = append(content, word[:]...)
		}
		content = append(content, auth.Address[:]...)
	}
	sum := sha256.Sum256(content)
	if cap(content) <= maxContent {
		*buffer = content
		m.contents.Put(buffer)
	}
	return sum
}

// Prepare reads all that the second validations of the operations depend on, in one round trip for all of them: what
// those seen before read then, and what others are likely to read. Validations at the same head that follow, one by one,
// ask the node for nothing if nothing has changed, nor does the bundle if it reads what the last ones did; where something has, a second round trip reads what is needed to run
// the operations that it changed for. An error is the node's trouble.
func (v *Validator) Prepare(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error {
	view := v.source.View(head)
	unknown := newGuess()
	v.lately.add(unknown)
	known := make(map[*userop.UserOperation]*memory, len(ops))
	sets := make([]*evm.ReadSet, 0, len(ops)+1)
	for _, op := range ops {
		if e := v.memo.get(v.memo.key(ep, op)); e != nil {
			known[op] = e
			sets = append(sets, e.reads)
			for addr := range e.reads.Accounts {
				if addr != op.Sender { // that has not changed needs no look, but the bundle runs on it
					unknown.account(addr)
				}
			}
			continue
		}
		unknown.join(v.guess(ep, op))
	}
	if err := view.PrefetchReads(ctx, append(sets, unknown.reads)); err != nil {
		return fmt.Errorf("prepare validations: %w", err)
	}
	at, err := v.next(view, Options{})
	if err != nil {
		return fmt.Errorf("prepare validations: %w", err)
	}
	changed := newGuess()
	for op, e := range known {
		if view.Compare(e.reads, e.tolerate(ep, op)) == evm.Same {
			e.same.Store(at)
			continue
		}
		changed.join(v.guess(ep, op))
		changed.join(guess{e.reads})
	}
	if err := view.PrefetchReads(ctx, []*evm.ReadSet{changed.reads}); err != nil {
		return fmt.Errorf("prepare validations: %w", err)
	}
	return nil
}

// recall answers a validation from the memo, nil if it can't. What it has to read it reads in one round trip, together
// with what the run will need if the answer is no.
func (v *Validator) recall(ctx context.Context, view *evm.View, key common.Hash, ep entrypoint.EntryPoint, op *userop.UserOperation, opts Options) (*Result, error) {
	e := v.memo.get(key)
	if e == nil {
		v.memo.misses.Add(1)
		return nil, nil
	}
	at, err := v.next(view, opts)
	if err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	verdict, tolerate := evm.Same, e.tolerate(ep, op)
	if e.same.Load() != at {
		verdict = view.Compare(e.reads, tolerate)
	}
	if verdict == evm.Unknown {
		all := v.guess(ep, op)
		all.join(guess{e.reads})
		if err := view.PrefetchReads(ctx, []*evm.ReadSet{all.reads}); err != nil {
			return nil, fmt.Errorf("validate: %w", err)
		}
		verdict = view.Compare(e.reads, tolerate)
	}
	if verdict != evm.Same || !v.holds(e, at, op, opts) {
		v.memo.stale.Add(1)
		return nil, nil
	}
	v.memo.hits.Add(1)
	return e.at(ctx, view, ep)
}

// holds checks what a result depends on beside the state: the fork's rules, whose accounts the block warms, what comes
// before the operation, its time range, the base fee, and the code that its first validation met (COD-010).
func (v *Validator) holds(e *memory, at *nextBlock, op *userop.UserOperation, opts Options) bool {
	if op.MaxFeePerGas.Lt(&at.baseFee) {
		return false
	}
	block := &at.block
	if e.ahead != opts.NonceAhead || e.rules != at.rules || e.coinbase != block.Coinbase && e.meets(block.Coinbase) {
		return false
	}
	d := entrypoint.ValidationData{ValidAfter: e.result.ValidAfter, ValidUntil: e.result.ValidUntil, Blocks: e.result.InBlocks}
	if checkRange(op, d, block.Number, block.Time, v.cfg.ExpirySlack, v.cfg.ExpiryBlockSlack) != nil {
		return false
	}
	if opts.First != nil {
		for _, now := range e.result.CodeHashes {
			if first, visited := opts.First.CodeHashes.Of(now.Account); visited && first != now.Hash {
				return false
			}
		}
	}
	return true
}

// meets reports whether validation touched its block's coinbase or touches the other one. Code sees of it only that a
// call costs less gas (EIP-3651).
func (e *memory) meets(coinbase common.Address) bool {
	_, before := e.reads.Accounts[e.coinbase]
	_, now := e.reads.Accounts[coinbase]
	return before || now
}

// nextBlock is what validations at one head have in common.
type nextBlock struct {
	head    common.Hash
	block   evm.Block
	rules   params.Rules // of the fork
	baseFee uint256.Int  // wei per gas
}

// next returns the block that operations are validated for. That after the head is worked out once.
func (v *Validator) next(view *evm.View, opts Options) (*nextBlock, error) {
	if known := v.memo.next.Load(); known != nil && known.head == view.Hash() && opts.Block == nil {
		return known, nil
	}
	n := &nextBlock{head: view.Hash(), block: *v.blockFor(view, opts)}
	var err error
	if n.baseFee, err = gas.NextBaseFee(v.source.Config(), view.Header()); err != nil {
		return nil, err
	}
	isMerge := n.block.Difficulty == nil || n.block.Difficulty.Sign() == 0
	n.rules = v.source.Config().Rules(new(uint256.Int).SetUint64(n.block.Number).ToBig(), isMerge, n.block.Time)
	if opts.Block == nil {
		v.memo.next.Store(n)
	}
	return n, nil
}

// tolerate returns what decides about changed slots; nil if none may change.
//
// A paymaster's deposit changes with every bundle that it pays for. In validation the EntryPoint only checks that it is
// enough and takes the prefund off; nobody else may look at it (ERC-7562, OP-054). So two deposits that are both more than
// the prefund, with the same stake beside them, are the same to the operation.
func (e *memory) tolerate(ep entrypoint.EntryPoint, op *userop.UserOperation) func(evm.Slot, common.Hash, common.Hash) bool {
	if e.payer == nil {
		return nil
	}
	return func(slot evm.Slot, was, is common.Hash) bool {
		if slot != *e.payer {
			return false
		}
		need := op.MaxCost()
		before := entrypoint.ParseDepositSlots(ep.Version, was, common.Hash{}).Deposit
		now := entrypoint.ParseDepositSlots(ep.Version, is, common.Hash{}).Deposit
		if !need.Lt(&before) || !need.Lt(&now) {
			return false
		}
		var none uint256.Int
		return entrypoint.WithDeposit(ep.Version, was, none) == entrypoint.WithDeposit(ep.Version, is, none)
	}
}

// at returns the result as it is at the view's block. The view knows all the values.
func (e *memory) at(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint) (*Result, error) {
	res := *e.result
	res.BlockHash, res.BlockNumber = view.Hash(), view.Header().Number.Uint64()
	if e.payer == nil {
		return &res, nil
	}
	word, err := view.Storage(ctx, e.payer.Account, e.payer.Key)
	if err != nil || word == e.reads.Slots[*e.payer] {
		return &res, err
	}
	info, err := stakeOf(ctx, view, ep, e.result.Paymaster.Address)
	if err != nil {
		return nil, err
	}
	res.Paymaster = &info
	reads := *res.ReadSet
	reads.Slots = maps.Clone(reads.Slots)
	reads.Slots[*e.payer] = word
	res.ReadSet = &reads
	return &res, nil
}

// remember keeps a validation that passed on the view's state. One whose result depends on more than state is not kept.
func (v *Validator) remember(ctx context.Context, view *evm.View, key common.Hash, ep entrypoint.EntryPoint, op *userop.UserOperation, opts Options, res *Result) error {
	if res.Environment {
		return nil
	}
	at, err := v.next(view, opts)
	if err != nil {
		return err
	}
	e := &memory{ahead: opts.NonceAhead, rules: at.rules, coinbase: at.block.Coinbase}
	slots := []evm.Slot{{Account: ep.Address, Key: entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey())}}
	for _, entity := range entities(op) {
		slots = append(slots, evm.Slot{Account: ep.Address, Key: entrypoint.DepositSlot(ep.Version, entity)},
			evm.Slot{Account: ep.Address, Key: entrypoint.StakeSlot(ep.Version, entity)})
	}
	reads, err := view.Including(ctx, res.ReadSet, append(entities(op), ep.Address), slots)
	if err != nil {
		return err
	}
	res.ReadSet = reads
	e.reads, e.result = reads, res
	if op.Paymaster != nil && !v.cfg.Unsafe {
		e.payer = &evm.Slot{Account: ep.Address, Key: entrypoint.DepositSlot(ep.Version, *op.Paymaster)}
	}
	v.memo.put(key, e)
	return nil
}
