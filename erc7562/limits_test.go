package erc7562_test

import (
	"errors"
	"testing"

	"baler/erc7562"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

func operation(v userop.Version, change func(*userop.UserOperation)) *userop.UserOperation {
	op := &userop.UserOperation{
		Version: v, Sender: common.Address{1}, Paymaster: &common.Address{2},
		VerificationGasLimit: 10_000, PaymasterVerificationGasLimit: 10_000,
	}
	change(op)
	return op
}

func TestLimits(t *testing.T) {
	limits := erc7562.DefaultLimits()
	same := func(*userop.UserOperation) {}
	calldata := func(n int) func(*userop.UserOperation) {
		return func(op *userop.UserOperation) { op.CallData = make([]byte, n) }
	}
	// What an operation without call data takes, so that the rest makes exactly 8,192 bytes.
	rest := limits.MaxUserOpSize - operation(userop.V07, same).PackedSize()
	cases := []struct {
		name   string
		err    error
		rule   erc7562.Rule // "": kept
		entity erc7562.Entity
	}{
		{"size at the limit", limits.Size(operation(userop.V07, calldata(rest))), "", 0},
		{"size over it", limits.Size(operation(userop.V07, calldata(rest+1))), "LIM-010", erc7562.Sender},
		{"context at the limit", limits.ContextSize(operation(userop.V07, same), 2_048), "", 0},
		{"context over it", limits.ContextSize(operation(userop.V07, same), 2_049), "LIM-020", erc7562.Paymaster},
		{"slack kept", limits.GasSlack(operation(userop.V07, same), 6_000, 6_000), "", 0},
		{"account's slack missing", limits.GasSlack(operation(userop.V07, same), 6_001, 0), "LIM-030", erc7562.Sender},
		{"paymaster's slack missing", limits.GasSlack(operation(userop.V07, same), 0, 6_001), "LIM-030", erc7562.Paymaster},
		{"no limit for the paymaster in v0.6", limits.GasSlack(operation(userop.V06, same), 0, 6_001), "", 0},
		{"no paymaster", limits.GasSlack(operation(userop.V07, func(op *userop.UserOperation) { op.Paymaster = nil }), 0, 6_001), "", 0},
		{"verification gas lower", limits.VerificationGas(operation(userop.V07, func(op *userop.UserOperation) { op.VerificationGasLimit = 499_999 })), "", 0},
		{"verification gas not lower", limits.VerificationGas(operation(userop.V07, func(op *userop.UserOperation) { op.VerificationGasLimit = 500_000 })), "LIM-060", erc7562.Sender},
		{"paymaster's not lower", limits.VerificationGas(operation(userop.V07, func(op *userop.UserOperation) { op.PaymasterVerificationGasLimit = 500_000 })), "LIM-060", erc7562.Paymaster},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.rule == "" {
				if c.err != nil {
					t.Errorf("have %v, want the rule to be kept", c.err)
				}
				return
			}
			var v *erc7562.Verdict
			if !errors.As(c.err, &v) || v.Rule != c.rule || v.Entity != c.entity {
				t.Errorf("have %v, want %s broken by the %v", c.err, c.rule, c.entity)
			}
		})
	}
}
