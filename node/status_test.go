package node_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"baler/gas"
	"baler/node"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// status is the answer of baler_getUserOperationStatus.
type status struct {
	Status          string          `json:"status"`
	TransactionHash *common.Hash    `json:"transactionHash"`
	BlockNumber     *hexutil.Uint64 `json:"blockNumber"`
	Reason          *string         `json:"reason"`
}

func (s status) String() string {
	text := s.Status
	if s.TransactionHash != nil {
		text += " in " + s.TransactionHash.Hex()
	}
	if s.Reason != nil {
		text += ": " + *s.Reason
	}
	return text
}

func (s *stack) status(t *testing.T, hash common.Hash) status {
	t.Helper()
	var have status
	s.call(t, &have, "baler_getUserOperationStatus", hash)
	return have
}

// becomes waits for a status, and checks what pimlico's name says of it.
func (s *stack) becomes(t *testing.T, hash common.Hash, want, pimlico string) status {
	t.Helper()
	var have status
	eventually(t, "status "+want, func() error {
		if have = s.status(t, hash); have.Status != want {
			return fmt.Errorf("have %v, want %s", have, want)
		}
		return nil
	})
	var theirs status
	s.call(t, &theirs, "pimlico_getUserOperationStatus", hash)
	if theirs.Status != pimlico || (theirs.TransactionHash == nil) != (have.TransactionHash == nil) {
		t.Errorf("pimlico_getUserOperationStatus of one that is %s: have %v, want %s", want, theirs, pimlico)
	}
	return have
}

// entry is one entry of a timeline.
type entry struct {
	At              int64          `json:"at"`
	BlockNumber     hexutil.Uint64 `json:"blockNumber"`
	Event           string         `json:"event"`
	Reason          string         `json:"reason"`
	Cause           string         `json:"cause"`
	Code            int            `json:"code"`
	Have            *hexutil.U256  `json:"have"`
	Want            *hexutil.U256  `json:"want"`
	TransactionHash *common.Hash   `json:"transactionHash"`
	Success         *bool          `json:"success"`
	Times           int            `json:"times"`
	Other           *common.Hash   `json:"other"`
}

func (s *stack) timeline(t *testing.T, hash common.Hash) []entry {
	t.Helper()
	var entries []entry
	s.call(t, &entries, "baler_getUserOperationTimeline", hash)
	return entries
}

func names(entries []entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Event)
	}
	return strings.Join(list, " ")
}

// sendBundle sends a bundle and returns its transaction.
func (s *stack) sendBundle(t *testing.T) common.Hash {
	t.Helper()
	var tx common.Hash
	s.call(t, &tx, "debug_bundler_sendBundleNow")
	return tx
}

func TestStatusAndTimelineFromReceivedToReceipt(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	good, failing := s.accounts(t, userop.V07, 2, true)[0], s.accounts(t, userop.V07, 1, true)[0]
	s.becomes(t, common.Hash{1}, "not_found", "not_found")

	began := time.Now().UnixMilli()
	hash := good.send(t, good.op(t))
	reverts := failing.send(t, failing.op(t, func(op *userop.UserOperation) { op.CallData = failing.call(t, "fail", "no luck") }))
	s.becomes(t, hash, "pending", "not_submitted")
	tx := s.sendBundle(t)
	if have := s.becomes(t, hash, "submitted", "submitted"); *have.TransactionHash != tx {
		t.Errorf("have %v, want it in %s", have, tx)
	}
	s.mine(t, 1)
	have := s.becomes(t, hash, "included", "included")
	if *have.TransactionHash != tx || uint64(*have.BlockNumber) != s.chain.Head().Number.Uint64() || have.Reason != nil {
		t.Errorf("have %v in block %v, want it in %s and block %d", have, have.BlockNumber, tx, s.chain.Head().Number)
	}
	have = s.becomes(t, reverts, "failed", "included")
	if *have.TransactionHash != tx || have.Reason == nil || !strings.Contains(*have.Reason, "no luck") {
		t.Errorf("have %v, want its own revert reason", have)
	}

	entries := s.timeline(t, hash)
	if have, want := names(entries), "received added bundled sent mined"; have != want {
		t.Fatalf("timeline: have %s, want %s", have, want)
	}
	at := began
	for _, e := range entries {
		if e.At < at || e.At > time.Now().UnixMilli() {
			t.Errorf("%s at %d: want it between %d and now", e.Event, e.At, at)
		}
		at = e.At
	}
	sent, mined := entries[3], entries[4]
	if *sent.TransactionHash != tx || sent.Cause != "accepted" || uint64(mined.BlockNumber) != s.chain.Head().Number.Uint64() || !*mined.Success {
		t.Errorf("have %+v and %+v, want them accepted in %s and mined in the head", sent, mined, tx)
	}
	if story := s.timeline(t, reverts); *story[len(story)-1].Success {
		t.Error("the failed operation's story: have success")
	}
}

func TestAReorgTakesTheStatusBack(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	parent := s.chain.Head().Number.Uint64()
	hash := a.send(t, a.op(t))
	s.sendBundle(t)
	s.mine(t, 1)
	s.becomes(t, hash, "included", "included")
	if err := s.chain.Reorg(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	s.mine(t, 2) // its transaction went back to the node's pool and is mined again, or it is sent again
	eventually(t, "mined in the new branch", func() error {
		if have := s.status(t, hash); have.Status != "included" {
			return fmt.Errorf("have %v", have)
		}
		return nil
	})
	story := names(s.timeline(t, hash))
	if !strings.HasPrefix(story, "received added bundled sent mined") || strings.Count(story, "mined") < 2 {
		t.Errorf("have %s, want it mined twice", story)
	}
}

func TestEveryRefusalAndRemovalHasItsReason(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	list := s.accounts(t, userop.V07, 3, true)
	a, poor, other := list[0], list[1], list[2]

	// Refused at the door.
	stranger := a.op(t)
	stranger.Signature = other.op(t).Signature
	s.refused(t, -32507, "AA24", "eth_sendUserOperation", stranger, a.ep.Address)
	have := s.becomes(t, a.hash(stranger), "rejected", "not_found")
	if have.Reason == nil || !strings.Contains(*have.Reason, "AA24") {
		t.Errorf("have %v, want AA24", have)
	}
	if story := s.timeline(t, a.hash(stranger)); names(story) != "received rejected" || story[1].Code != -32507 {
		t.Errorf("have %+v, want received, rejected with -32507", story)
	}

	// Skipped: it pays the base fee, but less priority fee than a bundle costs. It stays.
	cheap := poor.send(t, poor.op(t, func(op *userop.UserOperation) { op.MaxPriorityFeePerGas = *uint256.NewInt(1e6) }))
	for range 2 {
		s.sendsNothing(t)
	}
	have = s.becomes(t, cheap, "pending", "not_submitted")
	if have.Reason == nil || !strings.HasPrefix(*have.Reason, "priority fee too low: have 1000000, want ") {
		t.Errorf("have %v, want the fee it lacks", have)
	}
	story := s.timeline(t, cheap)
	last := story[len(story)-1]
	if last.Event != "skipped" || last.Cause != "priority fee too low" || (*uint256.Int)(last.Have).Uint64() != 1e6 ||
		(*uint256.Int)(last.Want).Uint64() != 1e9 || last.Times < 2 {
		t.Errorf("have %+v, want it skipped at least twice, with its numbers", last)
	}

	// Replaced.
	old := other.send(t, other.op(t))
	other.nonce--
	successor := other.send(t, other.op(t, func(op *userop.UserOperation) {
		op.MaxFeePerGas, op.MaxPriorityFeePerGas = *uint256.NewInt(30e9), *uint256.NewInt(3e9)
	}))
	have = s.becomes(t, old, "dropped", "rejected")
	if have.Reason == nil || *have.Reason != "replaced" {
		t.Errorf("have %v, want it replaced", have)
	}
	if story := s.timeline(t, old); names(story) != "received added removed replaced" || *story[3].Other != successor {
		t.Errorf("have %+v, want it replaced by %s", story, successor)
	}

	// Cleared.
	s.call(t, nil, "debug_bundler_clearMempool")
	have = s.becomes(t, successor, "dropped", "rejected")
	if have.Reason == nil || *have.Reason != "pool cleared" {
		t.Errorf("have %v, want the pool cleared", have)
	}

	// Invalidated between the two simulations: its account has no money left.
	gone := a.send(t, a.op(t))
	s.drain(t, a)
	s.sendsNothing(t)
	have = s.becomes(t, gone, "dropped", "rejected")
	if have.Reason == nil || !strings.HasPrefix(*have.Reason, "second validation failed: AA21") {
		t.Errorf("have %v, want AA21 in the second validation", have)
	}
}

// drain takes an account's money by a transaction of its owner.
func (s *stack) drain(t *testing.T, a *account) {
	t.Helper()
	s.transact(t, ownerOf(a), 1e17, nil) // for the transaction's fee
	s.mine(t, 1)
	data := pack(t, "SimpleAccount", "execute", common.Address{0xdd}, uint256.NewInt(999e15).ToBig(), []byte{})
	tx, err := types.SignNewTx(a.owner, types.LatestSignerForChainID(s.chain.ChainConfig().ChainID), &types.DynamicFeeTx{
		ChainID: s.chain.ChainConfig().ChainID, GasTipCap: uint256.NewInt(1e9).ToBig(), GasFeeCap: uint256.NewInt(1e11).ToBig(),
		Gas: 200_000, To: &a.address, Data: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	s.mine(t, 1)
	receipt, err := s.eth.TransactionReceipt(t.Context(), tx.Hash())
	if err != nil || receipt.Status != types.ReceiptStatusSuccessful {
		t.Fatalf("draining %s: %v", a.address, err)
	}
}

// prices is the answer of baler_getUserOperationGasPrice, and of pimlico's.
type prices struct {
	Slow           price          `json:"slow"`
	Standard       price          `json:"standard"`
	Fast           price          `json:"fast"`
	Required       price          `json:"required"`
	CurrentBaseFee *hexutil.U256  `json:"currentBaseFee"`
	BlockNumber    hexutil.Uint64 `json:"blockNumber"`
}

type price struct {
	MaxFeePerGas         hexutil.U256 `json:"maxFeePerGas"`
	MaxPriorityFeePerGas hexutil.U256 `json:"maxPriorityFeePerGas"`
}

func (p price) fees() gas.Fees {
	return gas.Fees{MaxFee: uint256.Int(p.MaxFeePerGas), MaxPriority: uint256.Int(p.MaxPriorityFeePerGas)}
}

func TestTheRequiredPriceIsExactlyWhatABundleAsksFor(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]gas.PriorityFeeMode{
		"increase": {Kind: gas.PriorityFeeIncreasePercent, Value: 10},
		"base fee": {Kind: gas.BaseFeePercent, Value: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startStack(t, func(c *node.Config) { c.Proposer.PriorityFeeMode = mode })
			a := s.accounts(t, userop.V07, 1, true)[0]
			var p prices
			s.call(t, &p, "baler_getUserOperationGasPrice")
			required := p.Required.fees()
			offer := func(f gas.Fees) func(*userop.UserOperation) {
				return func(op *userop.UserOperation) { op.MaxFeePerGas, op.MaxPriorityFeePerGas = f.MaxFee, f.MaxPriority }
			}
			one := uint256.NewInt(1)
			less := required
			less.MaxFee.Sub(&less.MaxFee, one)
			a.send(t, a.op(t, offer(less)))
			s.sendsNothing(t)
			s.call(t, nil, "debug_bundler_clearMempool")
			a.nonce--
			less = required
			less.MaxPriority.Sub(&less.MaxPriority, one)
			a.send(t, a.op(t, offer(less)))
			s.sendsNothing(t)
			s.call(t, nil, "debug_bundler_clearMempool")
			a.nonce--
			hash := a.send(t, a.op(t, offer(required)))
			s.sendBundle(t)
			s.becomes(t, hash, "submitted", "submitted")
		})
	}
}

// A share of the base fee may be less than what a bundle pays itself: whoever offers only that gets into no bundle that
// earns.
func TestThePriceIsNeverBelowWhatABundlePays(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(c *node.Config) {
		c.Proposer.PriorityFeeMode = gas.PriorityFeeMode{Kind: gas.BaseFeePercent, Value: 1}
	})
	a := s.accounts(t, userop.V07, 1, true)[0]
	var p prices
	s.call(t, &p, "baler_getUserOperationGasPrice")
	required := p.Required.fees()
	if !required.MaxPriority.Eq(&s.config.MinPriorityFee) {
		t.Errorf("priority fee: have %s, want the bundle's %s", required.MaxPriority.Dec(), s.config.MinPriorityFee.Dec())
	}
	hash := a.send(t, a.op(t, func(op *userop.UserOperation) {
		op.MaxFeePerGas, op.MaxPriorityFeePerGas = required.MaxFee, required.MaxPriority
	}))
	s.sendBundle(t)
	s.mine(t, 1)
	s.becomes(t, hash, "included", "included")
}

func TestPricesHaveHeadroomForRisesOfTheBaseFee(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	var p prices
	s.call(t, &p, "baler_getUserOperationGasPrice")
	for _, c := range []struct {
		name     string
		have     gas.Fees
		rises    int
		priority uint64 // percent more
	}{{"slow", p.Slow.fees(), 1, 0}, {"standard", p.Standard.fees(), 3, 10}, {"fast", p.Fast.fees(), 6, 25}} {
		base := uint256.Int(*p.CurrentBaseFee)
		for range c.rises { // EIP-1559: at most an eighth more with every full block
			base.Add(&base, new(uint256.Int).Div(&base, uint256.NewInt(8)))
		}
		priority := gas.AddPercent(p.Required.fees().MaxPriority, c.priority)
		want := gas.Fees{MaxPriority: priority}
		overhead := gas.AddPercent(base, s.config.Proposer.BaseFeeOverheadPercent)
		want.MaxFee.Add(&overhead, &priority)
		if c.have != want {
			t.Errorf("%s: have %v, want %v", c.name, c.have, want)
		}
	}
	var theirs prices
	s.call(t, &theirs, "pimlico_getUserOperationGasPrice")
	if theirs.Slow != p.Slow || theirs.Standard != p.Standard || theirs.Fast != p.Fast || theirs.CurrentBaseFee != nil {
		t.Errorf("pimlico: have %+v, want the same three prices and nothing else", theirs)
	}
	var priority hexutil.U256
	s.call(t, &priority, "rundler_maxPriorityFeePerGas")
	var suggestion struct {
		CurrentPriorityFee, BaseFee hexutil.U256
		BlockNumber                 hexutil.Uint64
		Suggested                   price
	}
	s.call(t, &suggestion, "rundler_getUserOperationGasPrice")
	if priority != p.Required.MaxPriorityFeePerGas || suggestion.CurrentPriorityFee != priority || suggestion.BaseFee != *p.CurrentBaseFee ||
		suggestion.BlockNumber != p.BlockNumber || suggestion.Suggested != p.Standard {
		t.Errorf("rundler: have %v, %+v, want what %+v says", priority, suggestion, p)
	}
}

func TestSubscribersHearTheWholeWay(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	heard := make(map[string]chan json.RawMessage)
	for _, topic := range []string{"operations", "bundles", "senders"} {
		heard[topic] = make(chan json.RawMessage, 100)
		subscription, err := s.client.Subscribe(t.Context(), "baler", heard[topic], topic)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(subscription.Unsubscribe)
	}
	hash := a.send(t, a.op(t))
	tx := s.sendBundle(t)
	s.mine(t, 1)
	next := func(topic string) map[string]any {
		var n map[string]any
		select {
		case raw := <-heard[topic]:
			if err := json.Unmarshal(raw, &n); err != nil {
				t.Fatal(err)
			}
		case <-time.After(waiting):
			t.Fatalf("%s: no notification within %s", topic, waiting)
		}
		return n
	}
	for _, want := range []string{"received", "added", "bundled", "sent", "mined"} {
		if n := next("operations"); n["event"] != want || n["userOpHash"] != hash.Hex() {
			t.Errorf("operations: have %v, want %s of %s", n, want, hash)
		}
	}
	for _, want := range []string{"proposed", "sent", "mined"} {
		n := next("bundles")
		if n["event"] != want || want != "proposed" && n["transactionHash"] != tx.Hex() {
			t.Errorf("bundles: have %v, want %s of %s", n, want, tx)
		}
	}
	var moves []string
	for !slices.Contains(moves, "Pending-Building") {
		n := next("senders")
		moves = append(moves, fmt.Sprintf("%v-%v", n["from"], n["to"]))
	}
	if !slices.Contains(moves, "Building-Pending") {
		t.Errorf("senders: have %v, want the way to Pending and back", moves)
	}
}
