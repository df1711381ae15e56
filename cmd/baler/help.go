package main

import kongcompletion "github.com/jotaen/kong-completion"

// What the commands' --help says beside their flags. A test parses every example.

// completionCommand is the library's, with examples.
type completionCommand struct{ kongcompletion.Completion }

// Help is shown with the flags.
func (*completionCommand) Help() string {
	return `Prints the line that turns completion on in this shell; put it into the shell's init file to keep it.

Examples:
  baler completion                                     for the shell that you use
  baler completion zsh
  baler completion --code fish                         the code itself`
}

// Help is shown with the commands.
func (*adminCommand) Help() string {
	return `'drain' talks to a running bundler. The others read the keys and the node's URL from the same settings as 'baler node', so that one
file serves them all, and sign nothing without --execute.

Examples:
  baler admin list-signers --config baler.toml
  baler admin drain 0x70997970C51812dc3A010C7d01b50e0d17dc79C8`
}

// Help is shown with the flags.
func (*drainCommand) Help() string {
	return `The key's bundle sender begins no new bundle, waits for what it has out, and frees the key: then it can be moved, rotated or emptied.
Ctrl-C ends the waiting, not the draining. The token is better given as BALER_ADMIN_TOKEN than as a flag: other users of the machine
see a program's flags.

Examples:
  BALER_ADMIN_TOKEN=... baler admin drain 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
  baler admin drain 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --admin-url https://bundler:3001 --admin-ca-cert ca.pem
  baler admin drain 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --admin-client-cert me.pem --admin-client-key me.key    no token`
}

// Help is shown with the flags.
func (*listSigners) Help() string {
	return `Prints for each key its address, its balance, its nonce, and how many of its transactions wait. Nothing is signed.

Examples:
  baler admin list-signers --config baler.toml
  baler admin list-signers --config baler.toml --chain polygon
  baler admin list-signers --node-http http://127.0.0.1:8545 --signer-mnemonic-file words --signer-mnemonic-keys 4`
}

// Help is shown with the flags.
func (*fundSigners) Help() string {
	return `Tops the keys that have less than --fund-below up to --fund-to, in one transaction of the funding key. Without --execute it prints
what it would pay. A bundler that runs on the same store must be stopped, or its keys leased through Redis.

Examples:
  baler admin fund-signers --config baler.toml --fund-below 100000000000000000 --fund-to 500000000000000000
  baler admin fund-signers --config baler.toml --funding-private-key-file treasury --execute`
}

// Help is shown with the flags.
func (*defundSigners) Help() string {
	return `Sends what the keys have, but for the gas and what --leave says, to another account. Without --execute it prints what it would send.

Examples:
  baler admin defund-signers --config baler.toml --to 0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65
  baler admin defund-signers --config baler.toml --to 0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65 --signer 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --execute`
}

// Help is shown with the flags.
func (*probeCommand) Help() string {
	return `Prints what the probe says. Exit code 0: it says yes; 1: it says no, or nobody answers.

Examples:
  baler probe
  baler probe http://127.0.0.1:3001/health --timeout 10s`
}

// Help is shown with the flags.
func (*explainCommand) Help() string {
	return `Asks a running bundler for everything it knows of an operation: where it is, what happened to it, and if it waits, what it waits for
and at which base fee it will be taken.

Examples:
  baler explain 0x50ed40920c683d30ee1c67ba819c432b39355b99c33c34d8b3812f6e71611b1d
  baler explain 0x50ed40920c683d30ee1c67ba819c432b39355b99c33c34d8b3812f6e71611b1d --url https://bundler.example --json`
}

// Help is shown with the flags.
func (*whatifCommand) Help() string {
	return `Every time a bundle was chosen, the store kept what it was chosen from. This command chooses again, under each of the policies, and
prints how many bundles and operations there would have been, how long operations would have waited, and what would have been earned.

Examples:
  baler whatif --from-history baler-data
  baler whatif --from-history baler-data --priority-fee-mode-kind base_fee_percent --priority-fee-mode-value 5,10,20`
}

// Help is shown with the commands.
func (*configCommand) Help() string {
	return `Examples:
  baler config check --config baler.toml && baler node --config baler.toml
  baler config check pool --config pool.toml && baler pool --config pool.toml`
}

// Help is shown with the flags.
func (*nodeCommand) Help() string {
	return `Takes user operations over JSON-RPC, and bundles them with the keys it is given. It needs a node with the eth_ namespace, and a
key with funds. Stop it with Ctrl-C or SIGTERM; a restart goes on with what was accepted and sent. SIGHUP reads the settings again.

Examples:
  BALER_SIGNER_PRIVATE_KEYS=0x... baler node --node-http http://127.0.0.1:8545
  baler node --config baler.toml --admin-addr 127.0.0.1:3001
  baler config check --config baler.toml               tries the settings first

docs/configuration.md explains every setting, docs/operations.md how to watch it.`
}

// Help is shown with the flags.
func (*poolCommand) Help() string {
	return `Keeps the operations that wait, settles what is mined, and lends operations to the bundle senders of other processes. It has no
keys and serves no JSON-RPC to the public. With --store=redis several may be started for one chain: one serves, the others stand by.

Examples:
  baler pool --node-http http://127.0.0.1:8545
  BALER_REMOTE_TOKEN=... baler pool --node-http http://10.0.0.1:8545 --listen 10.0.0.2:3010 --store=redis --redis-url redis://10.0.0.3:6379`
}

// Help is shown with the flags.
func (*rpcCommand) Help() string {
	return `Takes user operations over JSON-RPC, validates and estimates them, and hands them to the pool. It keeps nothing.

Examples:
  baler rpc --node-http http://127.0.0.1:8545 --pool http://127.0.0.1:3010
  BALER_REMOTE_TOKEN=... baler rpc --node-http http://10.0.0.1:8545 --pool http://10.0.0.2:3010,http://10.0.0.4:3010`
}

// Help is shown with the flags.
func (*builderCommand) Help() string {
	return `Bundles what waits in the pool with the keys it is given or leases, and gets the bundles mined. While the pool is away it proposes
nothing new, and goes on with the transactions that it has sent.

Examples:
  BALER_SIGNER_PRIVATE_KEYS=0x... baler builder --node-http http://127.0.0.1:8545 --pool http://127.0.0.1:3010
  baler builder --config baler.toml --pool http://10.0.0.2:3010,http://10.0.0.4:3010 --redis-url redis://10.0.0.3:6379`
}

// Help is shown with the flags.
func (*loadCommand) Help() string {
	return `Knows nothing but URLs: any ERC-4337 bundler can be loaded.

Examples:
  baler load --url http://127.0.0.1:3000 --node http://127.0.0.1:8545 --entry-point 0.8 --ops 500`
}

// Help is shown with the flags.
func (*replayCommand) Help() string {
	return `Reads the journals in a data directory or in Redis, and shows what each bundle sender did and why. Then it gives the same events to today's
machine, and fails if that does otherwise than the journal says.

Examples:
  baler replay baler-data
  baler replay baler-data --key 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --all
  baler replay baler-data --json > journal.jsonl       and later: baler replay journal.jsonl
  baler replay --config baler.toml                     the journals in the Redis of --redis-url`
}

// Help is shown with the commands.
func (*configPrintCommand) Help() string { return printHelp }

// Help is shown with the flags.
func (*printNode) Help() string { return printHelp }

// Help is shown with the flags.
func (*printPool) Help() string { return printHelp }

// Help is shown with the flags.
func (*printRPC) Help() string { return printHelp }

// Help is shown with the flags.
func (*printBuilder) Help() string { return printHelp }

const printHelp = `Prints TOML that can be given to --config again, with where each value comes from.

Examples:
  baler config print --config baler.toml --num-signers 2
  baler config print pool --config pool.toml
  baler config print rpc --config rpc.toml
  baler config print builder --config builder.toml`

// Help is shown with the commands.
func (*configCheckCommand) Help() string { return checkHelp }

// Help is shown with the flags.
func (*checkNode) Help() string { return checkHelp }

// Help is shown with the flags.
func (*checkPool) Help() string { return checkHelp }

// Help is shown with the flags.
func (*checkRPC) Help() string { return checkHelp }

// Help is shown with the flags.
func (*checkBuilder) Help() string { return checkHelp }

const checkHelp = `Ends with exit code 0 if the command would start with these settings; if not, with one line that says why, and exit code 2, or 1 if the
node is away.

Examples:
  baler config check --config baler.toml
  baler config check pool --config pool.toml
  baler config check rpc --config rpc.toml
  baler config check builder --config builder.toml
  baler config check --config baler.toml --offline     asks neither the node nor whoever keeps the keys`
