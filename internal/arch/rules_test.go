package arch

// A layer is a step of an operation's way through Baler. A package may import packages of the layers above its own
// in this list, never one of its own layer or below: so the list, read downwards, is the way, and there is no cycle
// of knowledge, not even an indirect one.
type layer struct {
	packages []string
	reason   string
}

// way is the import order of the whole module. A package that is missing here fails the test: decide its place.
func way() []layer {
	return []layer{
		{[]string{"rejection", "userop"}, "what an operation is and why it is refused: known by everyone"},
		{[]string{"entrypoint/artifacts"}, "ABIs and bytecode, embedded"},
		{[]string{"entrypoint"}, "encodes operations for the contracts"},
		{[]string{"gas"}, "arithmetic over operations and fees"},
		{[]string{"profit"}, "the books: what bundles cost and earned"},
		{[]string{"event"}, "what happened, in the words of the packages above; heard by the surfaces"},
		{[]string{"erc7562"}, "judges a trace, whoever recorded it"},
		{[]string{"evm"}, "runs contracts over a node's state; knows nothing of operations' rules"},
		{[]string{"datafee"}, "what data costs on a rollup, read from its contracts"},
		{[]string{"validation"}, "prechecks and simulation of operations"},
		{[]string{"estimation"}, "searches gas limits with the same simulation"},
		{[]string{"pool"}, "holds what was validated"},
		{[]string{"proposer"}, "chooses from the pool and assembles"},
		{[]string{"bundlesender"}, "decides what is sent, replaced and cancelled"},
		{[]string{"journal", "internal/senderrun"}, "writes down what the bundle sender did, and repeats it; a random life for it, in tests"},
		{[]string{"aggregator/bls"}, "signatures that add up, on a curve; knows nothing of operations"},
		{[]string{"internal/fakekms"}, "a KMS to sign with, in tests"},
		{[]string{"lease"}, "says which process may use a name; knows nothing of what it is for"},
		{[]string{"internal/redistest"}, "a real redis-server, for tests"},
		{[]string{"signer", "txsender", "aggregator", "chain", "store"}, "adapters to keys, relays, nodes and disks"},
		{[]string{"edge"}, "what stands between the network and a handler; knows nothing of operations"},
		{[]string{"funding"}, "moves money between keys, with the adapters' hands"},
		{[]string{"rpc", "dashboard"}, "declare what they serve and show; the shell implements it"},
		{[]string{"node"}, "the shell: every goroutine of the pipeline"},
		{[]string{"remote/remotev1"}, "what processes say to each other, generated"},
		{[]string{"remote", "telemetry"}, "other ways into and out of the shell"},
		{[]string{"load", "devchain"}, "a client that knows only URLs, and a chain for development"},
		{[]string{"cmd/baler", "test/bench", "test/conformance"}, "wires it all; measures it all; says what shows what"},
		{[]string{"internal/arch"}, "tests only"},
	}
}

// pure are the packages whose behaviour is a function of their arguments: they can be tested without a fake, replayed,
// and run a million times in a property test.
func pure() []string {
	return []string{"rejection", "userop", "entrypoint", "entrypoint/artifacts", "gas", "profit", "event", "erc7562", "pool", "bundlesender", "journal", "aggregator/bls"}
}

// banned is what pure packages may not import, each with its reason. A trailing /... takes the packages below too.
func banned() map[string]string {
	const geth = "github.com/ethereum/go-ethereum/"
	return map[string]string{
		"context":              "there is nothing to cancel",
		"net/...":              "there is no network",
		"os/...":               "no files, no environment, no signals",
		"sync/...":             "one caller drives it; who shares it, locks it",
		"log/...":              "what happened is returned, not printed",
		geth + "ethclient/...": "there is no node",
		geth + "rpc/...":       "there is no node",
		geth + "log/...":       "what happened is returned, not printed",
		geth + "node/...":      "there is no node",
		geth + "eth/...":       "there is no node",
	}
}

// shells may start goroutines and read the clock: everything else is called, and is told the time as a block number or
// as a field of an event. Reason: a package that starts its own goroutine or timer can be neither stopped nor replayed
// by its caller.
func shells() []string {
	return []string{
		"node", "chain", "signer", "funding", "txsender", "lease", "remote", "dashboard", "edge", "rpc", "devchain", "load", "cmd/baler", "test/bench", "internal/redistest",
	}
}

// clockReads are the functions of package time that read the clock or wait for it.
func clockReads() []string {
	return []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}
}

// devchainUsers may import devchain outside tests: it links a whole geth, which the bundler itself must not need.
func devchainUsers() []string { return []string{"cmd/baler", "test/bench"} }

// notForOperators are packages that builds with the tag nodev do not link.
func notForOperators() []string {
	const geth = "github.com/ethereum/go-ethereum/"
	return []string{
		module + "/devchain/...", geth + "node/...", geth + "eth/...", geth + "p2p", geth + "core/txpool/...", geth + "miner/...",
		"github.com/cockroachdb/pebble/...", "github.com/syndtr/goleveldb/...",
	}
}

// rooms are the folders of the layout; the ones without code yet say so in their package comment.
func rooms() []string {
	return []string{
		"rpc", "userop", "entrypoint", "gas", "erc7562", "evm", "datafee", "validation", "estimation", "pool", "proposer",
		"bundlesender", "journal", "lease", "signer", "txsender", "aggregator", "chain", "store", "node", "remote", "event",
		"telemetry", "dashboard", "edge", "devchain", "load", "rejection", "profit", "cmd/baler",
	}
}

// noNames are package names that say nothing of what is inside, and so take in everything.
func noNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "types", "model", "models", "manager", "core", "misc", "shared"}
}

// maxLines is the length of a file beyond which it holds more than one subject. 400 is the aim, this is the bound.
const maxLines = 600
