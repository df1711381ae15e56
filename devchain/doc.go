// Package devchain runs a whole Ethereum chain inside the process: a go-ethereum node in memory, with the contracts that
// ERC-4337 needs, funded keys, and an API for tests to mine, reorganise, hold and drop.
//
// In comes a [Config]; out comes a [Chain] that answers plain JSON-RPC over HTTP and WebSocket (eth, debug, net, txpool,
// web3) exactly as geth does, because it is geth: its EVM, its transaction pool, its receipts, filters and tracers. Only
// the block builder is our own, so that a test can choose the base fee of a block, leave a transaction waiting, or
// replace a branch, and so that nothing else than the pool and the chain decides when a block is made. Besides geth's methods it
// has dev_hold, dev_release and dev_drop, to break something by hand.
//
// It promises: mainnet's forks of today by name, all of them active from genesis ([ChainConfig]); the EntryPoints v0.6 to
// v0.9 and Multicall3 at their canonical addresses; deterministic keys and contract addresses; every historic state
// readable; [Chain.Close] ends every goroutine it started.
//
// It never dials a peer, never writes chain data to disk, never mines a blob transaction, and never verifies its own
// headers: a base fee set by [Chain.SetBaseFee] is one that geth's header verification would refuse.
//
// It links a whole node: only the dev and demo commands and tests may import it.
package devchain
