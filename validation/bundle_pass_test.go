package validation_test

import (
	"math/big"
	"testing"

	"baler/entrypoint"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/params"
	"github.com/google/go-cmp/cmp"
)

// However many operations of a bundle fail, the work is that of running it three times at most.
func TestBundleWithManyCulpritsIsLinear(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		good := f.deployed(v, 1)
		nonce := f.op(good).Nonce
		var ops []*userop.UserOperation
		for i := range 40 {
			if i%4 != 1 {
				missing := f.op(f.account(v, uint64(500+i)))
				missing.Signature = make([]byte, 65)
				ops = append(ops, missing)
				continue
			}
			// Each good one builds on the one before it: the nonce goes up.
			op := f.op(good)
			op.Nonce = nonce
			nonce.AddUint64(&nonce, 1)
			ops = append(ops, f.sign(op))
		}
		result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, ops...))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Failed) != 30 || len(result.Ops) != 10 {
			t.Errorf("have %d failed and %d left, want 30 and 10", len(result.Failed), len(result.Ops))
		}
		// The first run stops at the first operation, then each is tried, then the ten are run.
		if want := 1 + 40 + 10; result.Simulated != want {
			t.Errorf("have %d validations executed, want %d", result.Simulated, want)
		}
		for _, op := range result.Ops {
			if op.Index%4 != 1 || !op.Success {
				t.Errorf("have %+v, want only the good ones, all successful", op)
			}
		}
		// And what passes is run once.
		var fine []*userop.UserOperation
		for _, op := range result.Ops {
			fine = append(fine, ops[op.Index])
		}
		result, err = f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, fine...))
		if err != nil {
			t.Fatal(err)
		}
		if result.Simulated != len(fine) || len(result.Failed) != 0 {
			t.Errorf("have %d validations of %d operations, failed %+v; want each once", result.Simulated, len(fine), result.Failed)
		}
	})
}

// An operation that builds on one that fails, fails with it, in the same pass.
func TestBundleOfAnAccountWhoseFirstOperationFails(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		a, b := f.deployed(v, 1), f.deployed(v, 2)
		first, second := f.op(a), f.op(a)
		second.Nonce.AddUint64(&second.Nonce, 1)
		f.signWith(first, f.chain.Keys()[7])
		result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, first, f.sign(f.op(b)), f.sign(second)))
		if err != nil {
			t.Fatal(err)
		}
		var failed []int
		for _, failure := range result.Failed {
			failed = append(failed, failure.Index)
		}
		if diff := cmp.Diff([]int{0, 2}, failed); diff != "" || len(result.Ops) != 1 {
			t.Errorf("have %+v, want the first and the third to fail (-want +have):\n%s", result, diff)
		}
	})
}

// register is a contract with one word, that anyone may read (no calldata) and write (a word of calldata).
func register(load, store vm.OpCode) []byte {
	p := program.New().Op(vm.CALLDATASIZE)
	p.Op(vm.PUSH1)
	hole := p.Size()
	p.Append([]byte{0}).Op(vm.JUMPI)
	p.Push(7).Op(load).Push(0).Op(vm.MSTORE).Push(32).Push(0).Op(vm.RETURN)
	_, write := p.Jumpdest()
	code := p.Bytes()
	code[hole] = byte(write)
	p.SetBytes(code)
	return p.Push(0).Op(vm.CALLDATALOAD).Push(7).Op(store, vm.STOP).Bytes()
}

// toucher is an account, valid for everyone, whose every call reads or writes a register.
func toucher(register common.Address, write bool) []byte {
	size := 0
	if write {
		size = 32
	}
	p := program.New().Call(nil, register, 0, 0, size, 0, 0).Op(vm.POP)
	return p.Push(0).Push(64).Op(vm.MSTORE).Push(32).Push(64).Op(vm.RETURN).Bytes()
}

// An operation whose validation reads what another's writes is named, with the slot, so that it can wait.
func TestBundleConflicts(t *testing.T) {
	addr := func(n byte) common.Address { return common.Address{0: 0xdd, 19: n} }
	storage, transient := addr(1), addr(2)
	alloc := types.GenesisAlloc{
		storage:   {Balance: new(big.Int), Code: register(vm.SLOAD, vm.SSTORE)},
		transient: {Balance: new(big.Int), Code: register(vm.TLOAD, vm.TSTORE)},
		addr(3):   {Balance: new(big.Int), Code: toucher(storage, true)},
		addr(4):   {Balance: new(big.Int), Code: toucher(storage, false)},
		addr(5):   {Balance: new(big.Int), Code: toucher(transient, true)},
		addr(6):   {Balance: new(big.Int), Code: toucher(transient, false)},
		addr(7):   {Balance: new(big.Int), Code: toucher(storage, false)},
	}
	const writer, reader, transientWriter, transientReader, otherReader = 3, 4, 5, 6, 7
	f := newFixtureWith(t, validation.Config{}, alloc)
	for _, v := range userop.Versions() {
		ep := entrypoint.Canonical(v)
		for n := byte(writer); n <= otherReader; n++ {
			deposit := append(selector("depositTo(address)"), addressWord(addr(n))...)
			f.send(ep.Address, new(big.Int).Mul(big.NewInt(10), big.NewInt(params.Ether)), deposit, 100_000)
		}
		conflict := func(index, other int, contract common.Address, isTransient bool) validation.Conflict {
			return validation.Conflict{Index: index, Other: other, Contract: contract, Slot: common.Hash{31: 7}, Transient: isTransient}
		}
		for name, c := range map[string]struct {
			order []byte
			want  []validation.Conflict
		}{
			"reads after the write":    {[]byte{writer, reader}, []validation.Conflict{conflict(1, 0, storage, false)}},
			"reads before the write":   {[]byte{reader, writer}, nil},
			"both read":                {[]byte{reader, otherReader}, nil},
			"different storages":       {[]byte{writer, transientReader, transientWriter}, nil},
			"transient storage":        {[]byte{transientWriter, transientReader}, []validation.Conflict{conflict(1, 0, transient, true)}},
			"two readers of one write": {[]byte{reader, writer, otherReader, transientWriter, transientReader}, []validation.Conflict{conflict(2, 1, storage, false), conflict(4, 3, transient, true)}},
		} {
			t.Run(v.String()+" "+name, func(t *testing.T) {
				f := *f
				f.t = t
				var ops []*userop.UserOperation
				for _, n := range c.order {
					ops = append(ops, f.op(account{entryPoint: ep, address: addr(n)}))
				}
				result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, ops...))
				if err != nil {
					t.Fatal(err)
				}
				if len(result.Failed) != 0 {
					t.Errorf("have failures %+v, want none", result.Failed)
				}
				if diff := cmp.Diff(c.want, result.Conflicts); diff != "" {
					t.Errorf("conflicts (-want +have):\n%s", diff)
				}
			})
		}
	}
}
