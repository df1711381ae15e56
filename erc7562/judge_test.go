package erc7562_test

import (
	"math/rand/v2"
	"testing"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

var (
	entryPoint = common.Address{0: 0xee, 19: 1}
	factory    = common.Address{0: 0xfa, 19: 1}
	paymaster  = common.Address{0: 0xba, 19: 1}
	erc20      = common.Address{0: 0x70, 19: 1}
)

// subjectOf is an existing account with nothing else.
func subjectOf(sender common.Address) *erc7562.Subject {
	assigned := erc7562.Opcodes{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	return &erc7562.Subject{
		EntryPoint: entryPoint, Sender: erc7562.Party{Address: sender}, SenderExists: true, Assigned: &assigned,
	}
}

func TestStakedAggregator(t *testing.T) {
	aggregator := common.Address{0: 0xa9, 19: 1}
	inAggregator := &erc7562.Record{
		Frames:   []erc7562.Frame{{Entity: erc7562.Sender, Parent: -1, Type: vm.CALL, To: aggregator, Storage: aggregator}},
		Accesses: []erc7562.Access{{Slot: common.BytesToHash(account[:])}},
	}
	for _, c := range []struct {
		name   string
		record *erc7562.Record
		party  erc7562.Party
		want   erc7562.Rule
		entity erc7562.Entity
		needs  common.Address
	}{
		{"EREP-040/aggregator without stake breaks", new(erc7562.Record), erc7562.Party{Address: aggregator}, "EREP-040", erc7562.Aggregator, aggregator},
		{"EREP-040/staked aggregator is allowed", new(erc7562.Record), erc7562.Party{Address: aggregator, Staked: true}, "", 0, common.Address{}},
		{"AUTH-020/delegated aggregator breaks", new(erc7562.Record), erc7562.Party{Address: aggregator, Staked: true, Delegated: true}, "AUTH-020", erc7562.Aggregator, common.Address{}},
		{"STO-021/the account's slot in its aggregator breaks", inAggregator, erc7562.Party{Address: aggregator, Staked: true}, "STO-021", erc7562.Sender, common.Address{}},
		{"STO-021/the same in a contract that is no entity is allowed", inAggregator, erc7562.Party{}, "", 0, common.Address{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			subject := subjectOf(account)
			subject.Aggregator = c.party
			verdicts := erc7562.Judge(c.record, subject).Verdicts
			if c.want == "" {
				if verdicts != nil {
					t.Errorf("have %v, want no verdict", verdicts)
				}
				return
			}
			if len(verdicts) != 1 || verdicts[0].Rule != c.want || verdicts[0].Entity != c.entity || verdicts[0].NeedsAddress != c.needs {
				t.Errorf("have %v, want %s of the %v, helped by a stake of %s", verdicts, c.want, c.entity, c.needs)
			}
		})
	}
}

// STO-041 is told of the contracts with associated storage, and of no others.
func TestAssociatedIn(t *testing.T) {
	frame := func(entity erc7562.Entity, storage common.Address) erc7562.Frame {
		return erc7562.Frame{Entity: entity, Parent: -1, Type: vm.CALL, To: storage, Storage: storage}
	}
	subject := subjectOf(account)
	subject.Paymaster = erc7562.Party{Address: paymaster, Staked: true}
	other := common.Address{0: 0x71}
	own, payers := common.BytesToHash(account[:]), common.BytesToHash(paymaster[:])
	record := &erc7562.Record{
		Frames: []erc7562.Frame{
			frame(erc7562.Sender, account), frame(erc7562.Sender, erc20), frame(erc7562.Paymaster, paymaster),
			frame(erc7562.Paymaster, other), frame(erc7562.Paymaster, common.Address{0: 0x72}),
		},
		Accesses: []erc7562.Access{
			{Frame: 0, Slot: own},
			{Frame: 1, Slot: own, Write: true},
			{Frame: 1, Slot: own},
			{Frame: 2, Slot: common.Hash{1}},
			{Frame: 3, Slot: payers, Write: true},
			{Frame: 4, Slot: common.Hash{2}},
		},
	}
	t.Run("STO-041/associated storage of the account and of a staked entity", func(t *testing.T) {
		judgement := erc7562.Judge(record, subject)
		if diff := cmp.Diff([]common.Address{erc20, other}, judgement.AssociatedIn); diff != "" || judgement.Verdicts != nil {
			t.Errorf("have verdicts %v, contracts (-want +have):\n%s", judgement.Verdicts, diff)
		}
	})
}

// A slot is associated with an address if a hash of it lies at most 128 below: searched for, or looked for one by one.
func TestAssociationIsWhatTheDefinitionSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.Custom(func(t *rapid.T) *uint256.Int {
			base := uint256.NewInt(rapid.Uint64Range(0, 3).Draw(t, "base") * 1_000)
			base.Lsh(base, uint(rapid.SampledFrom([]int{0, 64, 240}).Draw(t, "shift")))
			return base.AddUint64(base, rapid.Uint64Range(0, 300).Draw(t, "offset"))
		})
		var hashes []erc7562.Hash
		for range rapid.IntRange(0, 6).Draw(t, "hashes") {
			of := rapid.SampledFrom([]common.Address{account, paymaster}).Draw(t, "of")
			hashes = append(hashes, erc7562.Hash{Of: of, Value: word.Draw(t, "hash").Bytes32()})
		}
		slot := word.Draw(t, "slot")
		want := slot.Eq(new(uint256.Int).SetBytes20(account[:]))
		for _, h := range hashes {
			var distance, base uint256.Int
			base.SetBytes32(h.Value[:])
			if h.Of == account && !slot.Lt(&base) && distance.Sub(slot, &base).LtUint64(129) {
				want = true
			}
		}
		record := &erc7562.Record{
			Frames:   []erc7562.Frame{{Entity: erc7562.Sender, To: erc20, Storage: erc20}},
			Accesses: []erc7562.Access{{Slot: slot.Bytes32(), Write: true}},
			Hashes:   hashes,
		}
		if have := len(erc7562.Judge(record, subjectOf(account)).AssociatedIn) == 1; have != want {
			t.Errorf("slot %s with hashes %v: have associated %t, want %t", slot.Hex(), hashes, have, want)
		}
	})
}

// drawRecord makes a record of three entities that breaks all sorts of rules.
func drawRecord(t *rapid.T) *erc7562.Record {
	addresses := rapid.SampledFrom([]common.Address{account, factory, paymaster, erc20, entryPoint, {19: 2}, {19: 0x64}})
	types := rapid.SampledFrom([]vm.OpCode{vm.CALL, vm.STATICCALL, vm.DELEGATECALL, vm.CALLCODE, vm.CREATE, vm.CREATE2})
	var r erc7562.Record
	for i := range rapid.IntRange(1, 6).Draw(t, "frames") {
		f := erc7562.Frame{
			Entity: erc7562.Entity(rapid.IntRange(int(erc7562.Sender), int(erc7562.Paymaster)).Draw(t, "entity")),
			Parent: int32(rapid.IntRange(-1, i-1).Draw(t, "parent")), Type: types.Draw(t, "type"),
			From: addresses.Draw(t, "from"), To: addresses.Draw(t, "to"), Storage: addresses.Draw(t, "storage"),
			HasValue: rapid.Bool().Draw(t, "value"), OutOfGas: rapid.Bool().Draw(t, "gas"),
		}
		for range rapid.IntRange(0, 4).Draw(t, "opcodes") {
			f.Opcodes.Add(vm.OpCode(rapid.Byte().Draw(t, "opcode")))
		}
		r.Frames = append(r.Frames, f)
		for range rapid.IntRange(0, 4).Draw(t, "accesses") {
			r.Accesses = append(r.Accesses, erc7562.Access{
				Frame: int32(i), Write: rapid.Bool().Draw(t, "write"), Transient: rapid.Bool().Draw(t, "transient"),
				Slot: common.BytesToHash([]byte{byte(rapid.IntRange(0, 3).Draw(t, "slot"))}),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "codes") {
			r.Codes = append(r.Codes, erc7562.CodeUse{
				Frame: int32(i), Address: addresses.Draw(t, "address"), Size: rapid.IntRange(0, 1).Draw(t, "size"),
				Called: rapid.Bool().Draw(t, "called"), Looked: rapid.Bool().Draw(t, "looked"), Observed: rapid.Bool().Draw(t, "observed"),
				Delegated: rapid.Bool().Draw(t, "delegated"),
			})
		}
	}
	return &r
}

func drawSubject(t *rapid.T) *erc7562.Subject {
	s := subjectOf(account)
	s.SenderExists = rapid.Bool().Draw(t, "exists")
	s.Assigned = new(erc7562.Opcodes{^uint64(0), ^uint64(0), ^uint64(0), 0xffff})
	s.Precompiles = []common.Address{{19: 2}, {19: 0x64}}
	s.Sender.Staked = rapid.Bool().Draw(t, "sender staked")
	if rapid.Bool().Draw(t, "has factory") {
		s.Factory = erc7562.Party{Address: factory, Staked: rapid.Bool().Draw(t, "factory staked")}
	}
	if rapid.Bool().Draw(t, "has paymaster") {
		s.Paymaster = erc7562.Party{Address: paymaster, Staked: rapid.Bool().Draw(t, "paymaster staked")}
		s.ContextSize = rapid.IntRange(0, 1).Draw(t, "context")
	}
	return s
}

// The verdicts do not depend on the order in which a frame's doings were recorded: geth's tracer does not tell it.
func TestJudgeIgnoresOrderWithinFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record, subject := drawRecord(t), drawSubject(t)
		want := erc7562.Judge(record, subject)
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		shuffle.Shuffle(len(record.Accesses), func(i, j int) {
			record.Accesses[i], record.Accesses[j] = record.Accesses[j], record.Accesses[i]
		})
		shuffle.Shuffle(len(record.Codes), func(i, j int) {
			record.Codes[i], record.Codes[j] = record.Codes[j], record.Codes[i]
		})
		if diff := cmp.Diff(want, erc7562.Judge(record, subject)); diff != "" {
			t.Errorf("the order matters (-first +shuffled):\n%s", diff)
		}
	})
}

// Stake is only ever of use: what is allowed to unstaked entities is allowed to staked ones, and whatever says that a
// stake would help is no longer forbidden with it.
func TestStakeOnlyHelps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record, subject := drawRecord(t), drawSubject(t)
		before := erc7562.Judge(record, subject).Verdicts
		staked := *subject
		staked.Sender.Staked = true
		staked.Factory.Staked = staked.Factory.Address != (common.Address{})
		staked.Paymaster.Staked = staked.Paymaster.Address != (common.Address{})
		after := erc7562.Judge(record, &staked).Verdicts
		if len(before) == 0 && len(after) > 0 {
			t.Errorf("with stakes: have %v, want nothing as without", after[0])
		}
		hopeless := 0
		for _, v := range before {
			if v.Needs == erc7562.NoEntity {
				hopeless++
			}
		}
		if len(before) < 32 && hopeless == 0 && len(after) > 0 {
			t.Errorf("stakes were to help, have %v", after[0])
		}
	})
}
