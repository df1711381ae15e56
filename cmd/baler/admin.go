package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"text/tabwriter"

	"baler/bundlesender"
	"baler/chain"
	"baler/evm"
	"baler/funding"
	"baler/signer"
	"baler/telemetry"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"golang.org/x/sync/errgroup"
)

// adminCommand are the commands for operators.
type adminCommand struct {
	Drain         drainCommand  `cmd:"" help:"Let a key of a running bundler finish its transactions, and free it."`
	ListSigners   listSigners   `cmd:"" help:"Print the bundle senders' keys with their balances and nonces."`
	FundSigners   fundSigners   `cmd:"" help:"Fund the bundle senders' keys that are low. Prints what it would do; with --execute it does so."`
	DefundSigners defundSigners `cmd:"" help:"Send what the bundle senders' keys have to another account. Prints what it would do; with --execute it does so."`
}

// treasurySettings are what the commands on funds share. The names are those of the node command, so that one configuration
// file serves both.
type treasurySettings struct {
	nodeSettings `group:"Node"`

	Chain chainSettings `embed:"" group:"Chain"`

	Keys          keySettings   `embed:"" group:"Keys"`
	Leases        leaseSettings `embed:"" group:"Leases"`
	storeSettings `group:"Store"`
	Log           logSettings `embed:"" group:"Logs"`

	MaxFeePerGas                 string `help:"Most a transaction offers, in wei per gas. Default: the chain's." placeholder:"WEI" group:"Fees"`
	MinPriorityFeePerGas         string `help:"Least priority fee of a transaction, in wei per gas. Default: the chain's." placeholder:"WEI" group:"Fees"`
	MaxPriorityFeePerGas         uint64 `help:"Most that the oracle may suggest, in wei per gas; 0: no limit." default:"100000000000" group:"Fees"`
	BundleBaseFeeOverheadPercent uint64 `help:"Added to the next base fee for the max fee, in percent." default:"27" group:"Fees"`
}

type executeSetting struct {
	Execute bool `help:"Do it. Without this nothing is signed." aliases:"yes"`
}

// treasury is an open treasury: a chain, and keys.
type treasury struct {
	treasurySettings

	client, heads *chain.Client
	keys          []signer.Signer
	head          *types.Header
	config        funding.Config // without key, plan and journal
}

// open connects and opens the keys. To look at keys no lease of them is needed.
func (s treasurySettings) open(ctx context.Context, look bool, out console) (*treasury, error) {
	keys, err := s.Keys.open(ctx, look || s.Leases.leased())
	if err != nil {
		return nil, err
	}
	t := &treasury{treasurySettings: s, keys: keys}
	if t.client, t.heads, err = s.dial(ctx, s.Log.logger(out)); err != nil {
		return nil, err
	}
	if err := t.describe(ctx, out); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// describe reads what the chain says about itself.
func (t *treasury) describe(ctx context.Context, out console) error {
	chainID, err := t.client.ChainID(ctx)
	if err != nil {
		return noAnswer("--node_http", err)
	}
	log := t.Log.logger(out)
	//nolint:contextcheck // an event carries no context
	t.config = funding.Config{
		ChainID: new(big.Int).SetUint64(chainID), Chain: t.client, Relay: txsender.NewRaw(t.client), Machine: bundlesender.DefaultConfig(),
		MaxPriorityFee:         *uint256.NewInt(t.MaxPriorityFeePerGas),
		BaseFeeOverheadPercent: t.BundleBaseFeeOverheadPercent, Once: true, Sink: telemetry.Log(log), Log: log, Boundary: out.boundary,
	}
	spec, err := t.Chain.spec(chainID)
	if err != nil {
		return err
	}
	if t.config.MaxFeePerGas, err = wei("--max_fee_per_gas", t.MaxFeePerGas, spec.MaxFeePerGas); err != nil {
		return err
	}
	if t.config.MinPriorityFee, err = wei("--min_priority_fee_per_gas", t.MinPriorityFeePerGas, spec.MinPriorityFee); err != nil {
		return err
	}
	if t.config.Rules, err = evm.DetectChainConfig(ctx, t.client, chainID); err != nil {
		return noAnswer("--node_http", err)
	}
	if err := t.client.CallContext(ctx, &t.head, "eth_getBlockByNumber", "latest", false); err != nil || t.head == nil {
		return noAnswer("--node_http: the latest block", errors.Join(err, errors.New("none")))
	}
	return nil
}

func (t *treasury) close() {
	if t.heads != nil {
		t.heads.Close()
	}
	t.client.Close()
}

func (t *treasury) addresses() []common.Address {
	accounts := make([]common.Address, len(t.keys))
	for i, key := range t.keys {
		accounts[i] = key.Address()
	}
	return accounts
}

// job is a key that is to pay by a plan.
type job struct {
	key  signer.Signer
	plan funding.Plan
}

// preview is what a job would do now.
func (t *treasury) preview(ctx context.Context, j job) (*funding.Payment, error) {
	config := t.config
	config.Key, config.Plan = j.key, j.plan
	return funding.New(config).Preview(ctx, t.head)
}

// execute carries the jobs out side by side, and returns when nothing of them is left to be done.
func (t *treasury) execute(ctx context.Context, jobs []job) error {
	meta, err := metaOf(ctx, t.client)
	if err != nil {
		return err
	}
	if t.Leases.leased() {
		return t.executeLeased(ctx, jobs, meta)
	}
	kept, err := t.storeSettings.open(meta)
	if err != nil {
		return fmt.Errorf("%w (a bundler that runs on this store must be stopped: two programs must not sign with one key)", err)
	}
	committing, stopCommitting := context.WithCancel(context.WithoutCancel(ctx))
	committed := make(chan error, 1)
	go func() { committed <- kept.Run(committing) }()
	err = t.pay(ctx, jobs, func(config *funding.Config) (err error) {
		config.Journal, err = kept.Journal(config.Key.Address())
		return err
	})
	stopCommitting()
	return errors.Join(err, <-committed, kept.Close())
}

func (t *treasury) pay(ctx context.Context, jobs []job, prepare func(*funding.Config) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var payers []*funding.Payer
	for _, j := range jobs {
		config := t.config
		config.Key, config.Plan = j.key, j.plan
		if err := prepare(&config); err != nil {
			return err
		}
		payers = append(payers, funding.New(config))
	}
	updates := make(chan chain.Update)
	following, group := errgroup.Group{}, errgroup.Group{}
	following.Go(func() error {
		defer close(updates)
		return t.client.Follow(ctx, t.heads, chain.FollowOptions{Log: t.config.Log}, updates)
	})
	following.Go(func() error {
		for update := range updates {
			for _, payer := range payers {
				payer.Head(&update)
			}
		}
		return nil
	})
	for _, payer := range payers {
		group.Go(func() error { return payer.Run(ctx) })
	}
	err := group.Wait()
	interrupted := ctx.Err()
	cancel()
	_ = following.Wait() // ends with the context
	return errors.Join(err, interrupted)
}

type listSigners struct{ treasurySettings }

// Run prints the keys.
func (c *listSigners) Run(ctx context.Context, out console) error {
	t, err := c.treasurySettings.open(ctx, true, out)
	if err != nil {
		return err
	}
	defer t.close()
	accounts := t.addresses()
	balances, err := funding.Balances(ctx, t.client, t.head.Hash(), accounts)
	if err != nil {
		return err
	}
	mined, pending := make([]hexutil.Uint64, len(accounts)), make([]hexutil.Uint64, len(accounts))
	var batch []rpc.BatchElem
	for i, account := range accounts {
		batch = append(batch,
			rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{account, chain.AtHash(t.head.Hash())}, Result: &mined[i]},
			rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{account, "pending"}, Result: &pending[i]})
	}
	if err := t.client.BatchCallContext(ctx, batch); err != nil {
		return err
	}
	table := newTable(out.out)
	fmt.Fprintf(table, "signer\tbalance in wei\tnonce\twaiting\n")
	for i, account := range accounts {
		if err := errors.Join(batch[2*i].Error, batch[2*i+1].Error); err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\n", account, balances[i].Dec(), mined[i], max(pending[i], mined[i])-mined[i])
	}
	return table.Flush()
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

type fundSigners struct {
	treasurySettings
	executeSetting

	Funding fundingSettings `embed:"" group:"Funding"`
}

// Run funds the keys.
func (c *fundSigners) Run(ctx context.Context, out console) error {
	below, to, err := c.Funding.levels()
	if err != nil {
		return err
	}
	payer, err := c.Funding.key(ctx, c.Keys, !c.Execute || c.Leases.leased())
	if err != nil {
		return err
	}
	if payer == nil {
		return badSetting("--funding_private_key is missing: a funding key, given so, in a file or in KMS")
	}
	t, err := c.treasurySettings.open(ctx, true, out) // the signers' keys are paid, and do not sign
	if err != nil {
		return err
	}
	defer t.close()
	return t.run(ctx, out, c.Execute, []job{{payer, &funding.TopUp{Node: t.client, Accounts: t.addresses, Below: below, To: to}}})
}

type defundSigners struct {
	treasurySettings
	executeSetting

	To     string   `help:"Account that gets what the keys have." placeholder:"ADDRESS" required:""`
	Leave  string   `help:"What each key keeps beside the gas, in wei." default:"0" placeholder:"WEI"`
	Signer []string `help:"Only these keys. Default: all." placeholder:"ADDRESS"`
}

// Run empties the keys.
func (c *defundSigners) Run(ctx context.Context, out console) error {
	to, err := addresses("--to", []string{c.To})
	if err != nil {
		return err
	}
	leave, err := wei("--leave", c.Leave, uint256.Int{})
	if err != nil {
		return err
	}
	only, err := addresses("--signer", c.Signer)
	if err != nil {
		return err
	}
	t, err := c.treasurySettings.open(ctx, !c.Execute, out)
	if err != nil {
		return err
	}
	defer t.close()
	var jobs []job
	for _, key := range t.keys {
		if key.Address() == to[0] || len(only) > 0 && !slices.Contains(only, key.Address()) {
			continue
		}
		jobs = append(jobs, job{key, &funding.Sweep{Node: t.client, To: to[0], Leave: leave}})
	}
	if len(jobs) == 0 {
		return badSetting("--signer: none of these is a signer's key to be emptied")
	}
	return t.run(ctx, out, c.Execute, jobs)
}

// run prints what the jobs would do, and does it if it is asked to. It does so too where nothing new is to be paid: a payment
// that an earlier run has left in the journal may still be on its way.
func (t *treasury) run(ctx context.Context, out console, execute bool, jobs []job) error {
	table := newTable(out.out)
	fmt.Fprintf(table, "from\tto\twei\n")
	lines := 0
	for _, j := range jobs {
		payment, err := t.preview(ctx, j)
		if err != nil {
			return err
		}
		if payment == nil {
			continue
		}
		for _, part := range payment.Parts {
			fmt.Fprintf(table, "%s\t%s\t%s\n", j.key.Address(), part.To, part.Amount.Dec())
			lines++
		}
	}
	if lines > 0 {
		if err := table.Flush(); err != nil {
			return err
		}
	} else {
		printf(out.out, "Nothing is to be moved.\n")
	}
	if !execute {
		printf(out.out, "Nothing was signed: say --execute to do it.\n")
		return nil
	}
	if err := t.execute(ctx, jobs); err != nil {
		return err
	}
	printf(out.out, "Done.\n")
	return nil
}
