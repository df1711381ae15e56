package main

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/funding"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// purse is a funding key and keys without money.
type purse struct {
	w     *world
	env   []string
	flags []string
	payer common.Address
	keys  []common.Address
}

// newPurse makes n keys that are to be funded, each with a little of its own: 1 wei, 2 wei, ...
func newPurse(t *testing.T, chain *devchain.Chain, n int) *purse {
	t.Helper()
	p := &purse{w: chainOnly(chain), payer: addressOf(chain.Keys()[rivalKey])}
	var secrets []string
	for range n {
		key := p.w.newOwner(t)
		secrets = append(secrets, hexutil.Encode(crypto.FromECDSA(key)))
		p.keys = append(p.keys, addressOf(key))
	}
	p.env = []string{
		"BALER_SIGNER_PRIVATE_KEYS=" + strings.Join(secrets, ","),
		"BALER_FUNDING_PRIVATE_KEY=" + hexutil.Encode(crypto.FromECDSA(chain.Keys()[rivalKey])),
	}
	p.flags = []string{"--node-http", chain.HTTPURL(), "--log-format=json", "--data-dir", t.TempDir()}
	return p
}

const (
	fundBelow = "500000000000000000"
	fundTo    = "2000000000000000000"
)

// node starts a bundler that funds its keys.
func (p *purse) node(t *testing.T, env ...string) *program {
	t.Helper()
	return startProgram(t, append(env, p.env...), append([]string{
		"node", "--rpc-addr", "127.0.0.1:0", "--fund-below", fundBelow, "--fund-to", fundTo, "--fund-check-blocks=1", "--log-level=debug",
	}, p.flags...)...)
}

// admin runs an admin command to its end.
func (p *purse) admin(t *testing.T, command string, flags ...string) (code int, out string) {
	t.Helper()
	run := startProgram(t, p.env, append(append([]string{"admin", command}, p.flags...), flags...)...)
	code = run.wait(t)
	return code, run.stdout.String() + run.stderr.String()
}

// funded waits until each key has exactly what it is funded to.
func (p *purse) funded(t *testing.T) {
	t.Helper()
	want, _ := new(big.Int).SetString(fundTo, 10)
	eventually(t, "the keys are funded", func() error {
		for _, key := range p.keys {
			if have := p.balance(t, key); have.Cmp(want) != 0 {
				return fmt.Errorf("%s has %s wei, want %s", key, have, want)
			}
		}
		return nil
	})
}

func (p *purse) balance(t *testing.T, account common.Address) *big.Int {
	t.Helper()
	balance, err := p.w.eth.BalanceAt(t.Context(), account, nil)
	if err != nil {
		t.Fatal(err)
	}
	return balance
}

// paid returns the transactions of an account that are mined.
func (p *purse) paid(t *testing.T, from common.Address) (txs []*types.Transaction) {
	t.Helper()
	rules := types.LatestSignerForChainID(new(big.Int).SetUint64(p.w.chain.ChainID()))
	head := p.w.chain.Head().Number.Int64()
	for number := int64(1); number <= head; number++ {
		block, err := p.w.eth.BlockByNumber(t.Context(), big.NewInt(number))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			if sender, err := types.Sender(rules, tx); err == nil && sender == from {
				txs = append(txs, tx)
			}
		}
	}
	return txs
}

// checkOnePayment: the keys were funded by one transaction through Multicall3.
func (p *purse) checkOnePayment(t *testing.T) *types.Transaction {
	t.Helper()
	txs := p.paid(t, p.payer)
	if len(txs) != 1 || *txs[0].To() != funding.Multicall3 {
		t.Fatalf("have %d transactions of the funding key, want one to Multicall3", len(txs))
	}
	return txs[0]
}

func TestKeysThatRunLowAreFundedInOneTransaction(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 3)
	node := p.node(t)
	p.funded(t)
	p.checkOnePayment(t)
	moved := node.logged(t, "funds moved")
	if moved["accounts"] != 3.0 || moved["wei"] != "6000000000000000000" || moved["success"] != true {
		t.Errorf("have %v, want 6 ETH to 3 accounts", moved)
	}
	if code := node.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
	hidden(t, formsOf(chain.Keys()[rivalKey]), map[string]string{"the log": node.stderr.String(), "the output": node.stdout.String()})
	if code, out := p.admin(t, "fund-signers", "--fund-below", fundBelow, "--fund-to", fundTo); code != exitOK || !strings.Contains(out, "Nothing is to be moved") {
		t.Errorf("have exit code %d and %s, want nothing to be moved", code, out)
	}
}

// A payment is signed, written down, sent and mined; the process dies between any two of these, and is started again.
func TestAFundingThatIsKilledAnywhereFundsOnce(t *testing.T) {
	t.Parallel()
	for _, boundary := range []string{"payment signed", "payment journaled", "payment relayed", "payment mined"} {
		t.Run(boundary, func(t *testing.T) {
			t.Parallel()
			p := newPurse(t, startChain(t, interval()), 2)
			p.node(t, dieAt+"="+boundary+":1").dies(t)
			p.node(t)
			p.funded(t)
			p.checkOnePayment(t)
		})
		t.Run(boundary+" by the admin command", func(t *testing.T) {
			t.Parallel()
			p := newPurse(t, startChain(t, interval()), 2)
			args := append([]string{"admin", "fund-signers", "--fund-below", fundBelow, "--fund-to", fundTo, "--execute"}, p.flags...)
			startProgram(t, append(p.env, dieAt+"="+boundary+":1"), args...).dies(t)
			if code, out := p.admin(t, "fund-signers", "--fund-below", fundBelow, "--fund-to", fundTo, "--yes"); code != exitOK {
				t.Fatalf("have exit code %d: %s", code, out)
			}
			p.funded(t)
			p.checkOnePayment(t)
		})
	}
}

func TestAStuckPaymentIsReplacedWithHigherFees(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 2)
	chain.Hold(nil)
	node := p.node(t)
	eventually(t, "a replacement", func() error {
		if n := len(node.logs("payment sent")); n < 3 {
			return fmt.Errorf("have %d payments sent", n)
		}
		return node.running()
	})
	chain.Release()
	p.funded(t)
	mined := p.checkOnePayment(t)
	first := node.logs("payment sent")[0]
	low, _ := new(big.Int).SetString(first["max_fee"].(string), 10)
	least := new(big.Int).Div(new(big.Int).Mul(low, big.NewInt(121)), big.NewInt(100))
	if mined.Nonce() != 0 || mined.GasFeeCap().Cmp(least) < 0 {
		t.Errorf("have nonce %d and max fee %s, want 0 and two increases of 10%% over %s", mined.Nonce(), mined.GasFeeCap(), low)
	}
}

func TestFundingGoesOnOverAReorg(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 2)
	parent := chain.Head().Number.Uint64()
	node := p.node(t)
	p.funded(t)
	node.logged(t, "funds moved")
	paid := p.checkOnePayment(t)
	if err := chain.Reorg(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	if err := chain.Drop(paid.Hash()); err != nil { // the node has forgotten it, too
		t.Fatal(err)
	}
	chain.SetAutoMine(true)
	p.funded(t)
	p.checkOnePayment(t)
}

func TestAdminCommandsSignNothingUnlessToldTo(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 2)
	levels := []string{"--fund-below", fundBelow, "--fund-to", fundTo}
	code, out := p.admin(t, "fund-signers", levels...)
	if code != exitOK || !strings.Contains(out, "Nothing was signed") || !strings.Contains(out, p.keys[1].Hex()) || !strings.Contains(out, fundTo) {
		t.Errorf("dry run: have exit code %d and %s", code, out)
	}
	if txs := p.paid(t, p.payer); len(txs) != 0 {
		t.Fatalf("a dry run has sent %d transactions", len(txs))
	}
	if code, out = p.admin(t, "fund-signers", append(levels, "--execute")...); code != exitOK || !strings.Contains(out, "Done") {
		t.Fatalf("have exit code %d and %s", code, out)
	}
	p.funded(t)
	if code, out = p.admin(t, "list-signers"); code != exitOK || strings.Count(out, fundTo) != 2 {
		t.Errorf("list: have exit code %d and %s, want both balances", code, out)
	}

	home := common.HexToAddress("0x00000000000000000000000000000000000f00d5")
	if code, out = p.admin(t, "defund-signers", "--to", home.Hex(), "--leave=1000"); code != exitOK || !strings.Contains(out, "Nothing was signed") {
		t.Errorf("dry run: have exit code %d and %s", code, out)
	}
	if p.balance(t, home).Sign() != 0 {
		t.Fatal("a dry run has moved funds")
	}
	if code, out = p.admin(t, "defund-signers", "--to", home.Hex(), "--leave=1000", "--yes"); code != exitOK {
		t.Fatalf("have exit code %d and %s", code, out)
	}
	most, _ := new(big.Int).SetString("4000000000000000000", 10)
	least, _ := new(big.Int).SetString("3990000000000000000", 10)
	if have := p.balance(t, home); have.Cmp(least) < 0 || have.Cmp(most) >= 0 {
		t.Errorf("have %s wei at home, want nearly %s", have, most)
	}
	for _, key := range p.keys {
		if have := p.balance(t, key); have.Cmp(big.NewInt(1000)) < 0 {
			t.Errorf("%s: have %s wei left, want at least 1000", key, have)
		}
		if n := len(p.paid(t, key)); n != 1 {
			t.Errorf("%s: have %d transactions, want 1", key, n)
		}
	}
}

func TestFundsAreNotMovedBesideARunningBundler(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 1)
	node := p.node(t)
	p.funded(t)
	code, out := p.admin(t, "defund-signers", "--to", p.payer.Hex(), "--execute")
	if code != exitSettings || !strings.Contains(out, "must be stopped") {
		t.Errorf("have exit code %d and %s, want a refusal", code, out)
	}
	if err := node.running(); err != nil {
		t.Error(err)
	}
}

func TestAFundingKeyThatCannotPayForAllPaysForTheLowest(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 2)
	poor := p.w.newOwner(t)
	p.env[1] = "BALER_FUNDING_PRIVATE_KEY=" + hexutil.Encode(crypto.FromECDSA(poor))
	p.w.send(t, p.keys[0], big.NewInt(1000))
	p.w.send(t, addressOf(poor), ether(3))
	code, out := p.admin(t, "fund-signers", "--fund-below", fundBelow, "--fund-to", fundTo, "--execute")
	if code != exitFailed || !strings.Contains(out, "cannot pay") {
		t.Errorf("have exit code %d and %s, want that the payer cannot pay for the rest", code, out)
	}
	if low, high := p.balance(t, p.keys[1]), p.balance(t, p.keys[0]); low.Cmp(ether(2)) != 0 || high.Cmp(big.NewInt(1000)) != 0 {
		t.Errorf("have %s and %s wei, want that the key with the least was funded", low, high)
	}
}

// send pays from the world's own key, where no bundler need be there.
func (w *world) send(t *testing.T, to common.Address, wei *big.Int) {
	t.Helper()
	hash := w.pay(t, to, wei, nil)
	eventually(t, "a payment of the test", func() error {
		receipt, err := w.eth.TransactionReceipt(t.Context(), hash)
		if err == nil && receipt.Status != types.ReceiptStatusSuccessful {
			return errors.New("it failed")
		}
		return err
	})
}

func TestWrongFundingSettingsAreRefused(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p := newPurse(t, chain, 1)
	signer := strings.TrimPrefix(p.env[0], "BALER_SIGNER_PRIVATE_KEYS=")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"levels without a key":   {[]string{"--fund-below=1", "--fund-to=2", "--funding-private-key="}, "needs a funding key"},
		"a key without levels":   {nil, "--fund_below and --fund_to"},
		"levels the wrong way":   {[]string{"--fund-below=2", "--fund-to=1"}, "--fund_below and --fund_to"},
		"a signer's key":         {[]string{"--fund-below=1", "--fund-to=2", "--funding-private-key=" + signer}, "is a bundle sender's too"},
		"half a key":             {[]string{"--fund-below=1", "--fund-to=2", "--funding-private-key=0x1234"}, "the funding key"},
		"KMS without a lease":    {[]string{"--fund-below=1", "--fund-to=2", "--funding-private-key=", "--funding-kms-key-id=k"}, "--signer_kms_single_process"},
		"amounts of no sort":     {[]string{"--fund-below=1.5", "--fund-to=2"}, "--fund_below"},
		"two kinds of their own": {[]string{"--fund-below=1", "--fund-to=2", "--funding-kms-key-id=k", "--signer-kms-single-process"}, "more than one kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := startProgram(t, p.env, append(append([]string{"node", "--rpc-addr=127.0.0.1:0"}, p.flags[:3]...), append(test.args, "--data-dir", t.TempDir())...)...)
			if code := run.wait(t); code != exitSettings || !strings.Contains(run.stderr.String(), test.want) {
				t.Errorf("have exit code %d and %s, want %d and %q", code, run.stderr.String(), exitSettings, test.want)
			}
		})
	}
}
