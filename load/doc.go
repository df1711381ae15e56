// Package load drives a bundler with real user operations and reports what became of them.
//
// In: the URL of any ERC-7769 bundler, the URL of a node of its chain, a funded key, and per EntryPoint an account
// factory (and a verifying paymaster, if some operations are to be sponsored). Out: a [Report].
//
// Each account is a SimpleAccount: its first operation deploys it, the later ones move one wei. An account sends its
// next operation when the one before is mined; accounts work in parallel.
//
// It promises to count nothing on the bundler's word alone: the operation's hash is computed here and compared, and
// what the bundler calls mined is looked up at the node, where costs and fees are read too. It never reads anything
// of Baler beyond its public JSON-RPC surface.
package load
