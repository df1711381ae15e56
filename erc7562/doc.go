// Package erc7562 holds the validation rules of ERC-7562: which entity did what that a bundler must not accept.
//
// In: an operation and the record of its validation. Out: a verdict that names the rule, the entity, and the contract,
// slot or opcode concerned. It is pure, one function per rule, and never looks at the chain itself.
//
// Here so far: the limits on an operation and its validation (LIM-010 to LIM-060). The rules
// on opcodes, code, storage and reputation have their place here too but are not there yet: until they are, an
// operation that breaks them is not refused for it.
package erc7562
