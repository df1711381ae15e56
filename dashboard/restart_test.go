package dashboard_test

import (
	"fmt"
	"testing"

	"baler/dashboard"
	"baler/store"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/ethereum/go-ethereum/common"
)

// openStore opens the store in a folder; the bundler commits to it, and whoever opened it closes it.
func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	kept, err := store.Open(dir, store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	return kept
}

// minedRows are the transactions that the page's table shows as mined.
const minedRows = `[...document.querySelectorAll('#bundles-body tbody tr')].filter((row) => row.querySelector('.badge.good')?.textContent === 'mined').map((row) => row.dataset.key).sort().join(' ')`

// TestTheHistoryComesBackAfterARestart restarts a real bundler under an open page: what the page showed of the past is there
// again, from the store, with a reload and without one. Then a reorg takes the newest bundle back, and the page says so.
func TestTheHistoryComesBackAfterARestart(t *testing.T) {
	s := startChain(t)
	dir := t.TempDir()
	kept := openStore(t, dir)
	s.start(t, dial(t, s.chain.HTTPURL()), kept)
	if report, err := s.load(t.Context(), 10, 20, 40); err != nil || !report.OK(20) {
		t.Fatalf("load: have %+v, error %v, want 20 operations included", report, err)
	}
	b := open(t, s.url)
	b.sees("#live", "Live")
	b.until("the profit curve is drawn", "document.querySelector('#money canvas')", "document.querySelector('#bundles-body').innerText")
	earned, sums := s.node.Page().Books(400)
	b.sees("#bundles-body", fmt.Sprintf("Bundles mined\n%d", sums.Bundles))
	rows := eval[string](b, minedRows)
	curve := eval[string](b, "document.querySelector('#money').getAttribute('aria-label')")
	hash := common.HexToHash(eval[string](b, `document.querySelector('#bundles-body [data-act="find"]').dataset.of`))
	const story = "[...document.querySelectorAll('.story li')].map((li) => li.innerText).join('|')"
	search := func() string {
		eval[bool](b, "(document.querySelector('#q').value = '', true)")
		b.do(chromedp.SendKeys(chromedp.CSS("#q"), hash.Hex()+kb.Enter))
		b.sees("#operation-body", hash.Hex())
		b.sees("#operation-body .story", "It is in a block")
		return eval[string](b, story)
	}
	told := search()
	for _, part := range []string{"It came in", "It was validated", "It was chosen for a bundle", "Its bundle was sent"} {
		b.sees("#operation-body .story", part)
	}
	eval[bool](b, "(window.mark = 1, true)") // is lost with a reload
	b.received()

	// Another process at the same address, with the same store.
	s.cut()
	s.end()
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	b.sees("#live", "Reconnecting")
	s.start(t, dial(t, s.chain.HTTPURL()), openStore(t, dir))
	b.sees("#live", "Live")
	for _, how := range []string{"without a reload", "after a reload"} {
		b.until("the transactions are back "+how, fmt.Sprintf("%s === %q", minedRows, rows), minedRows)
		b.until("the curve is back "+how, fmt.Sprintf("document.querySelector('#money')?.getAttribute('aria-label') === %q && document.querySelector('#money canvas')", curve),
			"document.querySelector('#money')?.getAttribute('aria-label')")
		b.sees("#bundles-body", fmt.Sprintf("Bundles mined\n%d", sums.Bundles))
		if again := search(); again != told {
			t.Errorf("%s: have the story\n%s\nwant\n%s", how, again, told)
		}
		if how == "without a reload" {
			if eval[int](b, "window.mark") != 1 {
				t.Error("the page was loaded again")
			}
			// The numbers of the first process mean nothing to the second: it sends everything.
			if stream := b.received(); len(stream) == 0 || stream[0].name != "snapshot" {
				t.Errorf("have %v, want a snapshot first", stream)
			}
			b.do(chromedp.Reload())
			b.sees("#live", "Live")
		}
	}

	// The newest bundle's block leaves the chain, and what it held stays out of the new one for now.
	newest := earned[len(earned)-1]
	s.hold(s.keys...)
	if err := s.chain.Reorg(t.Context(), newest.Block-1); err != nil {
		t.Fatal(err)
	}
	s.mine(t) // at the same height
	s.mine(t)
	// Whether it is sent again or replaced already: it is not mined.
	row := fmt.Sprintf(`#bundles-body tr[data-key="%s"]`, newest.Transaction.Hex())
	b.until("it is not mined any more", fmt.Sprintf("/sent|replaced/.test(document.querySelector(%q)?.innerText)", row), fmt.Sprintf("document.querySelector(%q)?.innerText", row))
	b.sees("#bundles-body", fmt.Sprintf("Bundles mined\n%d", sums.Bundles-uint64(inBlock(earned, newest.Block))))
	s.chain.Release()
	s.chain.SetAutoMine(true)
	// It is mined again, or a replacement that was sent meanwhile is: either way no operation is missing, and nothing waits.
	b.until("it is mined again or replaced", fmt.Sprintf("/mined|replaced/.test(document.querySelector(%q)?.innerText)", row), fmt.Sprintf("document.querySelector(%q)?.innerText", row))
	b.sees("#bundles-body", fmt.Sprintf("\n%d operations", sums.Operations))
}

// inBlock is how many of the transactions are in a block or after it.
func inBlock(earned []dashboard.Earning, block uint64) (n int) {
	for i := range earned {
		if earned[i].Block >= block {
			n++
		}
	}
	return n
}
