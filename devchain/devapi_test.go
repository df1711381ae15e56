package devchain

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// Somebody with nothing but curl keeps a transaction out of the blocks, makes the node forget it, and lets blocks fill again.
func TestTransactionsAreHeldAndDroppedOverJSONRPC(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	call := func(method string, args ...any) error {
		var done bool
		err := c.Client().CallContext(t.Context(), &done, method, args...)
		if err == nil && !done {
			t.Errorf("%s: have false", method)
		}
		return err
	}
	known := func(hash common.Hash) bool {
		var tx map[string]any
		if err := c.Client().CallContext(t.Context(), &tx, "eth_getTransactionByHash", hash); err != nil {
			t.Fatal(err)
		}
		return tx != nil
	}
	mined := func(hash common.Hash) bool {
		blocks, err := c.Mine(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return blocks[0].Transaction(hash) != nil
	}
	if err := call("dev_hold"); err != nil {
		t.Fatal(err)
	}
	hash := c.send(tx{key: Key(0), to: common.Address{1}, gas: 21_000})
	if mined(hash) || !known(hash) {
		t.Errorf("a held transaction: mined or not known any more")
	}
	if err := call("dev_drop", hash); err != nil || known(hash) {
		t.Errorf("a dropped transaction: %v, known %v", err, known(hash))
	}
	if err := call("dev_drop", hash); err == nil {
		t.Error("what is gone is dropped again")
	}
	if err := call("dev_release"); err != nil {
		t.Fatal(err)
	}
	if again := c.send(tx{key: Key(0), to: common.Address{1}, gas: 21_000}); !mined(again) {
		t.Error("after the release nothing is mined")
	}
}
