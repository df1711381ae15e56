package funding

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"

	"baler/gas"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// ledger is a node that knows balances.
type ledger struct {
	balances map[common.Address]uint64
	bare     bool // without Multicall3
	asked    int
}

func (l *ledger) CallContext(_ context.Context, result any, method string, _ ...any) error {
	switch r := result.(type) {
	case *hexutil.Bytes:
		if !l.bare {
			*r = hexutil.Bytes{1}
		}
	case *hexutil.Uint64:
		*r = 21_000
	default:
		return errors.New("asked for " + method)
	}
	return nil
}

func (l *ledger) BatchCallContext(_ context.Context, batch []rpc.BatchElem) error {
	l.asked++
	for i := range batch {
		account := batch[i].Args[0].(common.Address)
		*batch[i].Result.(*hexutil.U256) = hexutil.U256(*uint256.NewInt(l.balances[account]))
	}
	return nil
}

func at(number int64) Occasion {
	return Occasion{
		Payer: common.Address{0xff}, Block: &types.Header{Number: big.NewInt(number)},
		Fees: gas.Fees{MaxFee: *uint256.NewInt(1), MaxPriority: *uint256.NewInt(1)},
	}
}

func TestATopUpBringsTheLowestToTheLevelWithinThePurse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const below, level = 1_000_000, 5_000_000
		node := &ledger{balances: map[common.Address]uint64{}, bare: rapid.Bool().Draw(t, "bare")}
		var accounts []common.Address
		for i := range rapid.IntRange(0, 6).Draw(t, "accounts") {
			account := common.Address{byte(i + 1)}
			accounts = append(accounts, account)
			node.balances[account] = rapid.Uint64Range(0, 2*below).Draw(t, "balance")
		}
		node.balances[at(1).Payer] = rapid.Uint64Range(0, 40_000_000).Draw(t, "purse")
		plan := &TopUp{Node: node, Accounts: func() []common.Address { return accounts }, Below: *uint256.NewInt(below), To: *uint256.NewInt(level)}
		payment, err := plan.Next(t.Context(), at(1))
		low := 0
		for _, account := range accounts {
			if node.balances[account] < below {
				low++
			}
		}
		switch {
		case low == 0:
			if payment != nil || err != nil {
				t.Fatalf("have %v (%v), want nothing to be paid", payment, err)
			}
			return
		case payment == nil:
			if !errors.Is(err, ErrPayerCannotPay) {
				t.Fatalf("have error %v with %d accounts low", err, low)
			}
			return
		}
		checkTopUp(t, node, payment, level)
	})
}

func checkTopUp(t *rapid.T, node *ledger, payment *Payment, level uint64) {
	var sum uint64
	paid := map[common.Address]bool{}
	highest := uint64(0)
	for _, part := range payment.Parts {
		if have := node.balances[part.To] + part.Amount.Uint64(); have != level {
			t.Fatalf("%s is brought to %d, want %d", part.To, have, level)
		}
		if paid[part.To] {
			t.Fatalf("%s is paid twice", part.To)
		}
		paid[part.To] = true
		sum += part.Amount.Uint64()
		highest = max(highest, node.balances[part.To])
	}
	if payment.Value.Uint64() != sum {
		t.Fatalf("have value %s, want the sum %d", payment.Value.Dec(), sum)
	}
	for account, balance := range node.balances {
		if account != at(1).Payer && !paid[account] && balance < highest {
			t.Fatalf("%s has %d and gets nothing, one with %d does", account, balance, highest)
		}
	}
	if cost := payment.Cost(); cost.Uint64() > node.balances[at(1).Payer] {
		t.Fatalf("have cost %s, more than the purse", cost.Dec())
	}
	if multicall := payment.To == Multicall3; multicall != (len(payment.Parts) > 1) || multicall && node.bare {
		t.Fatalf("have a transaction to %s with %d parts", payment.To, len(payment.Parts))
	}
}

func TestBalancesAreLookedAtNowAndThenOrWhenAsked(t *testing.T) {
	node := &ledger{balances: map[common.Address]uint64{{1}: 10, at(1).Payer: 1 << 40}}
	plan := &TopUp{Node: node, Accounts: func() []common.Address { return []common.Address{{1}} }, Below: *uint256.NewInt(5), To: *uint256.NewInt(9), Every: 10}
	look := func(number int64, urgent bool, want int) {
		t.Helper()
		o := at(number)
		o.Urgent = urgent
		if _, err := plan.Next(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if node.asked != want {
			t.Errorf("block %d: have asked %d times, want %d", number, node.asked, want)
		}
	}
	look(100, false, 1)
	look(105, false, 1)
	plan.Ask()
	look(106, false, 2)
	look(107, true, 3) // a payment waits to be replaced
	look(116, false, 3)
	look(117, false, 4)
}

func TestASweepLeavesWhatItShallAndIsNotMadeForLess(t *testing.T) {
	payer := at(1).Payer
	for _, test := range []struct{ has, leave, want uint64 }{
		{100_000, 0, 79_000}, {100_000, 30_000, 49_000}, {42_000, 0, 0}, {42_001, 0, 21_001}, {0, 0, 0}, {100_000, 100_000, 0},
	} {
		node := &ledger{balances: map[common.Address]uint64{payer: test.has}}
		payment, err := (&Sweep{Node: node, To: common.Address{9}, Leave: *uint256.NewInt(test.leave)}).Next(t.Context(), at(1))
		if err != nil {
			t.Fatal(err)
		}
		have := uint64(0)
		if payment != nil {
			have = payment.Value.Uint64()
		}
		if have != test.want {
			t.Errorf("%+v: have %d", test, have)
		}
	}
}

func TestAggregate3ValueIsEncodedAsTheABISays(t *testing.T) {
	contract, err := abi.JSON(strings.NewReader(`[{"type":"function","name":"aggregate3Value","stateMutability":"payable","inputs":[{"name":"calls",
		"type":"tuple[]","components":[{"name":"target","type":"address"},{"name":"allowFailure","type":"bool"},{"name":"value","type":"uint256"},
		{"name":"callData","type":"bytes"}]}],"outputs":[]}]`))
	if err != nil {
		t.Fatal(err)
	}
	type call struct {
		Target       common.Address
		AllowFailure bool
		Value        *big.Int
		CallData     []byte
	}
	parts := []Part{{common.Address{1}, *uint256.NewInt(7)}, {common.Address{2}, *uint256.MustFromDecimal("123456789012345678901234567890")}}
	var calls []call
	for _, part := range parts {
		calls = append(calls, call{Target: part.To, Value: part.Amount.ToBig(), CallData: []byte{}})
	}
	want, err := contract.Pack("aggregate3Value", calls)
	if err != nil {
		t.Fatal(err)
	}
	if have := aggregate3Value(parts); !bytes.Equal(have, want) {
		t.Errorf("have %x\nwant %x", have, want)
	}
}
