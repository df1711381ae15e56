// Package remote is the way between the processes of a bundler: `baler rpc` and `baler builder` reach the mempool of
// `baler pool` over gRPC as if it were in their own process.
//
// In: at the pool's end whatever implements the two ports that package node declares ([node.BuilderPool] and
// [node.EdgePool]), and a listener; at the other end the URLs of the processes that may serve the pool. Out: the same ports,
// implemented by calls over the network. The messages are in remote/proto.
//
// What it promises:
//
//   - A value arrives as it was sent or not at all. What does not decode is an error that names the field ([ErrMessage]), never a
//     panic and never another value. A refusal has the code, message and data that the pool gave it.
//   - A [Server] serves while its process has the pool ([Server.Lead], [Server.Rest]) and refuses before and after: then, and when
//     it has as many calls as it takes, nobody has looked at the call. Its health service says the same.
//   - A [Client] finds the process that serves the pool, stays with it, and goes on to the next when it is gone, does not lead any
//     more or is silent. It tries a call again until its time is over; SendBundleNow and DropUserOperation only as long as they
//     cannot have been carried out. Everything else may be repeated: it is by hash or by value.
//   - While the pool is silent the client asks the other processes whether one of them serves it by now; when one does, streams and
//     attempts that wait for the silent one end.
//   - Every call has an end: the caller's, the client's, the server's, whichever is first. A stream on which nothing comes for too
//     long, not even a pulse, has broken; [Client.Health] says so.
//   - Events told are heard once by the process that serves the pool, in order; the next one hears what its predecessor did not
//     acknowledge. When nobody listens for very long, the oldest are dropped, and that is logged.
//   - An operation goes to a builder once, then its hash does.
//   - Nobody calls without what the configuration demands (token, client certificate), and without either only this machine does.
//
// It never adds a rule of the pool's, never decides what an operation is worth, and never acknowledges what the pool has not. It keeps no state that
// matters: after a restart of either end everything is as the ports' answers say.
package remote
