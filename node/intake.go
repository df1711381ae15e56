package node

import (
	"context"
	"errors"
	"time"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/event"
	"baler/evm"
	"baler/pool"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// SendUserOperation implements [rpc.Backend]: the cheap refusals, validation, then the pool.
func (n *Node) SendUserOperation(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	at := n.head.Load()
	if at == nil {
		return common.Hash{}, errNotReady
	}
	hash, err := n.operationHash(ctx, at, ep, op)
	if err != nil {
		return common.Hash{}, err
	}
	n.sink(event.OperationReceived{Hash: hash, EntryPoint: ep.Address, Sender: op.Sender, Nonce: op.Nonce})
	return n.validated(ctx, &pool.Operation{Op: op, Hash: hash, EntryPoint: ep}, door{
		precheck: (*pool.Pool).Precheck, add: (*pool.Pool).Add, keep: n.keep, elsewhere: n.config.RemoteEdge,
	})
}

// readmitted is SendUserOperation for an operation that was acknowledged before: the store keeps it already, and no limit on
// counts keeps it out.
//
// How long it may wait counts from the first time it was admitted, and the code that was seen then still must be there
// (COD-010), as far as that is known.
func (n *Node) readmitted(ctx context.Context, op *pool.Operation) (common.Hash, error) {
	hash, err := n.operationHash(ctx, n.head.Load(), op.EntryPoint, op.Op)
	if err != nil {
		return common.Hash{}, err
	}
	again := func(p *pool.Pool, admitted *pool.Operation) (pool.Added, error) {
		if op.AddedTime != 0 {
			admitted.AddedBlock, admitted.AddedTime = op.AddedBlock, op.AddedTime
		}
		if op.CodeHashes != nil {
			admitted.CodeHashes = op.CodeHashes
		}
		return p.Readmit(admitted)
	}
	admitted := &pool.Operation{Op: op.Op, Hash: hash, EntryPoint: op.EntryPoint, CodeHashes: op.CodeHashes}
	return n.validated(ctx, admitted, door{
		within: true, precheck: (*pool.Pool).PrecheckAgain, add: again, keep: func(context.Context, *pool.Operation) error { return nil },
	})
}

// toItsBuilder claims an operation that has come into the pool for the builder that has it in a transaction already, before anybody else
// can have it: a reorg has taken it out of its block.
func (n *Node) toItsBuilder(p *pool.Pool, operation common.Hash) {
	if builder := n.carriers.take(operation); builder != "" {
		p.Carry(builder, []common.Hash{operation}, n.head.Load().number()+claimBlocks)
	}
}

// door is a way into the pool: for an operation that comes for the first time, or again.
type door struct {
	precheck func(*pool.Pool, *pool.Operation) (known bool, err error)
	add      func(*pool.Pool, *pool.Operation) (pool.Added, error)
	keep     func(context.Context, *pool.Operation) error

	within    bool     // used while a step of the chain is taken in, by who takes it in
	elsewhere EdgePool // has the pool; nil: it is here, and the rest says how it is used
}

// validated takes an operation through the cheap refusals, validation and the pool, and keeps it.
func (n *Node) validated(ctx context.Context, admitted *pool.Operation, d door) (common.Hash, error) {
	hash := admitted.Hash
	known, result, err := n.judge(ctx, admitted, d)
	if err != nil {
		return hash, n.rejected(admitted, err)
	}
	switch {
	case known && d.elsewhere != nil:
		return hash, nil // the pool has said that it is durable
	case known:
		return hash, n.kept(ctx, hash)
	}
	n.describe(admitted, result)
	var deposit *uint256.Int
	if result.Paymaster != nil {
		deposit = &result.Paymaster.Deposit
	}
	if d.elsewhere != nil {
		if err = d.elsewhere.Admit(ctx, admitted, deposit); err == nil {
			n.validator.inner.Settled(admitted.EntryPoint, admitted.Op) // if it is sent again, the pool knows it
		}
	} else {
		err = n.admit(ctx, admitted, deposit, d)
	}
	return hash, n.rejected(admitted, err)
}

// admit takes a validated operation into the pool, and keeps it. deposit is its paymaster's, nil: it has none.
func (n *Node) admit(ctx context.Context, admitted *pool.Operation, deposit *uint256.Int, d door) (err error) {
	op, ep := admitted.Op, admitted.EntryPoint
	var added pool.Added
	n.pool.look(func(p *pool.Pool) {
		if op.Paymaster != nil && deposit != nil {
			p.SetDeposit(ep.Address, *op.Paymaster, *deposit)
		}
		if added, err = d.add(p, admitted); err == nil {
			n.toItsBuilder(p, admitted.Hash)
		}
	})
	if err != nil {
		return err
	}
	n.pool.report(added.Removed)
	if err := d.keep(ctx, admitted); err != nil {
		return err
	}
	if !added.Known {
		n.sink(event.OperationAdded{Hash: admitted.Hash, EntryPoint: ep.Address, Sender: op.Sender, Nonce: op.Nonce, Replaced: added.Replaced})
	}
	return nil
}

// judgements is how often an operation is judged while the chain moves under it, or while newer blocks come to light.
const judgements = 3

// An operation that is refused while the pool, in another process, is at another head than this process is judged again, so often and
// with such pauses: one of the two is about to get the other's head.
const (
	judgementsApart = 20
	apartPause      = 100 * time.Millisecond
)

// judge applies the cheap refusals and validation. A refusal that a step of the chain came between is judged again.
func (n *Node) judge(ctx context.Context, admitted *pool.Operation, d door) (known bool, result *validation.Result, err error) {
	var apart bool // the pool is elsewhere, and at another head
	for try := 0; try < judgements || apart && try < judgementsApart; try++ {
		if apart {
			_ = pause(ctx, apartPause) // if the context ends, so do the calls below
		}
		moves := n.moves.Load()
		at := n.head.Load()
		admitted.AddedBlock, admitted.AddedTime = at.number(), at.header.Time
		if d.elsewhere != nil {
			var pool Standing
			if pool, err = d.elsewhere.Precheck(ctx, admitted, try == 0); err != nil {
				return false, nil, err // with all that the pool could find out
			}
			known, admitted.NonceAhead, apart = pool.Known, pool.Ahead, pool.Head != at.header.Hash()
			n.books.setSize(pool.BundleSize)
		} else {
			known, err = n.precheck(ctx, admitted, d.precheck, moves)
		}
		if err == nil && !known {
			options := validation.Options{NonceAhead: admitted.NonceAhead}
			if admitted.CodeHashes != nil {
				options.First = &validation.Result{CodeHashes: admitted.CodeHashes}
			}
			begun := time.Now()
			result, err = n.validateForItsTime(ctx, at, admitted, options)
			n.validationTook(admitted.Hash, "admission", begun, err)
		}
		if err == nil || n.still(moves) && !n.outdated(ctx, err) && !apart {
			break
		}
		if !d.within {
			n.awaitStep(ctx) // or all judgements would fall into the one step
		}
	}
	return known, result, err
}

// precheck applies the cheap refusals, and says how many operations come before this one. What could take a refusal back is looked at.
func (n *Node) precheck(ctx context.Context, admitted *pool.Operation, check func(*pool.Pool, *pool.Operation) (bool, error), moves uint64) (known bool, err error) {
	op, ep := admitted.Op, admitted.EntryPoint
	ask := func(p *pool.Pool) {
		admitted.NonceAhead = p.Predecessors(ep.Address, op.Sender, op.Nonce)
		known, err = check(p, admitted)
	}
	n.pool.look(ask)
	if err != nil {
		n.unblock(ctx, admitted, err, moves)
		n.pool.look(ask)
	}
	if stakeMatters(err) {
		return n.recheck(ctx, admitted)
	}
	return known, err
}

// ahead is the number of pending operations before a nonce.
func (n *Node) ahead(entryPoint, sender common.Address, nonce uint256.Int) (ahead uint64) {
	n.pool.look(func(p *pool.Pool) { ahead = p.Predecessors(entryPoint, sender, nonce) })
	return ahead
}

// validateForItsTime validates an operation, and if its time has not begun but soon does, for the first block of its time:
// the pool keeps it aside until then. Neither the account nor the paymaster can tell the difference (OP-011).
func (n *Node) validateForItsTime(ctx context.Context, at *head, admitted *pool.Operation, options validation.Options) (*validation.Result, error) {
	block := evm.AfterHeader(n.source.Config(), at.header)
	for range 2 { // the account's time, and the paymaster's
		result, err := n.validator.inner.Validate(ctx, at.header, admitted.EntryPoint, admitted.Op, options)
		refused, is := errors.AsType[*validation.Refusal](err)
		if !is || refused.Kind != rejection.OutOfTimeRange || !n.begins(&block, refused.Range) {
			return result, err
		}
		later := block
		options.Block = &later
	}
	return n.validator.inner.Validate(ctx, at.header, admitted.EntryPoint, admitted.Op, options)
}

// begins reports whether a time range begins after the block, but not too long after, and moves the block into it.
func (n *Node) begins(block *evm.Block, r entrypoint.ValidationData) bool {
	now, horizon := &block.Time, n.config.MaxSecondsBeforeValid
	if r.Blocks {
		now, horizon = &block.Number, n.config.MaxBlocksBeforeValid
	}
	if r.ValidAfter < *now || r.ValidAfter-*now > horizon || r.ValidUntil != 0 && r.ValidUntil <= r.ValidAfter {
		return false
	}
	*now = r.ValidAfter + 1 // versions differ on whether the beginning itself is inside
	return true
}

// validationTook says how long a validation took, and how it ended.
func (n *Node) validationTook(hash common.Hash, stage string, begun time.Time, err error) {
	told := event.OperationValidated{Hash: hash, Stage: stage, Result: "valid", Took: time.Since(begun)}
	if _, refused := errors.AsType[*rejection.Rejection](err); refused {
		told.Result = "refused"
	} else if err != nil {
		told.Result = "failed"
	}
	n.sink(told)
}

// stakeMatters reports whether a stake or a deposit that has changed since could take a refusal by the pool back.
func stakeMatters(err error) bool {
	r, refused := errors.AsType[*rejection.Rejection](err)
	return refused && (r.Kind == rejection.StakeTooLow || r.Kind == rejection.PaymasterDepositLow)
}

// recheck reads stakes and deposits of the operation's entities, which costs no simulation, and asks the pool again.
func (n *Node) recheck(ctx context.Context, admitted *pool.Operation) (known bool, err error) {
	op, ep := admitted.Op, admitted.EntryPoint
	infos, err := n.deposits(ctx, ep, entitiesOf(op))
	if err != nil {
		return false, err
	}
	n.pool.look(func(p *pool.Pool) {
		asked := *admitted
		n.stake(&asked, infos)
		if pm := op.Paymaster; pm != nil {
			p.SetDeposit(ep.Address, *pm, infos[*pm].Deposit)
		}
		known, err = p.Precheck(&asked)
	})
	return known, err
}

// operationHash is the operation's hash. An EIP-7702 sender that brings no authorization has its delegate on chain.
func (n *Node) operationHash(ctx context.Context, at *head, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	delegate := op.Delegate()
	if op.IsEIP7702() && op.Authorization == nil {
		code, err := n.source.View(at.header).Code(ctx, op.Sender)
		if err != nil {
			return common.Hash{}, err
		}
		delegate, _ = types.ParseDelegation(code)
	}
	return op.Hash(ep.Address, n.config.ChainID, delegate), nil
}

// describe fills in what validation found out.
func (n *Node) describe(op *pool.Operation, result *validation.Result) {
	op.ValidAfter, op.ValidUntil, op.ValidityInBlocks = result.ValidAfter, result.ValidUntil, result.InBlocks
	op.Aggregator, op.Prefund, op.VerificationGasUsed = result.Aggregator, result.Prefund, result.VerificationGasUsed
	op.AssociatedStorageIn, op.CodeHashes = result.AssociatedStorageIn, result.CodeHashes
	op.Staked = pool.Staked{Sender: n.staked(&result.Sender), Factory: n.staked(result.Factory), Paymaster: n.staked(result.Paymaster), Aggregator: n.staked(result.AggregatorStake)}
}

// staked applies SREP-010 of ERC-7562: at least MIN_STAKE_VALUE, locked for at least MIN_UNSTAKE_DELAY.
func (n *Node) staked(info *validation.StakeInfo) bool {
	limits := erc7562.StakeLimits{MinStake: n.config.Pool.MinStake, MinUnstakeDelay: n.config.Pool.MinUnstakeDelay}
	return info != nil && limits.Staked(info.Staked, &info.Stake, info.UnstakeDelaySec)
}

// rejected reports a refusal, and passes the error on.
func (n *Node) rejected(op *pool.Operation, err error) error {
	if r, ok := errors.AsType[*rejection.Rejection](err); ok {
		n.sink(event.OperationRejected{
			Hash: op.Hash, EntryPoint: op.EntryPoint.Address, Sender: op.Op.Sender, Code: int(r.Kind), Message: r.Message, Rule: r.Data.Rule,
		})
	}
	return err
}
