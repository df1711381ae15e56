package main

// section is a part of the page.
type section struct {
	title, about string
	items        []item
}

// item is a rule, a method or an error: what a test's name must hold to be about it, and what it is in a few words.
type item struct {
	id, what string
	// why says why no test is asked for; empty: one is.
	why string
}

const (
	noGossip = "not applicable: Baler takes operations by JSON-RPC and takes part in no gossip between bundlers"
	moved    = "nothing to show: the ERC has removed or moved it"
)

func sections() []section {
	return []section{
		{"ERC-7562: opcodes and contract creation", "What code may do while an operation is validated.", []item{
			{id: "OP-011", what: "opcodes that see the block or the transaction are blocked"},
			{id: "OP-012", what: "GAS only right before a call"},
			{id: "OP-013", what: "no unassigned opcode"},
			{id: "OP-020", what: "no out of gas"},
			{id: "OP-031", what: "CREATE2 once, of the sender"},
			{id: "OP-032", what: "a sender with a factory may CREATE"},
			{id: "OP-041", what: "no access to an address without code"},
			{id: "OP-042", what: "but to the sender, while it is deployed"},
			{id: "OP-051", what: "EXTCODESIZE ISZERO of the EntryPoint"},
			{id: "OP-052", what: "depositTo from the sender or the factory"},
			{id: "OP-053", what: "the EntryPoint's fallback from the sender"},
			{id: "OP-054", what: "no other access to the EntryPoint"},
			{id: "OP-055", what: "incrementNonce from the sender"},
			{id: "OP-061", what: "no call with value but to the EntryPoint"},
			{id: "OP-062", what: "the precompiles that may be called"},
			{id: "OP-070", what: "transient storage is storage"},
			{id: "OP-080", what: "BALANCE and SELFBALANCE for staked entities"},
		}},
		{"ERC-7562: code and storage", "What validation may depend on.", []item{
			{id: "COD-010", what: "code does not change between the validations"},
			{id: "STO-010", what: "the account's own storage"},
			{id: "STO-021", what: "storage associated with an account that exists"},
			{id: "STO-022", what: "and with a new one, if its factory is staked"},
			{id: "STO-031", what: "a staked entity's own storage"},
			{id: "STO-032", what: "storage associated with a staked entity"},
			{id: "STO-033", what: "a staked entity may read anything outside of entities"},
			{id: "STO-040", what: "an account is no entity of another operation"},
			{id: "STO-041", what: "no associated storage in another operation's sender"},
		}},
		{"ERC-7562: reputation", "Who is limited, and how.", []item{
			{id: "GREP-010", what: "a banned entity is out, with its operations"},
			{id: "GREP-020", what: "what a throttled entity may have"},
			{id: "GREP-030", what: "", why: moved},
			{id: "GREP-040", what: "an entity that fails a bundle is banned"},
			{id: "GREP-050", what: "a replaced entity's operation is not counted"},
			{id: "SREP-010", what: "what staked means"},
			{id: "SREP-020", what: "", why: moved},
			{id: "SREP-030", what: "", why: moved},
			{id: "SREP-040", what: "no limit for a staked entity in good standing"},
			{id: "SREP-050", what: "", why: moved},
			{id: "EREP-010", what: "a paymaster's deposit covers all its operations"},
			{id: "EREP-011", what: "", why: moved},
			{id: "EREP-015", what: "a paymaster does not pay for others' failures"},
			{id: "EREP-016", what: "nor does an aggregator"},
			{id: "EREP-020", what: "a staked factory answers for its account"},
			{id: "EREP-030", what: "a staked account answers for its paymaster and aggregator"},
			{id: "EREP-040", what: "an aggregator is staked"},
			{id: "EREP-050", what: "an unstaked paymaster returns no context"},
			{id: "EREP-055", what: "the context's size does not change"},
			{id: "EREP-060", what: "a staked factory may create"},
			{id: "EREP-061", what: "and let a utility contract create"},
			{id: "EREP-070", what: "a staked entity whose validation gas shrinks"},
			{id: "UREP-010", what: "operations of an unstaked sender"},
			{id: "UREP-020", what: "operations of an unstaked paymaster"},
			{id: "UREP-030", what: "", why: moved},
		}},
		{"ERC-7562: authorizations and limits", "EIP-7702 accounts, and sizes.", []item{
			{id: "AUTH-010", what: "one authorization an operation"},
			{id: "AUTH-020", what: "a delegated account is a sender, never another entity"},
			{id: "AUTH-030", what: "and is accessed as the sender only"},
			{id: "AUTH-040", what: "all pending operations of a sender delegate to one address"},
			{id: "LIM-010", what: "MAX_USEROP_SIZE"},
			{id: "LIM-020", what: "MAX_CONTEXT_SIZE"},
			{id: "LIM-030", what: "VALIDATION_GAS_SLACK"},
			{id: "LIM-040", what: "MAX_BUNDLE_SIZE"},
			{id: "LIM-050", what: "MAX_BUNDLE_CONTEXT_SIZE"},
			{id: "LIM-060", what: "MAX_VERIFICATION_GAS"},
			{id: "LIM-070", what: "preVerificationGas covers the calldata"},
			{id: "ALT-010", what: "topics of alternative mempools", why: noGossip},
			{id: "ALT-020", what: "their rules after the canonical ones", why: noGossip},
			{id: "ALT-021", what: "an operation in several of them", why: noGossip},
			{id: "ALT-030", what: "forwarding once", why: noGossip},
			{id: "ALT-040", what: "counters for each", why: noGossip},
			{id: "AREP-010", what: "counters of an alternative mempool", why: noGossip},
			{id: "AREP-020", what: "a mempool's own reputation", why: noGossip},
			{id: "AREP-030", what: "", why: moved},
		}},
		{"ERC-7769: methods", "Each over real HTTP.", []item{
			{id: "eth_sendUserOperation", what: "takes an operation"},
			{id: "eth_estimateUserOperationGas", what: "finds its gas limits"},
			{id: "eth_getUserOperationByHash", what: "tells where it is"},
			{id: "eth_getUserOperationReceipt", what: "tells what became of it"},
			{id: "eth_supportedEntryPoints", what: "the EntryPoints served"},
			{id: "eth_chainId", what: "the chain"},
			{id: "debug_bundler_clearState", what: "forgets mempool and reputation"},
			{id: "debug_bundler_dumpMempool", what: "lists the mempool"},
			{id: "debug_bundler_sendBundleNow", what: "sends a bundle"},
			{id: "debug_bundler_setBundlingMode", what: "by itself or by hand"},
			{id: "debug_bundler_setReputation", what: "sets counters"},
			{id: "debug_bundler_dumpReputation", what: "lists counters"},
			{id: "debug_bundler_addUserOps", what: "adds without validation"},
		}},
		{"ERC-7769: errors", "Each from the public JSON-RPC.", []item{
			{id: "-32602", what: "malformed"},
			{id: "-32500", what: "refused by the EntryPoint"},
			{id: "-32501", what: "refused by the paymaster"},
			{id: "-32502", what: "against ERC-7562"},
			{id: "-32503", what: "out of its time range"},
			{id: "-32504", what: "throttled or banned"},
			{id: "-32505", what: "stake too low"},
			{id: "-32506", what: "unknown aggregator"},
			{id: "-32507", what: "bad signature"},
			{id: "-32508", what: "the paymaster's deposit does not suffice"},
			{id: "-32521", what: "the call reverts, in an estimate"},
		}},
	}
}
