// Package store is the room for what must survive the process: accepted operations, the journal of every transaction
// before it leaves, and the history of bundles; embedded in one process, or in Redis for several.
//
// Nothing is here yet: operations and attempts live in memory, and a restart begins with an empty pool.
//
// It will promise that what it acknowledged is there after a crash. It will never decide anything about an operation:
// it keeps what the pool and the bundle sender decided.
package store
