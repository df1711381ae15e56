// Package estimation finds the gas limits an operation needs: eth_estimateUserOperationGas of ERC-7769.
//
// In: a head, an EntryPoint, an operation that may lack gas limits, fees and a valid signature, and state overrides. Out:
// the limits with which the operation is accepted and executes, or a *rejection.Rejection that can go to the user as it
// is. Any other error is the node's trouble or the caller's.
//
// It promises that
//   - the code that runs is the deployed EntryPoint's handleOps, in the local EVM, with the operation as it came: the
//     only thing changed is that a wrong signature and a time range are overlooked, where the EntryPoint looks at them;
//   - every limit is the least that works, found by search to within one percent, and not what some run happened to
//     use: 63/64 (EIP-150) and contracts that look at the gas left are accounted for. A limit works if the operation
//     does the same as with ample gas, down to which inner calls fail;
//   - an operation with exactly these limits executes: that is tried before they are returned;
//   - preVerificationGas pays for the data on chains that charge for it ([Config.DataFees]), whatever the signature will be, and for
//     what an OP stack chain's operator takes of a transaction that uses all of its limits;
//   - lack of funds never fails an estimation: the payer has what the operation may cost, in the run's state only.
//
// It checks no ERC-7562 rule, no fee and no reputation; that is done when the operation is sent.
package estimation

import (
	"bytes"
	"context"
	"fmt"

	"baler/datafee"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Config is what an operator may choose. The zero value of a field means its default.
type Config struct {
	PreVerification gas.PreVerification
	// Aggregators are the signature aggregators that are served (ERC-7766); nil: none.
	Aggregators Aggregators
	// DataFees tells what data costs on the chain, which is part of preVerificationGas; nil: nothing.
	DataFees *datafee.Oracle
	// DataFeeMarginPercent is added to what data costs, because L1's prices change between the estimate and the bundle;
	// default 25, two blocks' greatest rise of L1's base fee.
	DataFeeMarginPercent uint64

	// MaxVerificationGas is MAX_VERIFICATION_GAS of ERC-7562: verification limits must be lower; default 500,000.
	MaxVerificationGas uint64
	// ValidationGasSlack is VALIDATION_GAS_SLACK of ERC-7562, added to verification limits; default 4,000.
	ValidationGasSlack uint64
	// MinCallGas is the least callGasLimit an operation may have; default 9,100, a CALL with value (ERC-4337).
	MinCallGas uint64
	// MaxCallGas is the greatest callGasLimit tried; default 15,000,000, about what fits a bundle of one operation
	// under the cap of EIP-7825.
	MaxCallGas uint64
	// MaxPostOpGas is the greatest paymasterPostOpGasLimit tried; default 1,000,000.
	MaxPostOpGas uint64
	// Beneficiary stands for the bundler. It must be without code. The default is an address nobody has.
	Beneficiary common.Address
}

func (c Config) withDefaults() Config {
	for _, field := range []struct {
		value    *uint64
		standard uint64
	}{
		{&c.MaxVerificationGas, 500_000},
		{&c.ValidationGasSlack, 4_000},
		{&c.MinCallGas, 9_100},
		{&c.MaxCallGas, 15_000_000},
		{&c.MaxPostOpGas, 1_000_000},
		{&c.DataFeeMarginPercent, 25},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if c.Beneficiary == (common.Address{}) {
		c.Beneficiary = common.HexToAddress("0x8fCc0A96ee9D7B8aD1fA35e50e5bEA4A5F1b5d17") // keccak256("baler")[12:]
	}
	return c
}

// Aggregators say what signature aggregators cost a bundle; false: it is not served.
type Aggregators interface {
	Gas(aggregator common.Address) (gas.Aggregation, bool)
}

// aggregation is what an aggregator costs a bundle.
func (c *Config) aggregation(aggregator common.Address) (gas.Aggregation, bool) {
	if c.Aggregators == nil {
		return gas.Aggregation{}, false
	}
	return c.Aggregators.Gas(aggregator)
}

// Estimate is the result, in gas. The paymaster's limits are zero without a paymaster, and in v0.6.
type Estimate struct {
	PreVerificationGas            uint64
	VerificationGasLimit          uint64
	CallGasLimit                  uint64
	PaymasterVerificationGasLimit uint64
	PaymasterPostOpGasLimit       uint64
}

// Estimator estimates over the state of one chain. It is safe for concurrent use.
type Estimator struct {
	source *evm.Source
	cfg    Config
}

// New returns an estimator over the source's chain.
func New(source *evm.Source, cfg Config) *Estimator {
	return &Estimator{source: source, cfg: cfg.withDefaults()}
}

// EstimateUserOperationGas returns the gas limits for op at the head's state, with the overrides applied to it.
//
// Limits in op that are given and not zero bound the search: if the operation does not work within them, the error
// says how it fails. Fees that are given are used; without, the operation is run at one gwei, and on a chain that charges
// for data beside the gas price, the next base fee is what pays for it. A paymaster's postOp limit that is given
// (up to Config.MaxPostOpGas) is returned if it is greater than what was found, because a postOp cannot be estimated
// reliably (ERC-7769). An absent signature is replaced by a well-formed one of 65 bytes. An EIP-7702 tuple counts as signed
// by the sender.
//
// Errors: *rejection.Rejection with the kinds of validation, or ExecutionReverted (with the revert data) if the
// operation's call or its paymaster's postOp fails however much gas it gets; evm.IsStateError if state could not be
// read.
func (e *Estimator) EstimateUserOperationGas(
	ctx context.Context, head *types.Header, ep entrypoint.EntryPoint,
	op *userop.UserOperation, given userop.Given, overrides evm.Overrides,
) (*Estimate, error) {
	s, err := e.newSearch(ctx, head, ep, op, given, overrides)
	if err != nil {
		return nil, err
	}
	if err := s.validation(); err != nil {
		return nil, err
	}
	if err := s.execution(); err != nil {
		return nil, err
	}
	if err := s.confirm(); err != nil {
		return nil, err
	}
	return &Estimate{
		PreVerificationGas:            s.op.PreVerificationGas,
		VerificationGasLimit:          s.op.VerificationGasLimit,
		CallGasLimit:                  s.op.CallGasLimit,
		PaymasterVerificationGasLimit: s.op.PaymasterVerificationGasLimit,
		PaymasterPostOpGasLimit:       s.op.PaymasterPostOpGasLimit,
	}, nil
}

// search is one estimation under way. op is the operation with the best limits known so far.
type search struct {
	cfg   Config
	given userop.Given
	asked *userop.UserOperation // as it came
	op    userop.UserOperation
	bench bench

	cost            datafee.Cost     // of the data on the chain
	costPrice       uint256.Int      // wei per gas, at which preVerificationGas pays for that
	verificationGas uint64           // what validation used with ample gas
	aggregation     *gas.Aggregation // of the account's aggregator; nil: it has none
	postOp          bool             // the paymaster wants its postOp called
}

func (e *Estimator) newSearch(
	ctx context.Context, head *types.Header, ep entrypoint.EntryPoint,
	asked *userop.UserOperation, given userop.Given, overrides evm.Overrides,
) (*search, error) {
	if have, want := asked.Version.Packed(), ep.Version.Packed(); have != want {
		return nil, rejection.New(rejection.InvalidFields, "userOperation: have the shape of v%s, want that of v%s", asked.Version, ep.Version)
	}
	s := &search{cfg: e.cfg, given: given, asked: asked, op: *asked}
	if !given.Signature && len(asked.Signature) == 0 {
		s.op.Signature = dummySignature()
	}
	quote := e.quote(ep, &s.op)
	prepared, err := e.prepare(ctx, head, ep, asked, overrides, quote)
	if err != nil {
		return nil, err
	}
	if err := s.dataCost(ctx, e, head, quote); err != nil {
		return nil, err
	}
	if asked.MaxFeePerGas.IsZero() {
		s.price(defaultPrice) // without a price nobody would pay, and paying takes gas
	}
	s.bench = bench{
		ctx: ctx, view: e.source.View(head), entryPoint: ep, beneficiary: e.cfg.Beneficiary,
		options: evm.RunOptions{Overrides: prepared, Origin: e.cfg.Beneficiary},
		serves:  func(a common.Address) bool { _, served := e.cfg.aggregation(a); return served },
	}
	return s, nil
}

// Prices of an estimation in wei per gas: where no fees are given, and where whoever pays can't afford them with ample
// limits.
const (
	defaultPrice = params.GWei
	leastPrice   = 1
)

// price sets both fees of the operation, in wei per gas.
func (s *search) price(wei uint64) {
	s.op.MaxFeePerGas, s.op.MaxPriorityFeePerGas = *uint256.NewInt(wei), *uint256.NewInt(wei)
}

// dummySignature is an ECDSA signature from which an address is recovered whatever was signed: accounts find it wrong,
// not malformed. Its r is the x coordinate of the curve's generator, its s is in the lower half, its v is 27.
func dummySignature() []byte {
	signature := make([]byte, 0, 65)
	signature = append(signature, crypto.S256().Params().Gx.FillBytes(make([]byte, 32))...)
	signature = append(signature, bytes.Repeat([]byte{0x5a}, 32)...)
	return append(signature, 27)
}

// bound is the greatest value of a limit to try.
func bound(given bool, value, most uint64) uint64 {
	if !given || value == 0 {
		return most
	}
	return min(value, most)
}

// maxVerification is the greatest verification limit to try: with the slack added it must be under the maximum.
func (s *search) maxVerification(given bool, value uint64) uint64 {
	return bound(given, value, s.cfg.MaxVerificationGas-1-min(s.cfg.ValidationGasSlack, s.cfg.MaxVerificationGas-1))
}

// validation finds the limits for verification.
func (s *search) validation() error {
	s.op.VerificationGasLimit = s.maxVerification(s.given.VerificationGasLimit, s.asked.VerificationGasLimit)
	s.op.CallGasLimit = bound(s.given.CallGasLimit, s.asked.CallGasLimit, s.cfg.MinCallGas)
	s.op.PreVerificationGas = s.preVerificationGas(0)
	separate := s.op.Paymaster != nil && s.op.Version.Packed()
	if separate {
		s.op.PaymasterVerificationGasLimit = s.maxVerification(s.given.PaymasterVerificationGasLimit, s.asked.PaymasterVerificationGasLimit)
		s.op.PaymasterPostOpGasLimit = s.cfg.MaxPostOpGas // some paymasters refuse an operation with too little for postOp
	}

	ample, err := s.bench.validate(&s.op)
	if err != nil {
		return err
	}
	refusal := ample.refusal(&s.op)
	if refusal != nil && s.op.Paymaster != nil {
		// The payer may have enough (tokens, an allowance) for what the operation needs, but not for what it may cost
		// with such limits. How much gas it needs does not depend on the price.
		s.price(leastPrice)
		if ample, err = s.bench.validate(&s.op); err != nil {
			return err
		}
		if ample.refusal(&s.op) == nil {
			refusal = nil
		}
	}
	if refusal != nil {
		return refusal
	}
	s.verificationGas = ample.creation.used + ample.account.used + ample.paymaster.used
	s.postOp = ample.contextSize > 0
	if cost, aggregated := s.cfg.aggregation(ample.servedBy); aggregated {
		s.aggregation = &cost
	}

	// What the EntryPoint itself uses counts against the limits too.
	used := ample.creation.used + ample.account.used
	guess := ample.used - ample.paymaster.used
	if !separate {
		used, guess = used+ample.paymaster.used, ample.used
	}
	if err := s.lower(&s.op.VerificationGasLimit, used, guess, s.validatesLike(ample)); err != nil {
		return err
	}
	s.op.VerificationGasLimit += s.cfg.ValidationGasSlack
	if !separate {
		return nil
	}
	guess = ample.used - ample.creation.used - ample.account.used
	if err := s.lower(&s.op.PaymasterVerificationGasLimit, ample.paymaster.used, guess, s.validatesLike(ample)); err != nil {
		return err
	}
	s.op.PaymasterVerificationGasLimit += s.cfg.ValidationGasSlack
	return nil
}

// lower sets the limit, a field of s.op, to the least value at which the operation still works. With ample gas, used was
// used of it by the entity's own call; guess is about what is needed.
func (s *search) lower(limit *uint64, used, guess uint64, works func() (bool, error)) error {
	found, err := least(used, guess, *limit, func(value uint64) (bool, error) {
		*limit = value
		return works()
	})
	*limit = found
	return err
}

// validatesLike reports whether the operation's validation goes as it did with ample gas.
func (s *search) validatesLike(ample *outcome) func() (bool, error) {
	return func() (bool, error) {
		out, err := s.bench.validate(&s.op)
		return err == nil && out.validatesLike(ample), err
	}
}

// executesLike reports whether the whole operation goes as it did with ample gas.
func (s *search) executesLike(ample *outcome) func() (bool, error) {
	return func() (bool, error) {
		out, err := s.bench.execute(&s.op)
		return err == nil && out.executesLike(ample), err
	}
}

// execution finds the limits for the call and for postOp.
func (s *search) execution() error {
	verification := s.op.VerificationGasLimit
	s.ample()
	out, err := s.bench.execute(&s.op)
	if err != nil {
		return err
	}
	if !out.validated {
		s.price(leastPrice) // see validation; here the limits are greater still
		if out, err = s.bench.execute(&s.op); err != nil {
			return err
		}
	}
	if refusal := out.refusal(&s.op); refusal != nil {
		return refusal
	}
	if failure := out.failure(); failure != nil {
		return failure
	}
	if err := s.lower(&s.op.CallGasLimit, out.call.used, withReserve(out.call.used), s.executesLike(out)); err != nil {
		return err
	}
	s.op.CallGasLimit = max(s.op.CallGasLimit, s.cfg.MinCallGas)
	return s.postOpLimit(out, verification)
}

// withReserve adds what one inner call keeps its caller from using (EIP-150).
func withReserve(used uint64) uint64 { return used + used/63 + 1 }

// ample sets the limits for execution to the greatest to try.
func (s *search) ample() {
	s.op.CallGasLimit = bound(s.given.CallGasLimit, s.asked.CallGasLimit, s.cfg.MaxCallGas)
	switch {
	case !s.postOp:
		s.op.PaymasterPostOpGasLimit = s.givenPostOp()
	case s.op.Version.Packed():
		s.op.PaymasterPostOpGasLimit = s.cfg.MaxPostOpGas
	default: // v0.6 runs postOp with the verification limit
		s.op.VerificationGasLimit = s.maxVerification(s.given.VerificationGasLimit, s.asked.VerificationGasLimit)
	}
}

// postOpLimit finds the limit that postOp runs with; verification is the least verification limit.
func (s *search) postOpLimit(ample *outcome, verification uint64) error {
	switch {
	case !s.postOp:
		return nil
	case s.op.Version.Packed():
		err := s.lower(&s.op.PaymasterPostOpGasLimit, ample.postOp.used, withReserve(ample.postOp.used), s.executesLike(ample))
		s.op.PaymasterPostOpGasLimit = max(s.op.PaymasterPostOpGasLimit, s.givenPostOp())
		return err
	default:
		needed := max(verification, withReserve(ample.postOp.used))
		return s.lower(&s.op.VerificationGasLimit, verification-1, needed, s.executesLike(ample))
	}
}

// givenPostOp is the postOp limit that came with the operation.
func (s *search) givenPostOp() uint64 {
	return min(s.asked.PaymasterPostOpGasLimit, s.cfg.MaxPostOpGas)
}

// confirmations bounds how often the call's limit is raised until the operation works with exactly the limits found.
const confirmations = 20

// confirm runs the operation with exactly the limits found. All limits together must cover what the EntryPoint charges,
// its own work included, or it takes the execution back ("prefund too low"); what is missing is added to the call's.
func (s *search) confirm() error {
	for range confirmations {
		s.op.PreVerificationGas = s.preVerificationGas(s.verificationGas)
		out, err := s.bench.execute(&s.op)
		if err != nil {
			return err
		}
		if out.succeeded() {
			return nil
		}
		s.op.CallGasLimit += s.op.CallGasLimit/64 + 1_000
	}
	return fmt.Errorf("operation of %s does not execute within the gas limits found for it (call gas limit %d)", s.op.Sender, s.op.CallGasLimit)
}
