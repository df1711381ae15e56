package main

// What the commands' --help says beside their flags.

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
func (*devCommand) Help() string {
	return `Starts a chain in this process with every EntryPoint, account factories and paymasters, and a bundler on it. It prints URLs, funded
keys and a curl to try. Nothing is kept when it ends.

Examples:
  baler dev
  baler dev --block-time 200ms --num-signers 4
  baler dev --rpc-addr 127.0.0.1:0 --node-addr 127.0.0.1:0 --ready-file ready.json    free ports, told in a file`
}

// Help is shown with the flags.
func (*demoCommand) Help() string {
	return `Examples:
  baler demo
  baler demo --ops 500 --accounts 40 --num-signers 4
  baler demo --json | jq .totals`
}

// Help is shown with the flags.
func (*loadCommand) Help() string {
	return `Knows nothing but URLs: any ERC-4337 bundler can be loaded.

Examples:
  baler load --url http://127.0.0.1:3000 --node http://127.0.0.1:8545 --entry-point 0.8 --ops 500`
}

// Help is shown with the flags.
func (*replayCommand) Help() string {
	return `Reads the journals in a data directory, and shows what each bundle sender did and why.

Examples:
  baler replay baler-data`
}

// Help is shown with the flags.
func (*configPrintCommand) Help() string {
	return `Prints TOML that can be given to --config again, with where each value comes from.

Examples:
  baler config print --config baler.toml --num-signers 2`
}

// Help is shown with the flags.
func (*configCheckCommand) Help() string {
	return `Ends with exit code 0 if 'baler node' would start with these settings, with 2 and one line that says what is wrong if not.

Examples:
  baler config check --config baler.toml
  baler config check --config baler.toml --offline     asks neither the node nor whoever keeps the keys`
}
