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
//     (ERC-4337, "Error codes"); an EntryPoint's text is believed only where the EntryPoint itself reverted.
//
// It keeps no operations, signs and sends nothing, and needs no debug namespace.
package validation
