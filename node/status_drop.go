package node

import (
	"context"
	"fmt"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/pool"
	"baler/rejection"
	"baler/rpc"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// dropGas bounds the run that checks a drop request: verification below MAX_VERIFICATION_GAS, the account's creation among
// it, and the EntryPoint's own work.
const dropGas = 2_000_000

// DropUserOperation implements [rpc.BalerBackend].
//
// The request is run through the EntryPoint's own handleOps: it pays nothing and does nothing, so all that can fail is the
// account's validation. Only the account can make that pass, and nobody else can forge it for another operation: its
// hash binds the signature to sender, nonce, EntryPoint and chain.
func (n *Node) DropUserOperation(ctx context.Context, ep entrypoint.EntryPoint, request *userop.UserOperation) (*common.Hash, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	pending, ahead, err := n.droppable(ep, request)
	if err != nil || pending == nil {
		return nil, err
	}
	if err := n.matches(request, pending.Op); err != nil {
		return nil, err
	}
	if err := n.proven(ctx, at, ep, request, ahead); err != nil {
		return nil, err
	}
	var removed []pool.Removed
	n.pool.look(func(p *pool.Pool) {
		// The run took a while: look again.
		if p.Get(pending.Hash) == nil {
			pending = nil
		} else if p.Holder(pending.Hash) != "" {
			err = n.inFlight(pending.Hash)
		} else {
			removed, err = p.Remove(pending.Hash, pool.Dropped, erc7562.NoEntity)
		}
	})
	if err != nil || pending == nil {
		return nil, err
	}
	n.pool.report(removed)
	return &pending.Hash, nil
}

// droppable finds the operation to drop, nil if there is none, and how many of its lane come before it.
func (n *Node) droppable(ep entrypoint.EntryPoint, request *userop.UserOperation) (pending *pool.Operation, ahead uint64, err error) {
	n.pool.look(func(p *pool.Pool) {
		pending = p.Find(ep.Address, request.Sender, request.Nonce)
		if pending == nil {
			return
		}
		ahead = p.Predecessors(ep.Address, request.Sender, request.Nonce)
		if p.Holder(pending.Hash) != "" {
			err = n.inFlight(pending.Hash)
		}
	})
	return pending, ahead, err
}

// inFlight refuses to drop what a bundle sender holds: its transaction could not be called back, and the account would be
// free for another bundle that then reverts. A replacement with higher fees is possible all the time.
func (n *Node) inFlight(hash common.Hash) error {
	now, _ := n.timeline.standing(hash)
	if now.stage == stageSubmitted {
		return fmt.Errorf("%w: transaction %s", rpc.ErrInFlight, now.tx)
	}
	return rpc.ErrInFlight
}

// matches refuses a request that would deploy or delegate the account in another way than the operation it drops.
func (n *Node) matches(request, pending *userop.UserOperation) error {
	limit := n.config.Validation.Limits.MaxVerificationGas
	if limit == 0 {
		limit = erc7562.DefaultLimits().MaxVerificationGas
	}
	if request.VerificationGasLimit >= limit {
		return rejection.New(rejection.InvalidFields, "verificationGasLimit: have %d, want lower than %d", request.VerificationGasLimit, limit)
	}
	if have, want := creationOf(request), creationOf(pending); have != want {
		return rejection.New(rejection.InvalidFields, "factory and factoryData: want those of the operation to drop, or none if it has none")
	}
	have, want := request.Authorization, pending.Authorization
	if (have == nil) != (want == nil) || have != nil && *have != *want {
		return rejection.New(rejection.InvalidFields, "eip7702Auth: want that of the operation to drop, or none if it has none")
	}
	return nil
}

// creationOf stands for an operation's factory and factory data.
func creationOf(op *userop.UserOperation) common.Hash {
	if op.Factory == nil {
		return common.Hash{}
	}
	return crypto.Keccak256Hash(op.Factory[:], op.FactoryData)
}

// proven runs the request as if the operations before it were mined.
func (n *Node) proven(ctx context.Context, at *head, ep entrypoint.EntryPoint, request *userop.UserOperation, ahead uint64) error {
	view := n.source.View(at.header)
	bundler := common.Address(crypto.Keccak256([]byte("baler: bundler of a drop request"))[12:]) // nobody's
	options := evm.RunOptions{Origin: bundler, Overrides: evm.Overrides{}}
	if ahead > 0 {
		sequence := uint256.NewInt(request.NonceSequence())
		options.Overrides[ep.Address] = evm.Override{StateDiff: map[common.Hash]common.Hash{
			entrypoint.NonceSlot(ep.Version, request.Sender, request.NonceKey()): sequence.Bytes32(),
		}}
	}
	if request.Authorization != nil {
		options.Authorizations = []types.SetCodeAuthorization{*request.Authorization}
	}
	data := entrypoint.EncodeHandleOps(ep.Version, []*userop.UserOperation{request}, bundler)
	var answer []byte
	var failed error
	err := view.Execute(ctx, options, func(r *evm.Run) error {
		var err error
		answer, _, err = r.Call(bundler, ep.Address, nil, data, dropGas, nil)
		if evm.IsStateError(err) {
			return err
		}
		failed = err
		return nil
	})
	if err != nil {
		return fmt.Errorf("check a drop request: %w", err)
	}
	if failed != nil {
		return validation.RefusalOf(request, answer, erc7562.Sender, true)
	}
	return nil
}
