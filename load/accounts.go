package load

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// account is one SimpleAccount and its share of the operations. One goroutine works with it.
type account struct {
	target    int // index into Config.Targets
	owner     *ecdsa.PrivateKey
	address   common.Address
	deployed  bool
	nonce     uint64
	sponsored []bool // one per operation to send
}

// shares divides n as evenly as possible; the first ones get one more.
func shares(n, parts int) []int {
	out := make([]int, parts)
	for i := range out {
		out[i] = n / parts
		if i < n%parts {
			out[i]++
		}
	}
	return out
}

// spread says for the nth of a row whether it belongs to a share of percent, evenly spread over the row.
func spread(n, percent int) bool { return (n+1)*percent/100 > n*percent/100 }

// layout makes the accounts, without what only the node knows.
func (r *run) layout() []*account {
	seed := r.cfg.OwnerSeed
	if seed == "" {
		seed = newSeed()
	}
	var accounts []*account
	for target, count := range shares(r.cfg.Accounts, len(r.cfg.Targets)) {
		t := r.cfg.Targets[target]
		opsPerAccount := shares(shares(r.cfg.Ops, len(r.cfg.Targets))[target], count)
		row := 0 // counts the target's operations
		for index := range count {
			a := &account{target: target, owner: ownerKey(seed, t.EntryPoint.Version, index), sponsored: make([]bool, opsPerAccount[index])}
			for i := range a.sponsored {
				a.sponsored[i] = t.Paymaster != (common.Address{}) && spread(row, r.cfg.SponsoredPercent)
				row++
			}
			accounts = append(accounts, a)
		}
	}
	return accounts
}

// prepare reads the accounts' addresses, and for those that exist already their nonces.
func (r *run) prepare(ctx context.Context) ([]*account, error) {
	accounts := r.layout()
	addresses := make([]hexutil.Bytes, len(accounts))
	elems := make([]rpc.BatchElem, len(accounts))
	for i, a := range accounts {
		owner := crypto.PubkeyToAddress(a.owner.PublicKey)
		elems[i] = ethCallElem(&addresses[i], r.cfg.Targets[a.target].Factory, encodeGetAddress(owner, 0))
	}
	if err := r.node.batch(ctx, elems); err != nil {
		return nil, err
	}
	codes := make([]hexutil.Bytes, len(accounts))
	nonces := make([]hexutil.Bytes, len(accounts))
	elems = elems[:0]
	for i, a := range accounts {
		t := r.cfg.Targets[a.target]
		answer, err := oneWord(t.Factory, addresses[i])
		if err != nil {
			return nil, err
		}
		a.address = common.BytesToAddress(answer[:])
		elems = append(elems,
			rpc.BatchElem{Method: "eth_getCode", Args: []any{a.address, "latest"}, Result: &codes[i]},
			ethCallElem(&nonces[i], t.EntryPoint.Address, encodeGetNonce(a.address)))
	}
	if err := r.node.batch(ctx, elems); err != nil {
		return nil, err
	}
	for i, a := range accounts {
		nonce, err := oneWord(r.cfg.Targets[a.target].EntryPoint.Address, nonces[i])
		if err != nil {
			return nil, err
		}
		a.deployed, a.nonce = len(codes[i]) > 0, nonce.Big().Uint64()
	}
	return accounts, nil
}

func ethCallElem(result *hexutil.Bytes, to common.Address, data []byte) rpc.BatchElem {
	return rpc.BatchElem{Method: "eth_call", Args: []any{ethCall{to, data}, "latest"}, Result: result}
}

// gasPerOp and gasPerDeployment are what funding expects an operation to be asked for at most, verification and
// pre-verification included; the EntryPoint wants the limits in advance, not what is used.
const (
	gasPerOp         = 500_000
	gasPerDeployment = 1_500_000
)

// fundPerAccount returns the wei each account gets.
func (r *run) fundPerAccount(ctx context.Context, accounts []*account) (*uint256.Int, error) {
	if r.cfg.FundPerAccount != nil {
		return r.cfg.FundPerAccount, nil
	}
	f, err := r.fees.get(ctx)
	if err != nil {
		return nil, err
	}
	var opsEach uint64 // of the busiest account
	for _, a := range accounts {
		opsEach = max(opsEach, uint64(len(a.sponsored)))
	}
	fund := new(uint256.Int).Mul(&f.maxFee, uint256.NewInt(3*(gasPerDeployment+opsEach*gasPerOp)))
	return fund.AddUint64(fund, opsEach), nil // and the wei it transfers
}

// fund gives every account its money and waits until it is there.
func (r *run) fund(ctx context.Context, accounts []*account) error {
	each, err := r.fundPerAccount(ctx, accounts)
	if err != nil || each.IsZero() {
		return err
	}
	addresses := make([]common.Address, len(accounts))
	for i, a := range accounts {
		addresses[i] = a.address
	}
	calls := make([]innerCall, len(addresses))
	for i, address := range addresses {
		calls[i] = innerCall{to: address, value: each}
	}
	const most = 200 // transfers in one transaction: below 16.7 million gas, EIP-7825's limit
	return r.call(ctx, calls, most)
}

// payer sends transactions from the funding key, one nonce after the other.
type payer struct {
	node    *ethclient.Client
	key     *ecdsa.PrivateKey
	chainID *big.Int

	from  common.Address
	nonce uint64
	fees  fees
}

func (p *payer) begin(ctx context.Context, suggest func(context.Context) (fees, error)) (err error) {
	p.from = crypto.PubkeyToAddress(p.key.PublicKey)
	if p.nonce, err = p.node.PendingNonceAt(ctx, p.from); err != nil {
		return fmt.Errorf("nonce of the funding account %s: %w", p.from, err)
	}
	p.fees, err = suggest(ctx)
	return err
}

func (p *payer) pay(ctx context.Context, to common.Address, value *uint256.Int, data []byte) (common.Hash, error) {
	gas, err := p.node.EstimateGas(ctx, ethereum.CallMsg{From: p.from, To: &to, Value: value.ToBig(), Data: data})
	if err != nil {
		return common.Hash{}, fmt.Errorf("pay %s wei from %s: %w", value.Dec(), p.from, err)
	}
	tx, err := types.SignNewTx(p.key, types.LatestSignerForChainID(p.chainID), &types.DynamicFeeTx{
		ChainID: p.chainID, Nonce: p.nonce, To: &to, Value: value.ToBig(), Data: data, Gas: gas + gas/5,
		GasFeeCap: p.fees.maxFee.ToBig(), GasTipCap: p.fees.maxPriority.ToBig(),
	})
	if err != nil {
		return common.Hash{}, err
	}
	if err := p.node.SendTransaction(ctx, tx); err != nil {
		return common.Hash{}, fmt.Errorf("pay %s wei from %s: %w", value.Dec(), p.from, err)
	}
	p.nonce++
	return tx.Hash(), nil
}

// payAll makes the calls, so many in one transaction, or each in its own where there is no Multicall3.
func (p *payer) payAll(ctx context.Context, multicall3 common.Address, calls []innerCall, most int) (hashes []common.Hash, err error) {
	pay := func(call innerCall) error {
		hash, err := p.pay(ctx, call.to, call.value, call.data)
		hashes = append(hashes, hash)
		return err
	}
	if multicall3 == (common.Address{}) {
		for _, call := range calls {
			if err := pay(call); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	}
	for part := range slices.Chunk(calls, most) {
		total := new(uint256.Int)
		for _, call := range part {
			total.Add(total, call.value)
		}
		if err := pay(innerCall{to: multicall3, value: total, data: encodeAggregate3Value(part)}); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

var errNotMined = errors.New("not mined in time")

// awaitTransactions waits until all transactions are mined; one that failed is an error.
func (r *run) awaitTransactions(ctx context.Context, hashes []common.Hash) error {
	deadline := time.Now().Add(r.cfg.IncludeTimeout)
	for len(hashes) > 0 {
		receipts, err := r.node.transactionReceipts(ctx, hashes)
		if err != nil {
			return err
		}
		var missing []common.Hash
		for i, receipt := range receipts {
			switch {
			case receipt == nil:
				missing = append(missing, hashes[i])
			case receipt.Status != types.ReceiptStatusSuccessful:
				return fmt.Errorf("transaction %s failed", hashes[i])
			}
		}
		hashes = missing
		if len(hashes) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("transaction %s: %w (%s)", hashes[0], errNotMined, r.cfg.IncludeTimeout)
		}
		if err := pause(ctx, r.cfg.PollInterval); err != nil {
			return err
		}
	}
	return nil
}
