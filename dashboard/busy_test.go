package dashboard_test

import (
	"fmt"
	"math/big"
	"time"

	"baler/dashboard"
	"baler/event"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

func address(n int) common.Address {
	return common.BigToAddress(new(big.Int).Mul(big.NewInt(int64(n)), new(big.Int).Exp(big.NewInt(3), big.NewInt(90), nil)))
}

func weiOf(milliEther int64) *dashboard.Wei {
	w := dashboard.WeiOf(new(uint256.Int).Mul(uint256.NewInt(uint64(milliEther)), uint256.NewInt(1e15)))
	return &w
}

func gweiFees(maxFee, priority float64) gas.Fees {
	return gas.Fees{MaxFee: *uint256.NewInt(uint64(maxFee * 1e9)), MaxPriority: *uint256.NewInt(uint64(priority * 1e9))}
}

// busyBundler is a bundler with a sender in each state, a full pool and trouble.
func busyBundler() *fakeBundler {
	nonce := uint64(17)
	f := &fakeBundler{head: dashboard.Head{Number: 4812, Seen: time.Now().UnixMilli(), BaseFee: dashboard.WeiOf(uint256.NewInt(1.2e9))}}
	for i, state := range []string{"Building", "Pending", "Cancelling", "CancelPending"} {
		cause := []string{"no operations", "submitted", "cancellation refused", "hard cancellation submitted"}[i]
		s := dashboard.Sender{
			Signer: address(i + 1), State: state, Since: 4800 + uint64(i)*3, Cause: cause, Auto: true, Nonce: &nonce, Until: 4814, Balance: weiOf(1500 - int64(i)*400),
			Journal: []dashboard.JournalLine{{Block: 4799, State: state, Text: "block 4799: account nonce 17", Follows: []string{"propose at nonce 17"}}, {Block: 4800, State: state, Text: "bundle ready: 12 operations, 2100000 gas, 3.2 / 1.1 gwei", Follows: []string{"submit attempt 3"}}},
		}
		if i > 0 {
			s.Held = 12
			s.Attempts = []dashboard.Attempt{{ID: 3, Kind: "bundle", Nonce: 17, Hash: common.Hash{byte(i)}, Fees: dashboard.FeesOf(gweiFees(3.2, 1.1)), GasLimit: 2100000, Block: 4800, Operations: 12, Status: "sent"}}
		}
		f.senders = append(f.senders, s)
	}
	required := gweiFees(2.7, 1)
	f.mempool = dashboard.Mempool{Bytes: 182_400, BaseFee: *uint256.NewInt(1.2e9), Required: &required}
	for i := range 160 {
		op := dashboard.Waiting{Hash: common.Hash{1, byte(i)}, EntryPoint: common.Address{0x71}, Sender: address(100 + i), Fees: gweiFees(5, 0.6+float64(i%37)*0.06), AddedTime: uint64(time.Now().Unix()) - uint64(i*i/9)}
		if i%3 == 0 {
			paymaster := address(500 + i%4)
			op.Paymaster = &paymaster
		}
		if i%9 == 0 {
			op.Skipped, op.Reason = "fee too low", fmt.Sprintf("max priority fee: have %d wei, want 1000000000 wei", 600_000_000+i)
		}
		f.mempool.Operations = append(f.mempool.Operations, op)
	}
	f.mempool.Reputation = []dashboard.Reputation{{Address: address(501), Seen: 400, Included: 2, Status: "throttled"}, {Address: address(502), Seen: 10000, Status: "banned"}}
	latency, agrees := 2.4, true
	f.endpoints = []dashboard.Endpoint{{Name: "http://127.0.0.1:8545", Role: "node", Status: "ok", Well: true, Head: 4812, HeadSeen: time.Now().UnixMilli(), LatencyMS: &latency, Requests: 12034, Errors: 3, Evm: "agrees with the node", EvmAgrees: &agrees}}
	f.totals = dashboard.Totals{Bundles: 31, Reverted: 1, Cancellations: 2, Operations: 402, Earned: *weiOf(41), Cost: *weiOf(29)}
	return f
}

// tell tells a page of a day's work: transactions of four senders, one of them reverted, the last ones not mined yet.
func tell(page *dashboard.Dashboard) {
	page.Hear(event.HeadSeen{Number: 4812})
	for i := range 14 {
		tx, signer := common.Hash{9, byte(i)}, address(i%4+1)
		page.Hear(event.HeadSeen{Number: uint64(4770 + 3*i)})
		page.Hear(event.BundleSent{
			Signer: signer, Tx: tx, Nonce: uint64(i / 4), Operations: 8 + i, Hashes: []common.Hash{{1, 2}}, GasLimit: 1_900_000,
			Fees: gweiFees(3.1, 1), Answer: "accepted", ExpectedProfit: *uint256.NewInt(1e15),
		})
		if i < 11 {
			page.Hear(event.HeadSeen{Number: uint64(4771 + 3*i)})
			page.Hear(event.BundleMined{
				Signer: signer, Tx: tx, Block: uint64(4771 + 3*i), Operations: 8 + i, Success: i != 5, GasUsed: 1_400_000,
				Cost: *uint256.NewInt(2.1e15), Earned: *uint256.NewInt(2.9e15),
			})
		}
	}
	page.Hear(event.HeadSeen{Number: 4812})
	page.Hear(event.Alert{Signer: address(3), Kind: "transaction rejected", Text: "bundle sender: transaction rejected"})
}
