// Package store is what must survive the process: accepted operations, the journal of each key with every signed
// transaction, the history of mined operations, and reputations. It lies in one file (bbolt) in the data
// directory, with a log of the newest accepted operations beside it, or in a table (Redis, beside the lease of what it is about).
//
// In: writes, from any number of goroutines, which the store's one committer ([Store.Run], a goroutine of the caller's) puts
// together, as many as wait, into one transaction: one fsync of the file, or one script in Redis. Out: what was written, after any crash.
//
// It promises:
//
//   - What [Store.Commit] acknowledged is there after a kill or a loss of power. The writes of one call are there all or not
//     at all, and writes become durable in the order in which they were handed over: what is durable has
//     everything before it, but for what was handed over by [Store.EnqueueLater] and is about other operations. What [Store.Accept]
//     takes may be durable even sooner.
//   - After a failed transaction (a full disk) nothing more is taken: a journal with a gap would be worse than none. Run
//     returns the error, and its caller stops.
//   - A table is written by the holder of its lease only: each transaction looks at the lease in the same step. One who has lost
//     it, and does not know, changes nothing; the next holder finds everything that was acknowledged.
//   - A file of another chain, another format or another program is refused, and a second process too, each with its reason.
//   - Damage is an error, never a panic and never another value: each record has a checksum.
//
// It never decides anything about an operation or a transaction: it keeps what the pool and the bundle sender decided. It
// reads no clock and starts no goroutine.
//
// A nil *Store, and the nil *Journal it gives out, are the store of a bundler that shall keep nothing: every
// write is acknowledged and forgotten.
package store
