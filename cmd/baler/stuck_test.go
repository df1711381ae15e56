package main

import (
	"math/big"
	"regexp"
	"syscall"
	"testing"

	"baler/bundlesender"
	"baler/journal"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// story returns the moments of a key's journal, re-run through the machine.
func (l *lives) story(t *testing.T, key common.Address) []journal.Moment {
	t.Helper()
	s, err := store.OpenReadOnly(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	j, err := s.Journal(key)
	if err != nil {
		t.Fatal(err)
	}
	var moments []journal.Moment
	if err := journal.Replay(j.Entries(), func(m journal.Moment) error {
		moments = append(moments, m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return moments
}

// tells checks that the timeline has these passages, one after the other.
func tells(t *testing.T, timeline string, passages ...string) {
	t.Helper()
	rest := timeline
	for _, passage := range passages {
		at := regexp.MustCompile(passage).FindStringIndex(rest)
		if at == nil {
			t.Errorf("the timeline has no %q where it is expected:\n%s", passage, timeline)
			return
		}
		rest = rest[at[1]:]
	}
}

// The base fee jumps while a bundle waits: it is replaced, and whoever reads the journal sees why.
func TestTheReplayShowsHowAStuckBundleWasReplaced(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	l, accounts := newLives(t, chain, chain.HTTPURL(), 1, 3, "--node-ws", chain.WSURL())
	p := l.start(t)
	pool := l.w.watchPool(t)
	chain.Hold(nil)
	a := accounts[0]
	hash := a.send(t, a.op(t, l.w.count(t), fees(2000, 100)))
	stuck := pool.await(t, 1)
	chain.SetBaseFee(gwei(200))
	chain.Release()
	l.w.checkOnceEach(t, []common.Hash{hash})
	mined, _, err := l.w.eth.TransactionByHash(t.Context(), l.w.receiptOf(t, hash).Receipt.TxHash)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case mined.Hash() == stuck.Hash() || mined.Nonce() != stuck.Nonce():
		t.Errorf("have transaction %s of nonce %d mined, want a replacement of %s", mined.Hash(), mined.Nonce(), stuck.Hash())
	case !tenPercentMore(mined.GasFeeCap(), stuck.GasFeeCap()) || !tenPercentMore(mined.GasTipCap(), stuck.GasTipCap()):
		t.Errorf("have fees %v and %v, want 10%% more than %v and %v", mined.GasFeeCap(), mined.GasTipCap(), stuck.GasFeeCap(), stuck.GasTipCap())
	}
	tells(t, l.end(t, p),
		`submits attempt 1 \(bundle\): nonce 0, 1 operation`,
		`attempt 1 signed and durable: `+stuck.Hash().Hex(),
		`Pending -> Building, because: timed out`,
		`proposes a bundle at nonce 0, at least max fee`,
		`submits attempt 2 \(bundle\): nonce 0, 1 operation`,
		`settles attempt \d+ \(bundle, 1 operation\): `+mined.Hash().Hex(),
	)
}

// Nobody pays for a replacement: after more blocks than are set the nonce is freed, as cheaply as the node lets us.
func TestTheReplayShowsHowABundleNobodyPaidForWasCancelled(t *testing.T) {
	t.Parallel()
	const patient = 3 // max_replacement_underpriced_blocks
	chain := startChain(t, interval())
	l, accounts := newLives(t, chain, chain.HTTPURL(), 1, 3,
		"--node-ws", chain.WSURL(), "--max-replacement-underpriced-blocks=3", "--min-priority-fee-per-gas=2000000000")
	p := l.start(t)
	pool := l.w.watchPool(t)
	us := addressOf(chain.Keys()[0])
	chain.Hold(func(tx *types.Transaction) bool { return tx.Nonce() == 0 && senderOf(tx) == us && len(tx.Data()) > 0 })
	a := accounts[0]
	hash := a.send(t, a.op(t, l.w.count(t), fees(4, 2)))
	pool.await(t, 1)
	l.w.checkOnceEach(t, []common.Hash{hash})
	l.w.checkSigners(t, 1)
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d after SIGTERM, want %d", code, exitOK)
	}

	var dearest, cancellation *types.Transaction // of nonce 0
	pool.mu.Lock()
	for _, tx := range pool.txs {
		switch {
		case tx.Nonce() != 0:
		case len(tx.Data()) == 0:
			cancellation = tx
		case dearest == nil || tx.GasTipCap().Cmp(dearest.GasTipCap()) > 0:
			dearest = tx
		}
	}
	pool.mu.Unlock()
	if cancellation == nil {
		t.Fatal("no cancellation was sent")
	}
	if *cancellation.To() != us || cancellation.Value().Sign() != 0 || cancellation.Gas() != 21_000 {
		t.Errorf("have a cancellation to %s with %v wei and %d gas, want an empty one to %s", cancellation.To(), cancellation.Value(), cancellation.Gas(), us)
	}
	if want := plusTenPercent(dearest.GasTipCap()); cancellation.GasTipCap().Cmp(want) != 0 {
		t.Errorf("have priority fee %v, want %v, the least that replaces %v", cancellation.GasTipCap(), want, dearest.GasTipCap())
	}
	if want := plusTenPercent(dearest.GasFeeCap()); cancellation.GasFeeCap().Cmp(want) != 0 {
		t.Errorf("have max fee %v, want %v, the least that replaces %v", cancellation.GasFeeCap(), want, dearest.GasFeeCap())
	}

	var waited uint64
	for _, m := range l.story(t, us) {
		if m.Before.State == bundlesender.Building && m.After.State == bundlesender.Cancelling {
			waited = m.After.Head - m.Before.UnderpricedSince
			break
		}
	}
	if waited <= patient {
		t.Errorf("have a cancellation after %d blocks underpriced, want it after more than %d", waited, patient)
	}
	tells(t, l.replay(t),
		`submits attempt 1 \(bundle\): nonce 0, 1 operation`,
		`Pending -> Building, because: timed out`,
		`underpriced since block \d+`,
		`Building -> Cancelling, because: none left after the fee filter`,
		`cancels nonce 0 by attempt \d+, at least max fee`,
		`Cancelling -> CancelPending, because: hard cancellation submitted`,
		`settles attempt \d+ \(cancellation, 0 operations\): `+cancellation.Hash().Hex(),
		`submits attempt \d+ \(bundle\): nonce 1, 1 operation`,
	)
}

// plusTenPercent is a fee that replaces another, rounded up.
func plusTenPercent(fee *big.Int) *big.Int {
	more := new(big.Int).Mul(fee, big.NewInt(110))
	more.Add(more, big.NewInt(99))
	return more.Div(more, big.NewInt(100))
}
