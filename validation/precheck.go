package validation

import (
	"errors"
	"fmt"
	"math"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// facts are what prechecks need to know of the chain.
type facts struct {
	entryPointCode []byte
	senderCode     []byte
	senderNonce    uint64 // of the account's transactions, for its EIP-7702 tuple
	factoryCode    []byte
	paymasterCode  []byte
	aggregatorCode []byte
	nextBaseFee    uint256.Int // wei per gas
	dataGas        uint64      // what the operation's data costs on the chain and its operator takes, in gas that the operation pays for
}

// Precheck does the checks that need nothing but the operation (ERC-4337, "Bundler behavior upon receiving a
// UserOperation"; ERC-7562, LIM-010, LIM-060, LIM-070): sizes, gas limits, fees, the EIP-7702 tuple's form. The error
// is a *rejection.Rejection.
func (c Config) Precheck(op *userop.UserOperation, ep entrypoint.EntryPoint, chainID uint64) error {
	c = c.withDefaults()
	if op.Version != ep.Version {
		return rejection.New(rejection.InvalidFields, "user operation version: have %v, want %v of EntryPoint %s",
			op.Version, ep.Version, ep.Address)
	}
	if err := c.Limits.Size(op); err != nil {
		return fromRule(err, rejection.InvalidFields)
	}
	if err := c.Limits.VerificationGas(op); err != nil {
		return fromRule(err, rejection.InvalidFields)
	}
	if op.CallGasLimit < c.MinCallGasLimit {
		return rejection.New(rejection.InvalidFields, "callGasLimit: have %d, want at least %d", op.CallGasLimit, c.MinCallGasLimit)
	}
	if err := c.checkPreVerificationGas(op, gas.VerificationLimits(op), 0); err != nil {
		return err
	}
	if _, ok := op.MaxGas(); !ok {
		return rejection.New(rejection.InvalidFields, "gas limits: have a sum over 64 bits")
	}
	if err := c.checkFees(op); err != nil {
		return err
	}
	return checkAuthorization(op, chainID)
}

// checkPreVerificationGas checks that the operation's preVerificationGas pays for what is outside of the EVM: what every
// chain asks for, less for what verification used, and what its data costs on this one.
func (c Config) checkPreVerificationGas(op *userop.UserOperation, verificationGas, dataGas uint64) error {
	return offersPreVerificationGas(op, c.PreVerification.Required(op, verificationGas), dataGas)
}

func offersPreVerificationGas(op *userop.UserOperation, want, dataGas uint64) error {
	if want += dataGas; want < dataGas {
		want = math.MaxUint64
	}
	if op.PreVerificationGas >= want {
		return nil
	}
	r := rejection.New(rejection.InvalidFields, "preVerificationGas: have %d, want at least %d", op.PreVerificationGas, want)
	r.Data.Rule = "LIM-070"
	return r
}

func (c Config) checkFees(op *userop.UserOperation) error {
	if op.MaxFeePerGas.Lt(&op.MaxPriorityFeePerGas) {
		return rejection.New(rejection.InvalidFields, "maxFeePerGas: have %s, want at least maxPriorityFeePerGas %s",
			op.MaxFeePerGas.Dec(), op.MaxPriorityFeePerGas.Dec())
	}
	if op.MaxFeePerGas.Lt(&c.MinMaxFee) {
		return rejection.New(rejection.InvalidFields, "maxFeePerGas: have %s, want at least %s",
			op.MaxFeePerGas.Dec(), c.MinMaxFee.Dec())
	}
	if op.MaxPriorityFeePerGas.Lt(&c.MinPriorityFee) {
		return rejection.New(rejection.InvalidFields, "maxPriorityFeePerGas: have %s, want at least %s",
			op.MaxPriorityFeePerGas.Dec(), c.MinPriorityFee.Dec())
	}
	return nil
}

// checkAuthorization checks what an EIP-7702 tuple says by itself: its chain (EIP-7702 allows zero, every chain), and
// that the sender signed it.
func checkAuthorization(op *userop.UserOperation, chainID uint64) error {
	auth := op.Authorization
	if auth == nil {
		return nil
	}
	if !auth.ChainID.IsZero() && (!auth.ChainID.IsUint64() || auth.ChainID.Uint64() != chainID) {
		return rejection.New(rejection.InvalidFields, "eip7702Auth.chainId: have %s, want 0 or %d", auth.ChainID.Dec(), chainID)
	}
	if auth.Address == (common.Address{}) {
		return rejection.New(rejection.InvalidFields, "eip7702Auth.address: have the zero address, want a delegate")
	}
	authority, err := auth.Authority()
	if err != nil {
		return rejection.New(rejection.InvalidFields, "eip7702Auth: invalid signature: %v", err)
	}
	if authority != op.Sender {
		return rejection.New(rejection.InvalidFields, "eip7702Auth: have a signature of %s, want of the sender %s", authority, op.Sender)
	}
	return nil
}

// checkFacts does the checks that need the chain's state but no execution.
func (c Config) checkFacts(op *userop.UserOperation, f facts) error {
	if op.MaxFeePerGas.Lt(&f.nextBaseFee) {
		return rejection.New(rejection.InvalidFields, "maxFeePerGas: have %s, want at least the next block's base fee %s",
			op.MaxFeePerGas.Dec(), f.nextBaseFee.Dec())
	}
	if err := c.checkPreVerificationGas(op, gas.VerificationLimits(op), f.dataGas); err != nil {
		return err
	}
	if err := checkDelegation(op, f); err != nil {
		return err
	}
	if err := checkSender(op, f); err != nil {
		return err
	}
	if op.Paymaster != nil && len(f.paymasterCode) == 0 {
		r := rejection.New(rejection.PaymasterRejected, "AA30 paymaster not deployed")
		r.Data.Paymaster = op.Paymaster
		return refusal(r, erc7562.Paymaster, *op.Paymaster)
	}
	return nil
}

// checkDelegation checks that the EIP-7702 tuple would be accepted in the next block: the sender has no other code, and
// the nonce is the one in the tuple.
func checkDelegation(op *userop.UserOperation, f facts) error {
	if op.Authorization == nil {
		return nil
	}
	if _, delegated := types.ParseDelegation(f.senderCode); len(f.senderCode) > 0 && !delegated {
		return rejection.New(rejection.InvalidFields, "eip7702Auth: have a sender with code, want one without or delegated")
	}
	if have, want := op.Authorization.Nonce, f.senderNonce; have != want {
		return rejection.New(rejection.InvalidFields, "eip7702Auth.nonce: have %d, want %d", have, want)
	}
	return nil
}

// checkSender checks that the sender is deployed or has a factory, not both. The messages are those of the EntryPoint,
// which would say the same.
func checkSender(op *userop.UserOperation, f facts) error {
	deployed := len(f.senderCode) > 0 || op.Authorization != nil
	switch {
	case op.IsEIP7702():
		if deployed {
			return nil
		}
		return rejection.New(rejection.EntryPointRejected, "AA20 account not deployed: no EIP-7702 delegation, and no eip7702Auth")
	case op.Factory == nil && !deployed:
		return rejection.New(rejection.EntryPointRejected, "AA20 account not deployed")
	case op.Factory != nil && deployed:
		return rejection.New(rejection.EntryPointRejected, "AA10 sender already constructed")
	case op.Factory != nil && len(f.factoryCode) == 0:
		r := rejection.New(rejection.EntryPointRejected, "AA13 initCode failed or OOG: factory %s has no code", op.Factory)
		r.Data.Factory = op.Factory
		return refusal(r, erc7562.Factory, *op.Factory)
	}
	return nil
}

// fromRule turns a broken rule into a rejection.
func fromRule(err error, kind rejection.Kind) error {
	var v *erc7562.Verdict
	if !errors.As(err, &v) {
		return fmt.Errorf("rule: %w", err)
	}
	r := rejection.New(kind, "%s", v.Detail)
	r.Data.Rule = string(v.Rule)
	if v.Entity == erc7562.Paymaster {
		r.Data.Paymaster = &v.Address
	}
	return refusal(r, v.Entity, v.Address)
}
