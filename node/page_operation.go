package node

import (
	"context"

	"baler/dashboard"
	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// calldataShown is how many bytes of an operation's calldata the page shows.
const calldataShown = 512

// historyScanned is how many mined operations are looked through for those of one account.
const historyScanned = 5000

// Operation implements [dashboard.Bundler].
func (p *Page) Operation(ctx context.Context, hash common.Hash) (*dashboard.Operation, error) {
	status, err := p.node.UserOperationStatus(ctx, hash)
	if err != nil {
		return nil, err
	}
	story := p.node.storyOf(hash)
	if status.State == rpc.StateNotFound && story == nil {
		return nil, nil
	}
	op := &dashboard.Operation{
		Hash: hash, State: string(status.State), Reason: status.Reason, Transaction: status.Transaction, Block: status.Block,
	}
	for i := range story {
		op.Story = append(op.Story, chapter(&story[i]))
		if rule := story[i].Rule; rule != "" {
			op.Rule, op.RuleTitle = rule, ruleTitle(rule)
		}
	}
	info, err := p.node.UserOperationByHash(ctx, hash)
	if err != nil {
		return nil, err
	}
	if info != nil {
		fillIn(op, info.Op, info.EntryPoint)
	}
	return op, nil
}

func fillIn(shown *dashboard.Operation, op *userop.UserOperation, entryPoint common.Address) {
	fees := dashboard.FeesOf(gas.Fees{MaxFee: op.MaxFeePerGas, MaxPriority: op.MaxPriorityFeePerGas})
	shown.EntryPoint, shown.Sender, shown.Nonce, shown.Paymaster, shown.Fees = &entryPoint, &op.Sender, op.Nonce.Hex(), op.Paymaster, &fees
	if !op.IsEIP7702() {
		shown.Factory = op.Factory
	}
	shown.CallData, shown.CallDataLen = hexutil.Encode(op.CallData[:min(len(op.CallData), calldataShown)]), len(op.CallData)
}

func chapter(e *rpc.TimelineEntry) dashboard.Chapter {
	c := dashboard.Chapter{
		At: e.At, Block: e.Block, Event: e.Event, Reason: e.Reason, Cause: e.Cause, Code: e.Code, Signer: e.Signer, Transaction: e.Transaction,
		Nonce: e.Nonce, Success: e.Success, Other: e.Other, Times: e.Times, LastAt: e.LastAt, LastBlock: e.LastBlock,
	}
	if e.Fees != nil {
		fees := dashboard.FeesOf(*e.Fees)
		c.Fees = &fees
	}
	if e.GasUsed != nil {
		c.GasUsed = e.GasUsed.Dec()
	}
	if e.GasCost != nil {
		cost := dashboard.WeiOf(e.GasCost)
		c.GasCost = &cost
	}
	return c
}

// ruleTitle says a rule of ERC-7562 in words; empty if it has no title here.
func ruleTitle(id string) string {
	for _, rule := range erc7562.Rules() {
		if string(rule.ID) == id {
			return rule.Title
		}
	}
	return ""
}

// OperationsOf implements [dashboard.Bundler]: what waits, then what is mined, as far as the store remembers it.
func (p *Page) OperationsOf(account common.Address, limit int) []common.Hash {
	var hashes []common.Hash
	p.node.pool.look(func(held *pool.Pool) {
		for _, ep := range p.node.config.EntryPoints {
			for _, op := range held.Dump(ep.Address) {
				if op.Op.Sender == account {
					hashes = append(hashes, op.Hash)
				}
			}
		}
	})
	scanned := 0
	for mined, err := range p.node.config.Store.Latest() {
		if scanned++; scanned > historyScanned || len(hashes) >= limit {
			break
		}
		if err == nil && mined.Operation != nil && mined.Operation.Sender == account {
			hashes = append(hashes, mined.Hash)
		}
	}
	return hashes[:min(len(hashes), limit)]
}
