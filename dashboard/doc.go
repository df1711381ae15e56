// Package dashboard is the room for the live page: the pool, each bundle sender's state and why it is in it, what each
// bundle earned, an operation's way from arrival to receipt.
//
// Nothing is here yet: `baler demo` prints its table in the terminal.
//
// It will take events and snapshots and give out one page over HTTP. It will be read-only, on loopback unless asked
// otherwise, and will never hold up the pipeline: a slow reader loses events, not operations.
package dashboard
