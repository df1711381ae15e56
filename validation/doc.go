// Package validation decides whether an operation, or a bundle of them, may go on: the checks of ERC-4337's "Bundler
// behavior upon receiving a UserOperation", then the deployed EntryPoint's own validation, run in the local EVM.
//
// In: a head, an EntryPoint, operations. Out: what validation found out (time range, gas, stakes, what was read and
// touched), or a *rejection.Rejection that can go to the user as it is. Any other error is the node's trouble or the
// caller's, and must never count against an operation.
//
// It promises that
//   - the code that runs is the EntryPoint's, called as a bundle would call it: handleOps, up to its BeforeExecution;
//   - all state is that of the head's block, by hash; the block that code sees is the one after it;
//   - a failure is attributed to the entity the EntryPoint called last, found by tracing, not by the revert's text
//     (ERC-4337, "Error codes"); an EntryPoint's text is believed only where the EntryPoint itself reverted;
//   - what the entities do is held to every rule of ERC-7562 that binds a bundler (package erc7562), whether the local EVM
//     or the node's debug_traceCall ran it ([Config.Tracing]); [Config.Unsafe] only reports what is broken.
//
// It keeps no operations, signs and sends nothing, and needs no debug namespace unless it is told to trace.
//
// # The memo
//
// A validation that passed is remembered, and is the answer to the next one of the same operation, as long as nothing it
// depends on has changed. What it may depend on, and how each is covered:
//
//   - the operation, its signature and its EIP-7702 tuple: they are the memo's key;
//   - storage: every slot that the run read, and those of the entities' deposits and stakes, are compared by value. One
//     difference is allowed: a paymaster's deposit that was and is more than the operation can cost, for in validation
//     nobody but the EntryPoint may look at it (OP-054), and that one only asks whether it is enough;
//   - code, and EIP-7702 delegations, which are code: the code hash of every account that was touched is compared. Code
//     other than a delegation is final once it is older than a reorg can be deep (EIP-6780), and is not read again then;
//   - balances: compared where the run looked at them, be it by BALANCE or by moving value;
//   - nonces of accounts: compared where the run looked at them: creations, EIP-7702 tuples;
//   - whether an account exists (EIP-161): compared for each that was touched;
//   - transient storage, memory, gas left, the order of calls: they begin the same in every run;
//   - precompiled contracts: they are functions of their input, and of the fork, which must be the same;
//   - time: the EntryPoint's own check of the time range is made anew for the new block;
//   - the base fee: the operation's fee is compared with it anew; in validation the EntryPoint does not ask for it;
//   - the rest of the block (number, coinbase, hashes, randomness, ...): banned by OP-011. Where such an opcode was used all
//     the same (Config.Unsafe), nothing is remembered. That calls to the coinbase cost less (EIP-3651) counts too: an
//     operation that touches the old or the new one is run again;
//   - operations of the same sender before it: how many there are must be the same;
//   - limits and rules: they are the validator's, for as long as it lives.
//
// Refusals are not remembered.
package validation
