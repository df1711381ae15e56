package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// work sends the account's operations one after the other. It returns an error only when ctx has ended: what happens
// to the operations goes into the tally.
func (r *run) work(ctx context.Context, a *account) error {
	for i, sponsored := range a.sponsored {
		fate, err := r.operate(ctx, a, sponsored)
		if ended(ctx, err) {
			return ctx.Err()
		}
		if err != nil {
			r.tally.failed(a.target, err.Error(), 1)
		}
		if fate == lost {
			if left := len(a.sponsored) - i - 1; left > 0 {
				r.tally.failed(a.target, "not sent: the fate of the account's operation before is not known", left)
			}
			return nil
		}
	}
	return nil
}

// fate is what became of an operation, as far as its account's next one must know.
type fate int

const (
	refused fate = iota // it never reached the pool: the nonce is free
	mined               // the nonce is used
	lost                // accepted, and no more is known: the nonce may be used at any time
)

// operate takes one operation all the way.
func (r *run) operate(ctx context.Context, a *account, sponsored bool) (fate, error) {
	if err := r.pace.wait(ctx); err != nil {
		return refused, err
	}
	t := &r.cfg.Targets[a.target]
	deadline := time.Now().Add(r.cfg.IncludeTimeout)
	op, err := r.build(ctx, a, t, sponsored)
	if err == nil {
		err = r.limitGas(ctx, t, op, deadline)
	}
	if err == nil {
		err = r.sign(ctx, a, t, op)
	}
	if err != nil {
		return refused, err
	}
	want := op.Hash(t.EntryPoint.Address, r.chainID, common.Address{})

	var have common.Hash
	var sent time.Time
	err = r.patiently(ctx, deadline, func() error {
		sent = time.Now()
		return r.bundler.call(ctx, &have, "eth_sendUserOperation", op, t.EntryPoint.Address)
	})
	if err != nil {
		if _, answered := errors.AsType[rpc.Error](err); answered {
			return refused, err
		}
		return lost, err // the connection broke or time ran out: the bundler may have it
	}
	r.tally.accepted(a.target, time.Since(sent))
	if have != want {
		return lost, fmt.Errorf("eth_sendUserOperation: have operation hash %s, want %s", have, want)
	}

	receipt, err := r.watch.await(ctx, want, r.cfg.IncludeTimeout)
	if err != nil {
		return lost, err
	}
	r.tally.included(a.target, minedOp{want, receipt.Receipt.TransactionHash}, time.Since(sent))
	a.nonce, a.deployed = a.nonce+1, true
	return mined, nil
}

// build makes the account's next operation, complete but for gas limits and signatures, which are stubs.
func (r *run) build(ctx context.Context, a *account, t *Target, sponsored bool) (*userop.UserOperation, error) {
	f, err := r.fees.get(ctx)
	if err != nil {
		return nil, err
	}
	op := &userop.UserOperation{
		Version: t.EntryPoint.Version, Sender: a.address, Nonce: *uint256.NewInt(a.nonce),
		CallData:     encodeExecute(r.to, 1),
		MaxFeePerGas: f.maxFee, MaxPriorityFeePerGas: f.maxPriority,
	}
	if !a.deployed {
		op.Factory = &t.Factory
		op.FactoryData = encodeCreateAccount(crypto.PubkeyToAddress(a.owner.PublicKey), 0)
	}
	if sponsored {
		op.Paymaster = &t.Paymaster
		stub, err := stubSignature(t.PaymasterSigner)
		if err != nil {
			return nil, err
		}
		op.PaymasterData = paymasterData(stub)
	}
	op.Signature, err = stubSignature(a.owner)
	return op, err
}

// paymasterData is what VerifyingPaymaster expects: no end, no start, and its signer's signature.
func paymasterData(signature []byte) []byte { return joined(word64(0), word64(0), signature) }

// limitGas asks the bundler for the operation's gas limits.
func (r *run) limitGas(ctx context.Context, t *Target, op *userop.UserOperation, deadline time.Time) error {
	var gas estimate
	err := r.patiently(ctx, deadline, func() error {
		return r.bundler.call(ctx, &gas, "eth_estimateUserOperationGas", withoutLimits{op}, t.EntryPoint.Address)
	})
	if err != nil {
		return err
	}
	op.PreVerificationGas = uint64(gas.PreVerificationGas)
	op.VerificationGasLimit, op.CallGasLimit = uint64(gas.VerificationGasLimit), uint64(gas.CallGasLimit)
	if op.Paymaster != nil && op.Version.Packed() {
		op.PaymasterVerificationGasLimit = uint64(gas.PaymasterVerificationGasLimit)
		op.PaymasterPostOpGasLimit = uint64(gas.PaymasterPostOpGasLimit)
	}
	return nil
}

// withoutLimits is an operation's JSON without the members an estimate is to find.
type withoutLimits struct{ op *userop.UserOperation }

// MarshalJSON implements json.Marshaler.
func (w withoutLimits) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(w.op)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	for _, name := range []string{
		"callGasLimit", "verificationGasLimit", "preVerificationGas",
		"paymasterVerificationGasLimit", "paymasterPostOpGasLimit",
	} {
		delete(members, name)
	}
	return json.Marshal(members)
}

// sign replaces the stubs: first the paymaster's signature, which the owner's signature covers.
func (r *run) sign(ctx context.Context, a *account, t *Target, op *userop.UserOperation) error {
	if op.Paymaster != nil {
		hash, err := r.node.read(ctx, t.Paymaster, encodePaymasterGetHash(op))
		if err != nil {
			return fmt.Errorf("paymaster's getHash: %w", err)
		}
		signature, err := signMessage(t.PaymasterSigner, hash)
		if err != nil {
			return err
		}
		op.PaymasterData = paymasterData(signature)
	}
	hash := op.Hash(t.EntryPoint.Address, r.chainID, common.Address{})
	signature, err := signOperation(a.owner, op.Version, hash)
	op.Signature = signature
	return err
}

// patiently repeats a call that a bundler refuses for now, as a good client does, until the deadline.
func (r *run) patiently(ctx context.Context, deadline time.Time, call func() error) error {
	wait := r.cfg.PollInterval
	for {
		err := call()
		if err == nil || !forNow(err) || time.Now().Add(wait).After(deadline) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// forNow reports whether the same call may succeed later without a change: an entity is throttled or has too many
// operations waiting, a paymaster's deposit is reserved, or the server is busy.
func forNow(err error) bool {
	if answer, ok := errors.AsType[rpc.Error](err); ok {
		switch answer.ErrorCode() {
		case -32504, -32505, -32508, -32005:
			return true
		}
		return false
	}
	status, ok := errors.AsType[rpc.HTTPError](err)
	return ok && (status.StatusCode == 429 || status.StatusCode == 503)
}
