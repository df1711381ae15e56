package erc7562

// RuleInfo is a rule of the ERC and who enforces it.
type RuleInfo struct {
	ID    Rule
	Title string
	// Where names the place that enforces the rule: a function of this package, or another package. A dash says that
	// the rule binds nothing here; Title says why.
	Where string
}

// Rules returns every rule of ERC-7562 that has an id and is not removed, in the order of the text.
func Rules() []RuleInfo {
	return []RuleInfo{
		{"OP-011", "Environment opcodes, CREATE, INVALID and SELFDESTRUCT are blocked", "op011, op032"},
		{"OP-012", "GAS only if followed at once by *CALL", "op012"},
		{"OP-013", "Unassigned opcodes are blocked", "op013"},
		{"OP-020", "No revert for want of gas", "op020"},
		{"OP-031", "CREATE2 once, in the deployment frame, for the sender", "op031"},
		{"OP-032", "With a factory, the sender itself may use CREATE", "op032"},
		{"OP-041", "No EXTCODE* or *CALL of an address without code", "op041"},
		{"OP-042", "Except of the sender in the deployment frame", "op042"},
		{"OP-051", "EXTCODESIZE ISZERO of the EntryPoint is allowed", "op051"},
		{"OP-052", "depositTo(sender) from the sender or the factory is allowed", "op052"},
		{"OP-053", "The EntryPoint's fallback from the sender is allowed", "op053"},
		{"OP-054", "Other access to the EntryPoint is forbidden", "op054"},
		{"OP-055", "incrementNonce from the sender is allowed", "op055"},
		{"OP-061", "No CALL with value, except to the EntryPoint", "op061"},
		{"OP-062", "Only core precompiled contracts and P256VERIFY", "op062"},
		{"OP-070", "Transient storage is treated as storage", "storage"},
		{"OP-080", "BALANCE and SELFBALANCE only from a staked entity", "op080"},
		{"COD-010", "Code visited does not change between the validations", "CodeUnchanged"},
		{"STO-010", "Access to the account's storage is allowed", "sto010"},
		{"STO-021", "Associated storage of an account that exists is allowed", "sto021"},
		{"STO-022", "Associated storage of a new account if the factory is staked", "sto022"},
		{"STO-031", "A staked entity may access its own storage", "sto031"},
		{"STO-032", "A staked entity may access storage associated with it", "sto032"},
		{"STO-033", "A staked entity may read any storage of a non-entity", "sto033"},
		{"STO-040", "No entity is the account of another pending operation", "pool"},
		{"STO-041", "No associated storage in the account of another pending operation", "pool"},
		{"GREP-010", "A banned address is not allowed into the mempool", "pool"},
		{"GREP-020", "A throttled address is limited", "pool"},
		{"GREP-040", "An entity that fails bundle creation is banned", "pool"},
		{"GREP-050", "A replaced entity's opsSeen is decremented", "pool"},
		{"SREP-010", "What makes an entity staked", "StakeLimits.Staked"},
		{"SREP-040", "A staked entity faces no limit on its operations", "pool"},
		{"EREP-010", "A paymaster's deposit covers all its pending operations", "pool"},
		{"EREP-015", "A paymaster does not answer for factory and account", "pool"},
		{"EREP-016", "An aggregator does not answer for the other entities", "pool"},
		{"EREP-020", "A staked factory answers for its accounts", "pool"},
		{"EREP-030", "A staked account answers for the other entities", "pool"},
		{"EREP-040", "An aggregator must be staked", "erep040"},
		{"EREP-050", "An unstaked paymaster returns no context", "erep050"},
		{"EREP-055", "A context's size does not change between validation and bundle", "ContextUnchanged"},
		{"EREP-060", "With a staked factory, it and the sender may use CREATE and CREATE2", "erep060"},
		{"EREP-061", "A staked factory may use a utility contract that calls CREATE", "erep061"},
		{"EREP-070", "A staked entity whose validation gas falls by over 10 % is throttled", "GasReduced"},
		{"UREP-010", "An unstaked sender has few operations in the mempool", "pool"},
		{"UREP-020", "An unstaked paymaster has as many as its inclusion rate allows", "pool"},
		{"ALT-010", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"ALT-020", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"ALT-021", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"ALT-030", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"ALT-040", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"AREP-010", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"AREP-020", "Alternative mempools: Baler takes part in the canonical one alone", "-"},
		{"AUTH-010", "One EIP-7702 tuple at most", "userop"},
		{"AUTH-020", "A delegated account is no other entity than the sender", "auth020"},
		{"AUTH-030", "A delegated account is accessed only as the sender", "auth030"},
		{"AUTH-040", "One delegate for all pending operations of a sender", "pool"},
		{"LIM-010", "Size of an operation", "Limits.Size"},
		{"LIM-020", "Size of a paymaster's context", "Limits.ContextSize"},
		{"LIM-030", "Verification gas limits exceed the gas used by a slack", "Limits.GasSlack"},
		{"LIM-040", "Size of a bundle", "proposer"},
		{"LIM-050", "Size of all contexts of a bundle", "proposer"},
		{"LIM-060", "Greatest verification gas limits", "Limits.VerificationGas"},
		{"LIM-070", "preVerificationGas pays for calldata and overhead", "gas"},
	}
}
