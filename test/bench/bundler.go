package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"baler/devchain"
	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// contender is a bundler to measure.
type contender struct {
	name string
	// start starts it against a node, with so many signers, to serve on a port.
	start func(ctx context.Context, chain chainReady, s scenario, signers, port int) (*process, func() error, error)
}

// The contenders' names.
const (
	balerName = "Baler"
	altoName  = "Alto"
)

// keys returns a contender's keys: each has its own, so that none finds transactions of another.
func keys(from, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = hexKey(devchain.Key(from + i))
	}
	return strings.Join(list, ",")
}

func hexKey(key *ecdsa.PrivateKey) string { return hexutil.Encode(crypto.FromECDSA(key)) }

// Which of the chain's keys are whose.
const (
	fundingKey = 0
	balerKeys  = 1
	altoKeys   = 18
	altoUtil   = 35
	mostKeys   = 16
)

// baler is our bundler as users run it: full rules, and a store on the disk.
func baler(binary string, flags []string) contender {
	return contender{name: balerName, start: func(ctx context.Context, chain chainReady, s scenario, signers, port int) (*process, func() error, error) {
		dir, err := os.MkdirTemp("", "baler-bench-")
		if err != nil {
			return nil, nil, err
		}
		args := append([]string{
			"node", "--node-http", chain.CountedURL, "--node-ws", chain.WSURL, "--rpc-addr", "127.0.0.1:" + strconv.Itoa(port),
			"--data-dir", filepath.Join(dir, "data"), "--entry-point", benchVersion.String(), "--log-level", "error",
		}, slices.Concat(flags, s.flags)...)
		p, err := start(ctx, "baler", []string{"BALER_SIGNER_PRIVATE_KEYS=" + keys(balerKeys, signers)}, binary, args...)
		return p, func() error { return os.RemoveAll(dir) }, err
	}}
}

// alto is the npm package of the Alto bundler without its own ERC-7562 checks, which need a tracer that geth lacks.
func alto(dir string) contender {
	return contender{name: altoName, start: func(ctx context.Context, chain chainReady, _ scenario, signers, port int) (*process, func() error, error) {
		program := filepath.Join(dir, "node_modules", "@pimlico", "alto", "esm", "cli", "alto.js")
		if _, err := os.Stat(program); err != nil {
			return nil, nil, fmt.Errorf("alto is not installed: %w", err)
		}
		p, err := start(ctx, "alto", nil, "node", program,
			"--entrypoints", entrypoint.Canonical(benchVersion).Address.Hex(), "--rpc-url", chain.CountedURL,
			"--executor-private-keys", keys(altoKeys, signers), "--utility-private-key", hexKey(devchain.Key(altoUtil)),
			"--min-entity-stake", "1", "--min-entity-unstake-delay", "1", "--safe-mode", "false", "--block-time", "1000",
			"--max-gas-per-bundle", "15000000", // its default is over EIP-7825's limit for a transaction
			"--port", strconv.Itoa(port), "--log-level", "fatal")
		return p, func() error { return nil }, err
	}}
}

// freePort returns a port nobody listens on now.
func freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(fmt.Errorf("have address %v, want a TCP address", listener.Addr()), listener.Close())
	}
	return address.Port, listener.Close()
}
