// Package erc7562 holds the validation rules of ERC-7562: which entity did what that a bundler must not accept.
//
// In: what a validation did, either as it happens ([Tracer], fed by go-ethereum's tracing hooks) or as geth's
// erc7562Tracer reports it ([DecodeTrace]); and what there is to know of the operation ([Subject]). Both ways end in the
// same [Record], and [Judge] reads nothing else: a broken rule is found whoever recorded it. Out: a [Verdict] for each
// broken rule, with the rule's id, the entity, and the contract, slot or opcode concerned; and the contracts in whose
// storage the validation was associated.
//
// One function per rule, named after it; [Rules] lists all of the ERC with the place that enforces each. The rules are
// those of the canonical mempool: Baler takes part in no alternative mempool, so the ALT and AREP rules bind nothing
// here. Rules that count operations (SREP, GREP, UREP, and the parts of EREP on reputation) are the pool's.
//
// What is recorded is bounded by the gas of the validation: an entry costs the contract at least as much gas as a warm
// storage read. The package is pure and never looks at the chain itself.
package erc7562
