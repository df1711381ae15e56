package load

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"time"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// FleetConfig says which accounts a [Fleet] has.
type FleetConfig struct {
	NodeURL        string
	Target         Target
	Accounts       int
	OwnerSeed      string // empty: new accounts
	FundingKey     *ecdsa.PrivateKey
	FundPerAccount *uint256.Int // wei
	Multicall3     common.Address

	// Outfit is a call that Multicall3 makes once for each account, such as a transfer of tokens that it has; nil: none.
	Outfit func(account common.Address) (to common.Address, data []byte)
}

// Fleet is a row of deployed accounts with money. Their operations are all of one shape (a transfer of one wei, or what Call
// says), with gas limits and fees that were chosen before, so that making one costs its signature only: for measurements
// in which the client must not be what is measured. Its methods are not safe for concurrent use, except on different accounts.
type Fleet struct {
	// Call returns the call data of the operation of an account with a nonce; nil: a transfer of one wei.
	Call func(account common.Address, nonce uint64) []byte
	// Limits and fees of every operation that is made from now on.
	PreVerificationGas, VerificationGasLimit, CallGasLimit uint64
	MaxFeePerGas, MaxPriorityFeePerGas                     uint256.Int

	target   Target
	chainID  uint64
	to       common.Address
	accounts []*account
}

// NewFleet finds or creates the accounts on the chain, and gives each its money.
func NewFleet(ctx context.Context, cfg FleetConfig) (*Fleet, error) {
	r := &run{
		cfg: Config{
			NodeURL: cfg.NodeURL, Targets: []Target{cfg.Target}, Ops: cfg.Accounts, Accounts: cfg.Accounts, OwnerSeed: cfg.OwnerSeed,
			FundingKey: cfg.FundingKey, FundPerAccount: cfg.FundPerAccount, Multicall3: cfg.Multicall3,
		}.withDefaults(),
	}
	var err error
	if r.node, err = dial(ctx, cfg.NodeURL, r.cfg.RequestTimeout, 1); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	defer r.node.close()
	chainID, err := ethclient.NewClient(r.node.Client).ChainID(ctx)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	r.chainID = chainID.Uint64()
	r.fees.read = r.node.suggestFees
	accounts, err := r.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare accounts: %w", err)
	}
	if err := r.deploy(ctx, accounts); err != nil {
		return nil, fmt.Errorf("deploy accounts: %w", err)
	}
	if err := r.fund(ctx, accounts); err != nil {
		return nil, fmt.Errorf("fund accounts: %w", err)
	}
	if cfg.Outfit != nil {
		if err := r.outfit(ctx, accounts, cfg.Outfit); err != nil {
			return nil, fmt.Errorf("fit accounts out: %w", err)
		}
	}
	return &Fleet{
		target: cfg.Target, chainID: r.chainID, accounts: accounts, to: crypto.PubkeyToAddress(cfg.FundingKey.PublicKey),
	}, nil
}

// deploy creates the accounts that are not there through their factory.
func (r *run) deploy(ctx context.Context, accounts []*account) error {
	var calls []innerCall
	for _, a := range accounts {
		if !a.deployed {
			calls = append(calls, innerCall{
				to: r.cfg.Targets[a.target].Factory, value: new(uint256.Int), data: encodeCreateAccount(crypto.PubkeyToAddress(a.owner.PublicKey), 0),
			})
			a.deployed = true
		}
	}
	const most = 50 // creations in one transaction: below 16.7 million gas, EIP-7825's limit
	return r.call(ctx, calls, most)
}

// outfit makes a call for each account.
func (r *run) outfit(ctx context.Context, accounts []*account, one func(common.Address) (common.Address, []byte)) error {
	calls := make([]innerCall, len(accounts))
	for i, a := range accounts {
		to, data := one(a.address)
		calls[i] = innerCall{to: to, value: new(uint256.Int), data: data}
	}
	const most = 100 // in one transaction: at 100,000 gas each
	return r.call(ctx, calls, most)
}

// call has Multicall3 make the calls, so many in one transaction, and waits until they are mined.
func (r *run) call(ctx context.Context, calls []innerCall, most int) error {
	payer := payer{node: ethclient.NewClient(r.node.Client), key: r.cfg.FundingKey, chainID: new(big.Int).SetUint64(r.chainID)}
	if err := payer.begin(ctx, r.fees.get); err != nil {
		return err
	}
	hashes, err := payer.payAll(ctx, r.cfg.Multicall3, calls, most)
	if err != nil {
		return err
	}
	return r.awaitTransactions(ctx, hashes)
}

// Refresh reads the accounts' nonces again: what was not mined is forgotten.
func (f *Fleet) Refresh(ctx context.Context, nodeURL string) error {
	node, err := dial(ctx, nodeURL, time.Minute, 1)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	defer node.close()
	nonces := make([]hexutil.Bytes, len(f.accounts))
	elems := make([]rpc.BatchElem, len(f.accounts))
	for i, a := range f.accounts {
		elems[i] = ethCallElem(&nonces[i], f.target.EntryPoint.Address, encodeGetNonce(a.address))
	}
	if err := node.batch(ctx, elems); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	for i, a := range f.accounts {
		nonce, err := oneWord(f.target.EntryPoint.Address, nonces[i])
		if err != nil {
			return err
		}
		a.nonce = nonce.Big().Uint64()
	}
	return nil
}

// Len returns the number of accounts.
func (f *Fleet) Len() int { return len(f.accounts) }

// Next returns the next operation of an account and its hash. It is taken to be mined: the one after has the next nonce.
func (f *Fleet) Next(index int) (*userop.UserOperation, common.Hash, error) {
	a := f.accounts[index]
	op, err := f.operation(a)
	if err != nil {
		return nil, common.Hash{}, err
	}
	hash := op.Hash(f.target.EntryPoint.Address, f.chainID, common.Address{})
	if op.Signature, err = signOperation(a.owner, op.Version, hash); err != nil {
		return nil, common.Hash{}, err
	}
	a.nonce++
	return op, hash, nil
}

// Return gives an operation's nonce back: the operation was refused, and none of the account came after it.
func (f *Fleet) Return(index int) { f.accounts[index].nonce-- }

func (f *Fleet) operation(a *account) (*userop.UserOperation, error) {
	stub, err := stubSignature(a.owner)
	callData := encodeExecute(f.to, 1)
	if f.Call != nil {
		callData = f.Call(a.address, a.nonce)
	}
	return &userop.UserOperation{
		Version: f.target.EntryPoint.Version, Sender: a.address, Nonce: *uint256.NewInt(a.nonce), CallData: callData,
		PreVerificationGas: f.PreVerificationGas, VerificationGasLimit: f.VerificationGasLimit, CallGasLimit: f.CallGasLimit,
		MaxFeePerGas: f.MaxFeePerGas, MaxPriorityFeePerGas: f.MaxPriorityFeePerGas, Signature: stub,
	}, err
}

// Shape asks the node for fees and a bundler for the gas limits of the fleet's operations. A bundler that has just started
// may need some time to answer: it is asked until the deadline.
func (f *Fleet) Shape(ctx context.Context, bundlerURL, nodeURL string, deadline time.Time) error {
	node, err := dial(ctx, nodeURL, time.Minute, 1)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	defer node.close()
	bundler, err := dial(ctx, bundlerURL, time.Minute, 1)
	if err != nil {
		return fmt.Errorf("bundler: %w", err)
	}
	defer bundler.close()
	suggested, err := node.suggestFees(ctx)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	f.MaxFeePerGas, f.MaxPriorityFeePerGas = suggested.maxFee, suggested.maxPriority
	op, err := f.operation(f.accounts[0])
	if err != nil {
		return err
	}
	var found estimate
	for {
		err := bundler.call(ctx, &found, "eth_estimateUserOperationGas", withoutLimits{op}, f.target.EntryPoint.Address)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("bundler: %w", err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	f.PreVerificationGas = uint64(found.PreVerificationGas)
	f.VerificationGasLimit, f.CallGasLimit = uint64(found.VerificationGasLimit), uint64(found.CallGasLimit)
	return nil
}
