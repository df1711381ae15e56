// Package evm runs contract code in this process, over state read from a plain JSON-RPC node.
//
// In: a node that answers eth_getBalance, eth_getTransactionCount, eth_getCode and eth_getStorageAt at a block hash
// (EIP-1898), a chain's fork rules, a block header. Out: what a call returns, the gas it used, and everything it read.
//
// It promises that
//   - every value a run sees is the value at the view's block hash (or an override the caller asked for);
//   - a read that fails fails the run, with an error that [IsStateError] recognises: missing state never turns into
//     a wrong result;
//   - views and sources are safe for concurrent runs, and a value is read once per block however many runs want it;
//   - [View.Execute] needs as many sequential round trips as the state a call reads is deep, not one per value;
//     [View.PrefetchCall] brings nearly any call down to three, where the node has eth_createAccessList;
//   - where the node takes eth_call with a state override, any number of values is one round trip (see [Source]), and
//     where it does not, or answers wrongly, the same values are read by JSON-RPC batches;
//   - a run's [ReadSet] names what its result depended on: all slots, all code, and those balances and nonces that
//     were looked at. [View.Compare] tells whether another block has the same.
//
// It never needs the debug namespace, never writes to the node, starts no goroutine and reads no clock: waiting
// between retries is the caller's [Options.Wait].
//
// What it leaves out of "the block after the view's header": that block's own system calls (EIP-4788, EIP-2935 writes)
// and its other transactions. Both are outside of what a bundler can know or, by ERC-7562, an operation may read.
package evm
