package evm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// The state loader reads thousands of values by a few eth_calls that travel in one batch. Each call's state override
// puts a driver's code at an address nobody has. For slots, it also replaces the code of each contract whose slots are
// wanted by code that returns the slots named in its calldata, and the driver calls these. Balances and code hashes the
// driver reads itself, in a call of its own: a replaced code has another hash.

// errLoader says that the node did not answer the loader's calls as it should.
var errLoader = errors.New("state loader")

const (
	loaderGas = 1 << 24 // of one call: the most a transaction may have since EIP-7825
	fillGas   = 15_000_000
	// What a slot, a contract and an account take, with their calldata, rounded up.
	slotGas, contractGas, accountGas = 2_900, 3_800, 4_200
	// smallRead is how many values are better asked for singly.
	smallRead = 4
	// maxProbe is how many values a probe asks for.
	maxProbe = 200
	// maxLoaderTrouble is how many failures in a row end the use of the loader.
	maxLoaderTrouble = 3
)

// loader is what is known of the node's eth_call. It is safe for concurrent use.
type loader struct {
	works   atomic.Bool
	off     atomic.Bool
	trouble atomic.Int32 // failures in a row
}

// use reports whether the keys are to be read by calls.
func (l *loader) use(want keys) bool {
	return l.works.Load() && !l.off.Load() && 2*len(want.accounts)+len(want.slots) > smallRead
}

// failed counts a failure. The loader is not used again before it has passed a new probe.
func (l *loader) failed() {
	l.works.Store(false)
	if l.trouble.Add(1) >= maxLoaderTrouble {
		l.off.Store(true)
	}
}

// probe returns calls that ask for some of the keys; nil if what the node can do is known.
func (l *loader) probe(want keys, at blockRef) *loaderCalls {
	if l.works.Load() || l.off.Load() || len(want.accounts)+len(want.slots) == 0 {
		return nil
	}
	return newLoaderCalls(want.accounts[:min(len(want.accounts), maxProbe)], want.slots[:min(len(want.slots), maxProbe)], at)
}

// judge compares the probe's answers with those to single requests. What the loader cannot know is not compared.
func (l *loader) judge(probe *loaderCalls, got values) {
	if probe == nil {
		return
	}
	accounts, slots, err := probe.decode()
	if err != nil || !slices.Equal(slots, got.slots[:len(slots)]) {
		l.failed()
		return
	}
	for i, have := range accounts {
		want := got.accounts[i]
		if have.balance != want.balance || have.codeHash != want.codeHash || have.empty != want.empty {
			l.failed()
			return
		}
	}
	// Only a probe that has seen both kinds of call answers for both.
	if len(accounts) > 0 && len(slots) > 0 {
		l.trouble.Store(0)
		l.works.Store(true)
	}
}

// loaderCalls are eth_calls that read accounts and slots.
type loaderCalls struct {
	at       blockRef
	accounts []common.Address
	slots    []Slot // grouped by account
	order    []int  // order[i] is where slots[i] stood in what was asked for
	calls    []rpc.BatchElem
	answers  []*hexutil.Bytes
	sizes    []int // words each call must return
	accCalls int   // how many of the calls are for accounts: the first ones
}

func newLoaderCalls(accounts []common.Address, slots []Slot, at blockRef) *loaderCalls {
	c := &loaderCalls{at: at, accounts: accounts, order: make([]int, len(slots)), slots: make([]Slot, len(slots))}
	for i := range c.order {
		c.order[i] = i
	}
	slices.SortFunc(c.order, func(i, j int) int { return slots[i].Account.Cmp(slots[j].Account) })
	for i, from := range c.order {
		c.slots[i] = slots[from]
	}
	for chunk := range slices.Chunk(accounts, fillGas/accountGas) {
		c.addAccounts(chunk)
	}
	c.accCalls = len(c.calls)
	for rest := c.slots; len(rest) > 0; {
		rest = c.addSlots(rest)
	}
	for i := range c.calls {
		c.calls[i].Result = &c.answers[i]
	}
	return c
}

// elems returns the calls, none of a nil.
func (c *loaderCalls) elems() []rpc.BatchElem {
	if c == nil {
		return nil
	}
	return c.calls
}

// loaderMessage is the transaction object of eth_call.
type loaderMessage struct {
	From  common.Address `json:"from"`
	To    common.Address `json:"to"`
	Gas   hexutil.Uint64 `json:"gas"`
	Input hexutil.Bytes  `json:"input"`
}

// codeOverride is how a state override gives an account other code, in JSON.
type codeOverride = json.RawMessage

func overrideBy(code []byte) codeOverride {
	return codeOverride(`{"code":"` + hexutil.Encode(code) + `"}`)
}

// loaderCode is what all calls share: addresses that nobody has, and the code at them and at contracts.
type loaderCode struct {
	caller, driver        common.Address
	accounts, slots, slot codeOverride // of the driver in either kind of call, and of a contract
}

var sharedCode = sync.OnceValue(func() *loaderCode {
	return &loaderCode{
		caller: loaderAddress("caller"), driver: loaderAddress("driver"),
		accounts: overrideBy(accountDriver()), slots: overrideBy(slotDriver()), slot: overrideBy(slotLoader()),
	}
})

func (c *loaderCalls) add(data []byte, driver codeOverride, words int, overrides map[common.Address]codeOverride) {
	code := sharedCode()
	overrides[code.driver] = driver
	msg := loaderMessage{From: code.caller, To: code.driver, Gas: loaderGas, Input: data}
	c.calls = append(c.calls, rpc.BatchElem{Method: "eth_call", Args: []any{msg, c.at, overrides}})
	c.answers = append(c.answers, nil)
	c.sizes = append(c.sizes, words)
}

func (c *loaderCalls) addAccounts(accounts []common.Address) {
	data := make([]byte, 0, 32*len(accounts))
	for _, addr := range accounts {
		data = appendAddress(data, addr)
	}
	c.add(data, sharedCode().accounts, 2*len(accounts), map[common.Address]codeOverride{})
}

// addSlots adds a call for as many of the slots as fit, and returns the rest.
func (c *loaderCalls) addSlots(slots []Slot) []Slot {
	var data []byte
	overrides := make(map[common.Address]codeOverride)
	budget, words := fillGas, 0
	for len(slots) > 0 {
		owner := slots[0].Account
		n := 1
		for n < len(slots) && slots[n].Account == owner {
			n++
		}
		n = min(n, (budget-contractGas)/slotGas)
		if n <= 0 {
			break
		}
		budget -= contractGas + n*slotGas
		overrides[owner] = sharedCode().slot
		data = appendAddress(data, owner)
		data = binary.BigEndian.AppendUint64(append(data, make([]byte, 24)...), uint64(32*n)) //nolint:gosec // n is at least 0
		for _, slot := range slots[:n] {
			data = append(data, slot.Key[:]...)
		}
		words += n
		slots = slots[n:]
	}
	c.add(data, sharedCode().slots, words, overrides)
	return slots
}

// appendAddress appends an address as a word.
func appendAddress(data []byte, addr common.Address) []byte {
	return append(append(data, make([]byte, 12)...), addr[:]...)
}

// decode returns the answers: accounts without code and nonce, and slots in the order they were asked for.
func (c *loaderCalls) decode() ([]account, []common.Hash, error) {
	accounts, slots := make([]account, 0, len(c.accounts)), make([]common.Hash, len(c.slots))
	var read int
	for i, call := range c.calls {
		if call.Error != nil {
			return nil, nil, fmt.Errorf("%w: %w", errLoader, call.Error)
		}
		if c.answers[i] == nil || len(*c.answers[i]) != 32*c.sizes[i] {
			return nil, nil, fmt.Errorf("%w: have an answer that is not %d words", errLoader, c.sizes[i])
		}
		answer := []byte(*c.answers[i])
		if i < c.accCalls {
			for ; len(answer) > 0; answer = answer[64:] {
				accounts = append(accounts, loadedAccount(answer[:32], common.Hash(answer[32:64])))
			}
			continue
		}
		for ; len(answer) > 0; answer = answer[32:] {
			slots[c.order[read]] = common.Hash(answer[:32])
			read++
		}
	}
	return accounts, slots, nil
}

// loadedAccount reads what BALANCE and EXTCODEHASH say: a hash of zero is that of an empty account (EIP-1052), which has
// no nonce either; of any other the nonce is not known.
func loadedAccount(balance []byte, hash common.Hash) account {
	var a account
	a.balance.SetBytes(balance)
	a.codeHash = hash
	if hash == (common.Hash{}) {
		a.codeHash, a.empty, a.nonceKnown = types.EmptyCodeHash, true, true
	}
	return a
}

// enoughFamiliar is how many accounts in a row may be met for the first time whose code is known from others, as that of proxies is, until
// code is asked for only where its hash is not known.
const enoughFamiliar = 8

// readByCalls reads by the loader's calls, in one batch; nonces are asked for singly in the same batch, and the code of accounts that are
// met for the first time, unless those before them had code that was known. Where code was not asked for and is not known, a second
// batch is needed.
func (s *Source) readByCalls(ctx context.Context, v *View, want keys, questions []*Question) (values, Stats, error) {
	at := blockRef{v.hash}
	calls := newLoaderCalls(want.accounts, want.slots, at)
	nonces := make([]*hexutil.Uint64, len(want.nonces))
	codes := make(map[common.Address]*hexutil.Bytes)
	var batch []rpc.BatchElem
	for i, addr := range want.nonces {
		batch = append(batch, rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{addr, at}, Result: &nonces[i]})
	}
	ask := s.familiar.Load() < enoughFamiliar
	for _, addr := range want.accounts {
		if ask && !s.codeAt.Contains(addr) && codes[addr] == nil {
			codes[addr] = new(hexutil.Bytes)
			batch = append(batch, rpc.BatchElem{Method: "eth_getCode", Args: []any{addr, at}, Result: codes[addr]})
		}
	}
	stats, err := s.sendWith(ctx, batch, calls, questions, at)
	if err != nil {
		return values{}, stats, err
	}
	got := values{nonces: make([]uint64, len(want.nonces))}
	for i := range nonces {
		if nonces[i] == nil {
			return values{}, stats, fmt.Errorf("nonce of %s: %w", want.nonces[i], errNoResult)
		}
		got.nonces[i] = uint64(*nonces[i])
	}
	if got.accounts, got.slots, err = calls.decode(); err != nil {
		return values{}, stats, err
	}
	for _, code := range codes {
		s.meet(*code)
	}
	more, err := s.fillCode(ctx, at, want.accounts, got.accounts)
	stats.add(more)
	if err != nil {
		return values{}, stats, err
	}
	for i, addr := range want.accounts {
		s.sight(addr, got.accounts[i].codeHash, got.accounts[i].code, v.header.Number.Uint64())
	}
	return got, stats, nil
}

// meet files the code of an account that is met for the first time, and counts how many in a row had code that was known.
func (s *Source) meet(code []byte) {
	if len(code) > 0 {
		hash := crypto.Keccak256Hash(code)
		if _, known := s.code.Get(hash); !known {
			s.code.Add(hash, code)
			s.familiar.Store(0)
			return
		}
	}
	s.familiar.Add(1)
}

// fillCode gives accounts the code that belongs to their hash, and asks the node for what is not known.
func (s *Source) fillCode(ctx context.Context, at blockRef, addrs []common.Address, accounts []account) (Stats, error) {
	var batch []rpc.BatchElem
	var missing []int
	codes := make([]hexutil.Bytes, len(addrs))
	for i := range accounts {
		a := &accounts[i]
		if a.codeHash == types.EmptyCodeHash {
			continue
		}
		var ok bool
		if a.code, ok = s.code.Get(a.codeHash); !ok {
			missing = append(missing, i)
			batch = append(batch, rpc.BatchElem{Method: "eth_getCode", Args: []any{addrs[i], at}, Result: &codes[i]})
		}
	}
	if len(batch) == 0 {
		return Stats{}, nil
	}
	s.familiar.Store(0)
	stats, err := s.send(ctx, batch, nil)
	if err != nil {
		return stats, err
	}
	for _, i := range missing {
		hash, code := s.keepCode(codes[i])
		if hash != accounts[i].codeHash {
			return stats, fmt.Errorf("%w: code of %s: have hash %s, want %s", errLoader, addrs[i], hash, accounts[i].codeHash)
		}
		accounts[i].code = code
	}
	return stats, nil
}

// loaderAddress is an address that nobody has.
func loaderAddress(role string) common.Address {
	return common.Address(crypto.Keccak256([]byte("baler: state loader: " + role))[12:])
}

// slotLoader is code that takes slot keys as its calldata and returns their values.
func slotLoader() []byte {
	p := program.New()
	p.Push(0) // offset
	p, loop := p.Jumpdest()
	p.Op(vm.CALLDATASIZE, vm.DUP2, vm.LT, vm.ISZERO)
	p, fix := jumpIfForward(p)
	p.Op(vm.DUP1, vm.CALLDATALOAD, vm.SLOAD, vm.DUP2, vm.MSTORE)
	p.Push(32).Op(vm.ADD)
	p.Jump(loop)
	fix(p)
	return p.Op(vm.CALLDATASIZE).Push(0).Op(vm.RETURN).Bytes()
}

// accountDriver is code that takes addresses, a word each, and returns the balance and the code hash of each.
func accountDriver() []byte {
	p := program.New()
	p.Push(0) // offset of the address; what it returns is twice as long
	p, loop := p.Jumpdest()
	p.Op(vm.CALLDATASIZE, vm.DUP2, vm.LT, vm.ISZERO)
	p, fix := jumpIfForward(p)
	p.Op(vm.DUP1, vm.CALLDATALOAD)                                                  // address, offset
	p.Op(vm.DUP1, vm.BALANCE, vm.DUP3).Push(1).Op(vm.SHL, vm.MSTORE)                // address, offset
	p.Op(vm.EXTCODEHASH, vm.DUP2).Push(1).Op(vm.SHL).Push(32).Op(vm.ADD, vm.MSTORE) // offset
	p.Push(32).Op(vm.ADD)
	p.Jump(loop)
	fix(p)
	return p.Op(vm.CALLDATASIZE).Push(1).Op(vm.SHL).Push(0).Op(vm.RETURN).Bytes()
}

// slotDriver is code that takes, once and again, a contract, the length of its keys in bytes, and the keys. It calls
// each contract with its keys and returns what all of them returned. A contract that fails or returns less is a failure.
func slotDriver() []byte {
	p := program.New()
	p.Push(0).Push(0) // in: offset in the calldata; out: what has been collected, bytes
	p, loop := p.Jumpdest()
	p.Op(vm.CALLDATASIZE, vm.DUP2, vm.LT, vm.ISZERO) // in, out
	p, done := jumpIfForward(p)
	p.Op(vm.DUP1).Push(32).Op(vm.ADD, vm.CALLDATALOAD)                   // length, in, out
	p.Op(vm.DUP1, vm.DUP3).Push(64).Op(vm.ADD, vm.DUP5, vm.CALLDATACOPY) // memory[out] = keys
	p.Op(vm.DUP1, vm.DUP4, vm.DUP2, vm.DUP6)                             // out, length, out, length, length, in, out
	p.Op(vm.DUP6, vm.CALLDATALOAD, vm.GAS, vm.STATICCALL)                // success, length, in, out
	p.Op(vm.DUP2, vm.RETURNDATASIZE, vm.EQ, vm.AND, vm.ISZERO)
	p, failed := jumpIfForward(p)
	p.Op(vm.SWAP2, vm.DUP3, vm.ADD)            // out+length, in, length  (the old out is gone)
	p.Op(vm.SWAP2, vm.ADD).Push(64).Op(vm.ADD) // in+length+64, out
	p.Jump(loop)
	failed(p)
	p.Push(0).Push(0).Op(vm.REVERT)
	done(p)
	return p.Op(vm.POP).Push(0).Op(vm.RETURN).Bytes()
}

// jumpIfForward adds a conditional jump to a place that is not there yet. The function it returns makes that place here.
func jumpIfForward(p *program.Program) (*program.Program, func(*program.Program)) {
	p.Op(vm.PUSH2)
	hole := p.Size()
	p.Append([]byte{0, 0}).Op(vm.JUMPI)
	return p, func(p *program.Program) {
		_, here := p.Jumpdest()
		code := p.Bytes()
		code[hole], code[hole+1] = byte(here>>8), byte(here)
		p.SetBytes(code)
	}
}
