// Package rpc is Baler's JSON-RPC surface: ERC-7769, Baler's own methods and those of other bundlers that clients call,
// over HTTP and WebSocket on one port, and GET /health. docs/rpc.md lists every method; a test compares it.
//
// In: requests of clients nobody vouches for. Out: calls of a [Backend] with decoded, well-formed arguments, and its
// answers as JSON with the error codes of ERC-7769.
//
// It promises that everything a client can make large is bounded (body, message, batch, answer, time, calls at once,
// connections), that a call's context ends with its client, its time or the server, and that no text of an internal
// error reaches a client. It never judges an operation: whether it is valid is the backend's business.
package rpc
