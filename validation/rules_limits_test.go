package validation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
)

// The limits on one operation, each just kept and just broken, in the local EVM and by tracing.
func TestRulesOfLimits(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	limits := erc7562.DefaultLimits()
	here := validation.New(w.v.Source(), validation.Config{})
	there := validation.New(w.traced.Source(), validation.Config{Tracing: validation.TracingAlways})
	plain := func(v userop.Version) *userop.UserOperation {
		op := w.bareOperation(v, ruleAccount)
		op.VerificationGasLimit = limits.MaxVerificationGas - 1
		return op
	}
	sponsored := func(v userop.Version, steps ...step) *userop.UserOperation {
		op := plain(v)
		withPaymaster(op, stakedRulePaymaster, steps)
		if v.Packed() {
			op.PaymasterVerificationGasLimit = limits.MaxVerificationGas - 1
		}
		return op
	}
	context := func(n uint64) step { return do(stepContext, common.Address{}, n) }
	// used is what the verification of an operation takes.
	used := func(t *testing.T, v *validation.Validator, op *userop.UserOperation) *validation.Result {
		t.Helper()
		res, err := v.Validate(t.Context(), w.head(), entrypoint.Canonical(op.Version), op, validation.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	for _, v := range userop.Versions() {
		for _, c := range []struct {
			name string
			op   func(t *testing.T, by *validation.Validator) *userop.UserOperation
			rule string // "": allowed
		}{
			{"LIM-010/an operation of the greatest size is allowed", func(*testing.T, *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.CallData = make([]byte, limits.MaxUserOpSize-op.PackedSize())
				return op
			}, ""},
			{"LIM-010/a word more breaks", func(*testing.T, *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.CallData = make([]byte, limits.MaxUserOpSize-op.PackedSize()+1)
				return op
			}, "LIM-010"},
			{"LIM-020/a context of the greatest size is allowed", func(*testing.T, *validation.Validator) *userop.UserOperation {
				return sponsored(v, context(uint64(limits.MaxContextSize)))
			}, ""},
			{"LIM-020/a byte more breaks", func(*testing.T, *validation.Validator) *userop.UserOperation {
				return sponsored(v, context(uint64(limits.MaxContextSize+1)))
			}, "LIM-020"},
			{"LIM-030/the slack and a little is allowed", func(t *testing.T, by *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.VerificationGasLimit = used(t, by, op).VerificationGasUsed + limits.ValidationGasSlack + 50
				return op
			}, ""},
			{"LIM-030/a little less breaks", func(t *testing.T, by *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.VerificationGasLimit = used(t, by, op).VerificationGasUsed + limits.ValidationGasSlack - 50
				return op
			}, "LIM-030"},
			{"LIM-060/a verification gas limit of the maximum breaks", func(*testing.T, *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.VerificationGasLimit++
				return op
			}, "LIM-060"},
			{"LIM-060/one less is allowed", func(*testing.T, *validation.Validator) *userop.UserOperation { return plain(v) }, ""},
			{"LIM-070/preVerificationGas for the calldata and the overhead is allowed", func(t *testing.T, by *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.PreVerificationGas = gas.PreVerification{}.Required(op, used(t, by, op).VerificationGasUsed)
				return op
			}, ""},
			{"LIM-070/some less breaks", func(t *testing.T, by *validation.Validator) *userop.UserOperation {
				op := plain(v)
				op.PreVerificationGas = gas.PreVerification{}.Required(op, used(t, by, op).VerificationGasUsed) - 20
				return op
			}, "LIM-070"},
		} {
			t.Run(fmt.Sprintf("%s/v%s", c.name, v), func(t *testing.T) {
				for by, validator := range map[string]*validation.Validator{"local": here, "traced": there} {
					validator.Forget()
					_, err := validator.Validate(t.Context(), w.head(), entrypoint.Canonical(v), c.op(t, validator), validation.Options{})
					if c.rule == "" {
						if err != nil {
							t.Errorf("%s: have %v, want it to be allowed", by, err)
						}
						continue
					}
					refused, ok := errors.AsType[*validation.Refusal](err)
					if !ok || refused.Data.Rule != c.rule {
						t.Errorf("%s: have %v, want it refused for %s", by, err, c.rule)
					}
				}
			})
		}
	}
}

// The rules on EIP-7702 that are checked before anything is run, and who an account with a delegation may be.
func TestRulesOfAuthorizations(t *testing.T) {
	f := newFixture(t, validation.Config{})
	traced := validation.New(f.all(), validation.Config{Tracing: validation.TracingAlways})
	for _, v := range []userop.Version{userop.V07, userop.V08, userop.V09} {
		key := f.chain.Keys()[3+int(v)]
		other := f.chain.Keys()[2]
		for _, c := range []struct {
			name    string
			change  func(auth *types.SetCodeAuthorization)
			signer  bool // the sender itself
			message string
		}{
			{"AUTH-010/the one tuple of its sender is allowed", func(*types.SetCodeAuthorization) {}, true, ""},
			{"AUTH-010/a tuple of another account breaks", func(*types.SetCodeAuthorization) {}, false, "eip7702Auth: have a signature of"},
			{"EIP-7702/a tuple for every chain is allowed", func(a *types.SetCodeAuthorization) { a.ChainID.Clear() }, true, ""},
			{"EIP-7702/a tuple for another chain breaks", func(a *types.SetCodeAuthorization) { a.ChainID.SetUint64(5) }, true, "eip7702Auth.chainId"},
			{"EIP-7702/a nonce that is not the account's breaks", func(a *types.SetCodeAuthorization) { a.Nonce++ }, true, "eip7702Auth.nonce"},
			{"EIP-7702/a tuple that takes the delegation away breaks", func(a *types.SetCodeAuthorization) { a.Address = common.Address{} }, true, "eip7702Auth.address"},
		} {
			t.Run(fmt.Sprintf("%s/v%s", c.name, v), func(t *testing.T) {
				op := f.delegated(v, key)
				auth := *op.Authorization
				c.change(&auth)
				by := key
				if !c.signer {
					by = other
				}
				signed, err := types.SignSetCode(by, auth)
				if err != nil {
					t.Fatal(err)
				}
				op.Authorization = &signed
				f.signHash(op, key)
				var messages []string
				for _, validator := range []*validation.Validator{f.v, traced} {
					_, err := validator.Validate(t.Context(), f.head(), entrypoint.Canonical(v), op, validation.Options{})
					refused, ok := errors.AsType[*validation.Refusal](err)
					switch {
					case c.message == "" && err != nil:
						t.Fatalf("have %v, want it to be allowed", err)
					case c.message != "" && (!ok || refused.Kind != rejection.InvalidFields || !strings.HasPrefix(refused.Message, c.message)):
						t.Fatalf("have %v, want it refused: %s", err, c.message)
					}
					messages = append(messages, fmt.Sprint(err))
				}
				if diff := cmp.Diff(messages[0], messages[1]); diff != "" {
					t.Errorf("local EVM and tracing differ (-local +traced):\n%s", diff)
				}
			})
		}
	}
}
