package validation_test

import (
	"slices"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// expected is the rule that a scenario must break, and whose stake would have helped. No rule: it is allowed.
type expected struct {
	rule  erc7562.Rule
	needs erc7562.Entity
}

var allowed expected

// behaviour is something an entity does in its validation, and what the rules say of it in each scenario.
type behaviour struct {
	rule  erc7562.Rule // the one it is about
	name  string
	steps func(a actors) []step
	want  func(s scenario) expected
}

func always(rule erc7562.Rule) func(scenario) expected {
	return func(scenario) expected { return expected{rule: rule} }
}

func never(scenario) expected { return allowed }

// unlessStaked is forbidden to an entity without stake.
func unlessStaked(rule erc7562.Rule) func(scenario) expected {
	return func(s scenario) expected {
		if s.staked {
			return allowed
		}
		return expected{rule, s.entity}
	}
}

// only allows it to some entities.
func only(rule erc7562.Rule, entities ...erc7562.Entity) func(scenario) expected {
	return func(s scenario) expected {
		if slices.Contains(entities, s.entity) {
			return allowed
		}
		return expected{rule: rule}
	}
}

// ownStorage is STO-010 for the account, STO-031 for the others.
func ownStorage(s scenario) expected {
	if s.entity == erc7562.Sender || s.staked {
		return allowed
	}
	return expected{"STO-031", s.entity}
}

// foreignRead is a read of a slot that is nobody's: STO-033.
func foreignRead(s scenario) expected {
	switch {
	case s.entity == erc7562.Sender:
		return expected{rule: "STO-021"}
	case s.staked:
		return allowed
	default:
		return expected{"STO-033", s.entity}
	}
}

func foreignWrite(s scenario) expected {
	if s.entity == erc7562.Sender {
		return expected{rule: "STO-021"}
	}
	return expected{rule: "STO-033"}
}

// sendersWrite is a write to storage associated with the account: STO-021 and STO-022.
func sendersWrite(s scenario) expected {
	if s.created && !s.factoryStaked {
		return expected{"STO-022", erc7562.Factory}
	}
	return allowed
}

// sendersRead adds what STO-033 allows to a staked paymaster.
func sendersRead(s scenario) expected {
	if s.entity == erc7562.Paymaster && s.staked {
		return allowed
	}
	return sendersWrite(s)
}

// entitysOwn is storage associated with the entity itself: STO-032, and STO-021 if that is the account.
func entitysOwn(s scenario) expected {
	switch {
	case s.entity == erc7562.Sender:
		return sendersWrite(s)
	case s.staked:
		return allowed
	default:
		return expected{"STO-032", s.entity}
	}
}

// creates is CREATE by the entity itself: OP-032, EREP-060.
func creates(s scenario) expected {
	switch {
	case s.entity == erc7562.Sender && s.created, s.entity == erc7562.Factory && s.staked:
		return allowed
	case s.entity == erc7562.Factory:
		return expected{"OP-011", erc7562.Factory}
	default:
		return expected{rule: "OP-011"}
	}
}

// createsBySalt is CREATE2 of something else than the sender: EREP-060.
func createsBySalt(s scenario) expected {
	switch {
	case s.entity == erc7562.Paymaster || !s.created:
		return expected{rule: "OP-031"}
	case s.factoryStaked:
		return allowed
	default:
		return expected{"OP-031", erc7562.Factory}
	}
}

// hasCreated is CREATE by a utility contract: EREP-061.
func hasCreated(s scenario) expected {
	switch {
	case s.entity != erc7562.Factory:
		return expected{rule: "OP-011"}
	case s.staked:
		return allowed
	default:
		return expected{"OP-011", erc7562.Factory}
	}
}

func returnsContext(s scenario) expected {
	if s.entity != erc7562.Paymaster || s.staked {
		return allowed
	}
	return expected{"EREP-050", erc7562.Paymaster}
}

// tiny is creation code of a contract of one byte, STOP.
var tiny = common.FromHex("0x600060005360016000f3")

func op(code vm.OpCode) func(actors) []step {
	return func(actors) []step { return []step{do(int(code), ruleTarget, 0)} }
}

func steps(all ...step) func(actors) []step { return func(actors) []step { return all } }

// inTarget has the steps done by a contract that is no entity.
func inTarget(of func(a actors) step) func(actors) []step {
	return func(a actors) []step { return []step{run(ruleTarget, of(a))} }
}

func toEntryPoint(of func(a actors) step) func(actors) []step {
	return func(a actors) []step { return []step{of(a)} }
}

// corpus is the table of behaviours, in the order of the ERC.
func corpus() []behaviour {
	return append(append(opcodeCorpus(), accessCorpus()...), storageCorpus()...)
}

func opcodeCorpus() []behaviour {
	var list []behaviour
	for _, code := range []vm.OpCode{
		vm.ORIGIN, vm.GASPRICE, vm.BLOCKHASH, vm.COINBASE, vm.TIMESTAMP, vm.NUMBER, vm.PREVRANDAO, vm.GASLIMIT,
		vm.BASEFEE, vm.BLOBHASH, vm.BLOBBASEFEE,
	} {
		list = append(list, behaviour{"OP-011", code.String(), op(code), always("OP-011")})
	}
	return append(list, []behaviour{
		{"OP-011", "INVALID", steps(do(stepTryCall, bare["invalid"].address, 30_000)), always("OP-011")},
		{"OP-011", "SELFDESTRUCT", steps(do(int(vm.CALL), bare["selfdestruct"].address, 0)), always("OP-011")},
		{"OP-011", "TIMESTAMP in a library", steps(do(int(vm.DELEGATECALL), bare["timestamp"].address, 0)), always("OP-011")},
		{"OP-011", "TIMESTAMP in a frame that reverts", inTarget(func(actors) step {
			return do(stepTryCall, ruleTarget, 100_000, runData(do(int(vm.TIMESTAMP), common.Address{}, 0), do(stepRevert, common.Address{}, 0))...)
		}), always("OP-011")},
		{"OP-011", "CHAINID, CALLER, CALLVALUE and RETURNDATASIZE", steps(do(int(vm.CALL), bare["chainid"].address, 0)), never},
		{"OP-012", "GAS before ADD", op(vm.GAS), always("OP-012")},
		{"OP-012", "GAS before CALL", steps(run(ruleTarget)), never},
		{"OP-012", "GAS before DELEGATECALL", steps(do(int(vm.DELEGATECALL), bare["chainid"].address, 0)), never},
		{"OP-012", "GAS before STATICCALL", steps(do(int(vm.STATICCALL), bare["chainid"].address, 0)), never},
		{"OP-013", "unassigned 0x0c", steps(do(stepTryCall, bare["unassigned"].address, 30_000)), always("OP-013")},
		{"OP-020", "a call with too little gas", steps(do(stepTryCall, ruleTarget, 1_000, runData(do(stepHash, ruleTarget, 0))...)), always("OP-020")},
		{"OP-020", "a precompiled contract with too little gas", steps(do(stepTryCall, common.Address{19: 1}, 1_000)), always("OP-020")},
		{"OP-020", "a call that reverts", steps(do(stepTryCall, ruleTarget, 100_000, runData(do(stepRevert, ruleTarget, 0))...)), never},
		{"OP-031", "CREATE2", steps(do(int(vm.CREATE2), common.Address{}, 0, tiny...)), createsBySalt},
		{"OP-031", "CREATE2 by a utility contract", steps(run(ruleTarget, do(int(vm.CREATE2), common.Address{}, 0, tiny...))), always("OP-031")},
		{"OP-032", "CREATE", steps(do(int(vm.CREATE), common.Address{}, 0, tiny...)), creates},
		{"EREP-061", "CREATE by a utility contract", steps(run(ruleTarget, do(int(vm.CREATE), common.Address{}, 0, tiny...))), hasCreated},
		{"EREP-050", "a context", steps(do(stepContext, common.Address{}, 32)), returnsContext},
		{"OP-080", "BALANCE", op(vm.BALANCE), unlessStaked("OP-080")},
		{"OP-080", "SELFBALANCE", op(vm.SELFBALANCE), unlessStaked("OP-080")},
		{"OP-080", "SELFBALANCE by another contract", steps(run(ruleTarget, do(int(vm.SELFBALANCE), common.Address{}, 0))), unlessStaked("OP-080")},
	}...)
}

func accessCorpus() []behaviour {
	var list []behaviour
	for _, code := range []vm.OpCode{vm.CALL, vm.CALLCODE, vm.DELEGATECALL, vm.STATICCALL, vm.EXTCODESIZE, vm.EXTCODEHASH, vm.EXTCODECOPY} {
		list = append(list,
			behaviour{"OP-041", code.String() + " of no code", steps(do(int(code), nowhere, 0)), always("OP-041")},
			behaviour{"OP-041", code.String() + " of code", steps(do(int(code), bare["chainid"].address, 0)), never},
			behaviour{"AUTH-030", code.String() + " of a delegated account", steps(do(int(code), delegatedAccount, 0)), always("AUTH-030")},
		)
	}
	// Methods of every version's EntryPoint.
	deposit := func(to func(a actors) common.Address) func(a actors) []step {
		return toEntryPoint(func(a actors) step {
			return do(int(vm.CALL), a.entryPoint, 1, append(selector("depositTo(address)"), addressWord(to(a))...)...)
		})
	}
	balanceOf := append(selector("balanceOf(address)"), addressWord(ruleTarget)...)
	increment := append(selector("incrementNonce(uint192)"), word(5)...)
	sender := func(a actors) common.Address { return a.sender }
	return append(list, []behaviour{
		{"OP-042", "EXTCODESIZE of the sender", func(a actors) []step { return []step{do(int(vm.EXTCODESIZE), a.sender, 0)} }, never},
		{"OP-042", "CALL of the sender", func(a actors) []step { return []step{do(int(vm.CALL), a.sender, 0)} }, never},
		{"OP-051", "EXTCODESIZE ISZERO of the EntryPoint", func(a actors) []step { return []step{do(stepSizeIsZero, a.entryPoint, 0)} }, never},
		{"OP-052", "depositTo(sender)", deposit(sender), only("OP-054", erc7562.Sender, erc7562.Factory)},
		{"OP-052", "depositTo(another)", deposit(func(actors) common.Address { return ruleTarget }), always("OP-054")},
		{"OP-053", "the EntryPoint's fallback", func(a actors) []step { return []step{do(int(vm.CALL), a.entryPoint, 1)} }, only("OP-054", erc7562.Sender)},
		{"OP-054", "EXTCODESIZE of the EntryPoint", func(a actors) []step { return []step{do(int(vm.EXTCODESIZE), a.entryPoint, 0)} }, always("OP-054")},
		{"OP-054", "EXTCODEHASH of the EntryPoint", func(a actors) []step { return []step{do(int(vm.EXTCODEHASH), a.entryPoint, 0)} }, always("OP-054")},
		{"OP-054", "EXTCODECOPY of the EntryPoint", func(a actors) []step { return []step{do(int(vm.EXTCODECOPY), a.entryPoint, 0)} }, always("OP-054")},
		{"OP-054", "balanceOf by CALL", func(a actors) []step { return []step{do(int(vm.CALL), a.entryPoint, 0, balanceOf...)} }, always("OP-054")},
		{"OP-054", "balanceOf by STATICCALL", func(a actors) []step { return []step{do(int(vm.STATICCALL), a.entryPoint, 0, balanceOf...)} }, always("OP-054")},
		{"OP-054", "balanceOf by DELEGATECALL", func(a actors) []step { return []step{do(int(vm.DELEGATECALL), a.entryPoint, 0, balanceOf...)} }, always("OP-054")},
		{"OP-055", "incrementNonce", func(a actors) []step { return []step{do(int(vm.CALL), a.entryPoint, 0, increment...)} }, only("OP-054", erc7562.Sender)},
		{"OP-061", "CALL with value", steps(do(int(vm.CALL), ruleTarget, 1)), always("OP-061")},
		{"OP-061", "CALLCODE with value", steps(do(int(vm.CALLCODE), ruleTarget, 1)), always("OP-061")},
		{"OP-061", "CALL without value", steps(do(int(vm.CALL), ruleTarget, 0)), never},
		{"OP-062", "SHA256", steps(do(int(vm.CALL), common.Address{19: 2}, 0)), never},
		{"OP-062", "P256VERIFY", steps(do(int(vm.STATICCALL), common.Address{18: 1}, 0)), never},
		{"OP-062", "BLS12_MAP_FP2_TO_G2", steps(do(stepTryCall, common.Address{19: 0x11}, 30_000, make([]byte, 128)...)), never},
		{"OP-062", "another precompiled contract of the chain", steps(do(int(vm.CALL), foreignPrecompile, 0)), always("OP-062")},
		{"OP-062", "an address where there is none", steps(do(int(vm.CALL), common.Address{19: 0x12}, 0)), always("OP-041")},
		{"OP-062", "EXTCODESIZE of SHA256", steps(do(int(vm.EXTCODESIZE), common.Address{19: 2}, 0)), always("OP-041")},
	}...)
}

func storageCorpus() []behaviour {
	slot := common.BigToHash(common.Big32)
	var list []behaviour
	for _, kind := range []struct {
		rule        erc7562.Rule
		load, store vm.OpCode
		mapped      int // step of the load; the store's follows
	}{{"", vm.SLOAD, vm.SSTORE, stepMappedLoad}, {"OP-070", vm.TLOAD, vm.TSTORE, stepMappedTLoad}} {
		about := func(rule erc7562.Rule) erc7562.Rule {
			if kind.rule != "" {
				return kind.rule
			}
			return rule
		}
		// index is the mapping's; the account's hash is computed by nobody but the step.
		mapped := func(number int, of func(a actors) common.Address, offset uint64, more ...byte) func(actors) []step {
			return inTarget(func(a actors) step { return do(number, of(a), offset, append(word(7), more...)...) })
		}
		sender := func(a actors) common.Address { return a.sender }
		self := func(a actors) common.Address { return a.self }
		load, store := kind.load.String(), kind.store.String()
		list = append(list, []behaviour{
			{about("STO-031"), load + " of its own", steps(at(kind.load, slot)), ownStorage},
			{about("STO-031"), store + " of its own", steps(at(kind.store, slot)), ownStorage},
			{about("STO-010"), load + " of the sender's", func(a actors) []step { return []step{run(a.sender, at(kind.load, slot))} }, never},
			{about("STO-010"), store + " of the sender's", func(a actors) []step { return []step{run(a.sender, at(kind.store, slot))} }, never},
			{about("STO-033"), load + " elsewhere", steps(run(ruleTarget, at(kind.load, slot))), foreignRead},
			{about("STO-033"), store + " elsewhere", steps(run(ruleTarget, at(kind.store, slot))), foreignWrite},
			{about("STO-033"), load + " and " + store + " elsewhere", steps(run(ruleTarget, at(kind.load, slot), at(kind.store, slot))), foreignWrite},
			{about("STO-033"), store + " and then " + load + " elsewhere", steps(run(ruleTarget, at(kind.store, slot), at(kind.load, slot))), foreignWrite},
			{about("STO-021"), load + " at the sender's address", inTarget(func(a actors) step { return at(kind.load, common.BytesToHash(a.sender[:])) }), sendersRead},
			{about("STO-021"), store + " at the sender's address", inTarget(func(a actors) step { return at(kind.store, common.BytesToHash(a.sender[:])) }), sendersWrite},
			{about("STO-021"), load + " at keccak(sender||x)", mapped(kind.mapped, sender, 0), sendersRead},
			{about("STO-021"), store + " at keccak(sender||x)", mapped(kind.mapped+1, sender, 0), sendersWrite},
			{about("STO-022"), store + " at keccak(sender||x)+127", mapped(kind.mapped+1, sender, 127), sendersWrite},
			{about("STO-021"), store + " at keccak(sender||x)+128", mapped(kind.mapped+1, sender, 128), sendersWrite},
			{about("STO-021"), store + " at keccak(sender||x)+129", mapped(kind.mapped+1, sender, 129), foreignWrite},
			{about("STO-021"), store + " at keccak(sender||x||y)", mapped(kind.mapped+1, sender, 0, word(1)...), sendersWrite},
			{about("STO-021"), store + " at keccak(sender)", inTarget(func(a actors) step { return do(kind.mapped+1, a.sender, 0) }), foreignWrite},
			{about("STO-021"), store + " at a hash that validation has not computed", inTarget(func(a actors) step { return at(kind.store, slotOf(a.sender, 7, 0)) }), foreignWrite},
			{about("STO-021"), store + " at a hash that validation has computed before", func(a actors) []step {
				return []step{do(stepHash, a.sender, 0, word(7)...), run(ruleTarget, at(kind.store, slotOf(a.sender, 7, 3)))}
			}, sendersWrite},
			{about("STO-032"), load + " at the entity's address", inTarget(func(a actors) step { return at(kind.load, common.BytesToHash(a.self[:])) }), entitysRead},
			{about("STO-032"), store + " at keccak(entity||x)", mapped(kind.mapped+1, self, 0), entitysOwn},
			{about("STO-032"), store + " at keccak(entity||x)+129", mapped(kind.mapped+1, self, 129), foreignWrite},
			{about("STO-032"), store + " at keccak(another||x)", mapped(kind.mapped+1, func(actors) common.Address { return ruleTarget }, 0), foreignWrite},
		}...)
	}
	return list
}

// entitysRead is entitysOwn, but for the account's own slot.
func entitysRead(s scenario) expected {
	if s.entity == erc7562.Sender {
		return sendersRead(s)
	}
	return entitysOwn(s)
}
