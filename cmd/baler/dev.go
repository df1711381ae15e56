//go:build !nodev

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"baler/chain"
	"baler/devchain"
	"baler/entrypoint"
	"baler/load"
	"baler/node"
	"baler/signer"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// devCommand runs a chain and a bundler until interrupted.
type devCommand struct {
	ChainID   uint64        `help:"Chain id." default:"1337" group:"Chain"`
	BlockTime time.Duration `help:"Time between blocks." default:"1s" group:"Chain"`
	NodeAddr  string        `help:"Address of the chain's JSON-RPC, HTTP and WebSocket." default:"127.0.0.1:8545" group:"Chain"`
	ReadyFile string        `help:"Write endpoints, keys and addresses as JSON to this file when ready." placeholder:"FILE" group:"Chain"`

	entryPointSettings
	bundlerSettings
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

// signerKeys is how many of the chain's funded keys may be bundle senders; the others are the user's.
const signerKeys = 4

// Run runs until the context ends.
func (c *devCommand) Run(ctx context.Context, out console) error {
	if c.Senders.NumSigners == 0 {
		c.Senders.NumSigners = 1
	}
	c.Admin.forDevelopment()
	c.RPC.RPCSubscriptions = true
	if loopback(c.RPC.RPCAddr) {
		c.RPC.RPCDebug = true
	} else {
		c.Admin.AdminDebug = true
	}
	log := c.Log.logger(out)
	stack, err := startStack(ctx, stackSettings{
		chain:       devchain.Config{ChainID: c.ChainID, Mining: devchain.Interval, BlockTime: c.BlockTime, HTTPAddr: c.NodeAddr, FundedKeys: signerKeys + 10},
		entryPoints: c.entryPointSettings, bundler: c.bundlerSettings,
	}, out, log)
	if err != nil {
		return err
	}
	ready := stack.describe()
	ready.AdminURL, ready.AdminToken = stack.bundler.operatorsURL, c.Admin.AdminToken
	for _, key := range stack.chain.Keys()[:c.Senders.NumSigners] {
		ready.Signers = append(ready.Signers, crypto.PubkeyToAddress(key.PublicKey).Hex())
	}
	if ready.Samples, err = stack.samples(ctx); err != nil {
		return errors.Join(fmt.Errorf("operations to try: %w", err), stack.close())
	}
	ready.print(out)
	if c.ReadyFile != "" {
		err = ready.write(c.ReadyFile)
	}
	if err == nil {
		err = stack.bundler.wait()
	}
	return errors.Join(err, stack.close())
}

// stack is an embedded chain and a bundler on it.
type stack struct {
	chain       *devchain.Chain
	client      *chain.Client
	heads       *chain.Client
	bundler     *bundler
	entryPoints []entrypoint.EntryPoint
}

type stackSettings struct {
	chain       devchain.Config
	entryPoints entryPointSettings
	bundler     bundlerSettings
}

// startStack starts the chain, then the bundler against the chain's public JSON-RPC, as if it were anybody's node.
func startStack(ctx context.Context, s stackSettings, out console, log *slog.Logger) (_ *stack, err error) {
	if _, err := s.entryPoints.versions(); err != nil { // before a port is taken
		return nil, err
	}
	st := &stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.close())
		}
	}()
	if st.chain, err = devchain.Start(ctx, s.chain); err != nil {
		if errors.Is(err, devchain.ErrConfig) || errors.Is(err, syscall.EADDRINUSE) {
			err = settingsError{err}
		}
		return nil, err
	}
	if st.client, st.heads, err = dialNode(ctx, st.chain.HTTPURL(), st.chain.WSURL()); err != nil {
		return nil, err
	}
	if st.entryPoints, err = s.entryPoints.deployed(ctx, st.client); err != nil {
		return nil, err
	}
	var keys []signer.Signer
	for _, key := range st.chain.Keys()[:signerKeys] {
		keys = append(keys, signer.NewPrivateKey(key))
	}
	if len(s.bundler.Aggregator.Aggregator) == 0 {
		s.bundler.Aggregator.ofDevelopment(st.chain.Contracts(), st.entryPoints)
	}
	st.bundler, err = startBundler(ctx, s.bundler, st.client, st.heads, st.entryPoints, keys, node.Funding{}, kept{}, out, log)
	return st, err
}

// close stops the bundler and waits for it.
func (b *bundler) close() error {
	b.stop()
	return b.wait()
}

// sampleOps is how many operations are ready to be sent by hand.
const sampleOps = 3

// sample is an operation that is ready to be sent.
type sample struct {
	EntryPoint common.Address  `json:"entry_point"`
	Hash       common.Hash     `json:"hash"`
	Operation  json.RawMessage `json:"operation"`
}

// samples are signed operations of new accounts, for the newest EntryPoint that has a paymaster; none if none has.
func (st *stack) samples(ctx context.Context) ([]sample, error) {
	contracts := st.chain.Contracts()
	at := slices.IndexFunc(st.entryPoints, func(ep entrypoint.EntryPoint) bool {
		return contracts.Paymasters[ep.Version] != (common.Address{})
	})
	if at < 0 {
		return nil, nil
	}
	ep := st.entryPoints[at]
	ops, err := load.Sample(ctx, load.Config{
		BundlerURL: st.bundler.url, NodeURL: st.chain.HTTPURL(), Accounts: sampleOps, FundingKey: st.chain.Keys()[signerKeys],
		Targets: []load.Target{{
			EntryPoint: ep, Factory: contracts.AccountFactories[ep.Version], Paymaster: contracts.Paymasters[ep.Version], PaymasterSigner: contracts.PaymasterSigner,
		}},
	})
	if err != nil {
		return nil, err
	}
	list := make([]sample, len(ops))
	for i, op := range ops {
		text, err := json.Marshal(op)
		if err != nil {
			return nil, err
		}
		list[i] = sample{EntryPoint: ep.Address, Hash: op.Hash(ep.Address, st.chain.ChainID(), common.Address{}), Operation: text}
	}
	return list, nil
}

func (st *stack) close() error {
	var errs []error
	if st.bundler != nil {
		errs = append(errs, st.bundler.close())
	}
	if st.heads != nil {
		st.heads.Close()
	}
	if st.client != nil {
		st.client.Close()
	}
	if st.chain != nil {
		errs = append(errs, st.chain.Close())
	}
	return errors.Join(errs...)
}

// readyReport is what a client of `baler dev` needs to know.
type readyReport struct {
	BundlerURL string        `json:"bundler_url"`
	AdminURL   string        `json:"admin_url"`
	AdminToken string        `json:"admin_token"`
	Signers    []string      `json:"signers"` // addresses of the bundle senders' keys
	NodeURL    string        `json:"node_url"`
	NodeWSURL  string        `json:"node_ws_url"`
	ChainID    uint64        `json:"chain_id"`
	Keys       []string      `json:"keys"` // hex, funded, and none of the bundler's
	Contracts  readyContract `json:"contracts"`
	Samples    []sample      `json:"samples"` // each can be sent once
}

type readyContract struct {
	EntryPoints        map[string]common.Address `json:"entry_points"`
	AccountFactories   map[string]common.Address `json:"account_factories"`
	Paymasters         map[string]common.Address `json:"paymasters"`
	PaymasterSignerKey string                    `json:"paymaster_signer_key"`
	Simple7702Accounts map[string]common.Address `json:"simple_7702_accounts"`
	TokenPaymaster     common.Address            `json:"token_paymaster"`
	Multicall3         common.Address            `json:"multicall3"`
	Counter            common.Address            `json:"counter"`
}

func (st *stack) describe() readyReport {
	contracts := st.chain.Contracts()
	report := readyReport{
		BundlerURL: st.bundler.url, NodeURL: st.chain.HTTPURL(), NodeWSURL: st.chain.WSURL(), ChainID: st.chain.ChainID(),
		Contracts: readyContract{
			EntryPoints: make(map[string]common.Address), AccountFactories: byVersion(contracts.AccountFactories),
			Paymasters: byVersion(contracts.Paymasters), Simple7702Accounts: byVersion(contracts.Simple7702Accounts),
			PaymasterSignerKey: hexutil.Encode(crypto.FromECDSA(contracts.PaymasterSigner)),
			TokenPaymaster:     contracts.TokenPaymaster, Multicall3: contracts.Multicall3, Counter: contracts.Counter,
		},
	}
	for _, ep := range st.entryPoints {
		report.Contracts.EntryPoints[ep.Version.String()] = ep.Address
	}
	for _, key := range st.chain.Keys()[signerKeys:] {
		report.Keys = append(report.Keys, hexutil.Encode(crypto.FromECDSA(key)))
	}
	return report
}

func byVersion(addresses map[userop.Version]common.Address) map[string]common.Address {
	named := make(map[string]common.Address, len(addresses))
	for version, address := range addresses {
		named[version.String()] = address
	}
	return named
}

// write puts the report into a file in one step: whoever waits for the file never reads half of it.
func (r readyReport) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".ready-*")
	if err != nil {
		return badSetting("--ready_file: %w", err)
	}
	_, err = temporary.Write(append(text, '\n'))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("--ready_file: %w", err)
	}
	return nil
}

func (r readyReport) print(out console) {
	printf(out.out, "\nBaler is ready. These keys are known to everybody: use them on this chain only.\n\n")
	printf(out.out, "  live page %s   operators' token %s\n\n", r.AdminURL, r.AdminToken)
	where := ""
	if r.AdminURL != "http://"+usualOperators {
		where = " --admin-url " + r.AdminURL
	}
	printf(out.out, "  in a terminal       baler top%s\n", where)
	printf(out.out, "  free a sender's key BALER_ADMIN_TOKEN=%s baler admin drain %s%s\n\n", r.AdminToken, r.Signers[0], where)
	printf(out.out, "  bundler  %s\n  node     %s\n           %s\n  chain id %d\n", r.BundlerURL, r.NodeURL, r.NodeWSURL, r.ChainID)
	for _, version := range userop.Versions() {
		name := version.String()
		if ep, served := r.Contracts.EntryPoints[name]; served {
			printf(out.out, "\n  EntryPoint v%s   %s\n  account factory   %s\n  paymaster         %s\n", name, ep, r.Contracts.AccountFactories[name], r.Contracts.Paymasters[name])
		}
	}
	printf(out.out, "\n  paymaster signer  %s\n  funded keys\n", r.Contracts.PaymasterSignerKey)
	for _, key := range r.Keys {
		printf(out.out, "    %s\n", key)
	}
	r.printSamples(out)
	printf(out.out, "\nCtrl-C stops both.\n\n")
}

// printSamples prints commands that send the operations.
func (r readyReport) printSamples(out console) {
	if len(r.Samples) == 0 {
		printf(out.out, "\nTry it:\n\n  curl -s -H 'content-type: application/json' %s \\\n    -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_supportedEntryPoints\",\"params\":[]}'\n", r.BundlerURL)
		return
	}
	printf(out.out, "\nTry it: each of these sends one operation of a new account, and then look for its hash on the page.\n")
	for _, s := range r.Samples {
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "eth_sendUserOperation", "params": []any{s.Operation, s.EntryPoint}})
		if err != nil {
			continue // an operation has its JSON: it came from there
		}
		printf(out.out, "\n  curl -s -H 'content-type: application/json' %s -d '%s'\n", r.BundlerURL, body)
	}
	printf(out.out, "\nBreak something: dev_hold keeps transactions out of the blocks, dev_drop makes the node forget one, dev_release ends it.\n\n")
	printf(out.out, "  curl -s -H 'content-type: application/json' %s -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"dev_hold\",\"params\":[]}'\n", r.NodeURL)
}
