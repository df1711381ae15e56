package dashboard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"baler/dashboard"
	"baler/event"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/ethereum/go-ethereum/common"
)

func (b *browser) ready() {
	b.t.Helper()
	b.sees("#live", "Live")
	b.sees("#senders-body", "CancelPending")
	b.until("the plots are drawn", "document.querySelector('#money canvas') && document.querySelector('#fees canvas')", "document.body.innerText")
}

func TestThePageShowsWhatTheBundlerSays(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	tell(s.page)
	b := open(t, s.url)
	b.size(1440, 900, "light")
	b.ready()
	for _, part := range []struct{ where, text string }{
		{"#chain", "chain 1337"},
		{"#now", "need you"},
		{"#now", "Sender 3 cannot free its nonce yet"},
		{"#senders-body tbody tr:nth-child(2)", "Pending"},
		{"#senders-body tbody tr:nth-child(2)", "submitted · 2 blocks left to wait"},
		{"#senders-body tbody tr:nth-child(2)", "1.1 ETH"},
		{"#senders-body .alerts", "transaction rejected"},
		{"#senders-body .journal", "bundle ready: 12 operations"},
		{"#mempool-body", "Operations\n160"},
		{"#mempool-body", "fee too low"},
		{"#mempool-body", "throttled"},
		{"#mempool-body", "banned"},
		{"#bundles-body", "+0.012 ETH"},
		{"#bundles-body", "1,400,000 / 1,900,000"},
		{"#bundles-body", "reverted"},
		{"#bundles-body .timeline", "mined 18 ops"},
		{"#nodes-body", "agrees with the node"},
		{"#nodes-body", "2.4 ms"},
	} {
		b.sees(part.where, part.text)
	}
	tokens := eval[string](b, `[...document.querySelectorAll('.state')].map((s) => s.querySelector('.state-name').textContent + ':' + s.querySelectorAll('.token').length).join(' ')`)
	if want := "Building:1 Pending:1 Cancelling:1 CancelPending:1 Stopped:0"; tokens != want {
		t.Errorf("the machine's picture: have %s, want %s", tokens, want)
	}
	for _, view := range []struct {
		name, scheme string
		width        int64
	}{{"busy-light", "light", 1440}, {"busy-dark", "dark", 1440}, {"busy-phone", "light", 390}} {
		b.size(view.width, 900, view.scheme)
		wide := eval[int](b, "document.documentElement.scrollWidth")
		if wide > int(view.width) {
			t.Errorf("%s: the page is %d wide, want no more than %d", view.name, wide, view.width)
		}
		b.picture(view.name)
	}
}

func TestAnEmptyBundlerIsExplained(t *testing.T) {
	b := open(t, serve(t, &fakeBundler{}, nil).url)
	b.sees("#live", "Live")
	b.sees("#now", "No bundle sender runs")
	b.sees("#senders-body", "this process holds no key")
	b.sees("#mempool-body", "The pool is empty")
	b.sees("#bundles-body", "No transaction has been sent")
	b.sees("#operation-body", "Look for one by its hash")
	b.picture("empty-light")
}

// What changes appears without a reload, also after the connection was lost.
func TestChangesAppearByThemselves(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	tell(s.page)
	b := open(t, s.url)
	b.ready()
	eval[bool](b, "(window.mark = 1, true)") // is lost with a reload
	f.set(func(f *fakeBundler) { f.senders[0].State, f.senders[0].Cause = "Pending", "submitted" })
	s.page.Hear(event.HeadSeen{Number: 4813})
	b.sees("#now", "2 Pending, 1 Cancelling")
	s.page.Hear(event.BundleMined{Signer: address(4), Tx: common.Hash{9, 11}, Block: 4813, Operations: 19, Success: true, GasUsed: 1_234_567})
	b.sees("#bundles-body", "1,234,567 / 1,900,000")
	before := b.received()
	last := before[len(before)-1]
	s.cut()
	b.sees("#live", "Reconnecting")
	b.sees("#now", "This page has lost the bundler")
	f.set(func(f *fakeBundler) { f.senders[1].State, f.senders[1].Cause = "Stopped", "lease lost" })
	s.mend(t)
	b.sees("#now", "Sender 2 is stopped: lease lost")
	b.sees("#live", "Live")
	if eval[int](b, "window.mark") != 1 {
		t.Error("the page was loaded again")
	}
	// The browser has said where it was (Last-Event-ID), and got what came after that, not everything again.
	after := b.received()
	if len(after) == 0 {
		t.Error("the browser has received nothing since")
	}
	for _, e := range after {
		if e.name != "change" || e.process() != last.process() || e.number() <= last.number() {
			t.Errorf("after %v: have %v, want a later change of the same process", last, e)
		}
		last = e
	}
}

// Names, reasons and calldata come from anybody.
func TestHostileTextStaysText(t *testing.T) {
	hostile := `<img src=x onerror="window.owned=1"><script>window.owned=1</script>"'&lt;javascript:window.owned=1//{{7*7}}${1}` + "\u202e\u0000\u2028</style><svg onload=window.owned=1>"
	f := busyBundler()
	hash, account := common.Hash{0xaa}, address(7)
	for i := range f.senders {
		f.senders[i].Cause = hostile
		f.senders[i].Journal = []dashboard.JournalLine{{Block: 1, State: hostile, Text: hostile, Follows: []string{hostile}}}
	}
	for i := range f.mempool.Operations {
		f.mempool.Operations[i].Skipped, f.mempool.Operations[i].Reason, f.mempool.Operations[i].Holder = hostile, hostile, ""
	}
	f.mempool.Reputation[0].Status = hostile
	f.endpoints[0].Name, f.endpoints[0].Status, f.endpoints[0].Well, f.endpoints[0].Evm, f.endpoints[0].LastError = hostile, hostile, false, hostile, hostile
	f.operations = map[common.Hash]*dashboard.Operation{hash: {
		Hash: hash, State: hostile, Reason: hostile, Rule: hostile, RuleTitle: hostile, Sender: &account, Nonce: hostile, CallData: hostile, CallDataLen: 9999,
		Story: []dashboard.Chapter{{At: time.Now().UnixMilli(), Event: hostile, Reason: hostile, Cause: hostile}},
	}}
	s := serve(t, f, f)
	tell(s.page)
	s.page.Hear(event.Alert{Signer: address(1), Kind: hostile, Text: hostile})
	s.page.Hear(event.BundleSent{Signer: address(1), Tx: common.Hash{7}, Operations: 2, Answer: hostile, Text: hostile})
	b := open(t, s.url)
	b.ready()
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), hash.Hex()+kb.Enter))
	b.sees("#operation-body", "What happened")
	for _, where := range []string{"#now", "#senders-body tbody", ".journal", "#mempool-body", "#bundles-body", "#operation-body", "#nodes-body"} {
		b.sees(where, `<img src=x onerror="window.owned=1">`)
	}
	if made := eval[int](b, "document.querySelectorAll('main img, main script, main style, svg[onload]').length"); made != 0 {
		t.Errorf("hostile text has become %d elements", made)
	}
	if eval[bool](b, "'owned' in window") {
		t.Error("hostile text was run")
	}
	// Even if the page made a mistake, the browser would not let it.
	for what, script := range map[string]string{
		"an inline script runs":  "(() => { const s = document.createElement('script'); try { s.textContent = 'window.owned = 1' } catch { return true } document.body.append(s); return !('owned' in window) })()",
		"text becomes markup":    "(() => { try { document.createElement('div').innerHTML = '<b>x</b>' } catch { return true } return false })()",
		"another host is called": "fetch('http://127.0.0.2:1/').then(() => false, () => true)",
	} {
		if !eval[bool](b, script) {
			t.Errorf("%s", what)
		}
	}
	b.forgive("127.0.0.2", "Trusted", "Content Security Policy", "violates")
}

func TestActionsNeedATokenAndAskFirst(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	tell(s.page)
	b := open(t, s.url)
	b.ready()
	b.sees("#operator", "Read-only: log in")
	second := strings.ToLower(address(2).Hex())
	b.click(fmt.Sprintf(`button.row[data-of="%s"]`, second))
	b.sees("#detail-title", "Sender 2")
	b.click(`.detail [data-act="pause"]`)
	b.sees("#ask", "Become an operator")
	b.do(chromedp.SendKeys(chromedp.CSS("#ask-input"), "wrong"+kb.Enter))
	b.sees("#told", "The token is wrong")
	b.forgive("401")
	b.click(`.detail [data-act="pause"]`)
	b.do(chromedp.SendKeys(chromedp.CSS("#ask-input"), token+kb.Enter))
	b.sees("#ask", "Pause sender 2?")
	if did := f.acted(); len(did) > 0 {
		t.Fatalf("have %q done before the question was answered", did)
	}
	if kept := eval[string](b, "JSON.stringify([localStorage, sessionStorage, document.cookie, document.querySelector('#ask').innerText, document.querySelector('#ask-input')?.value])"); strings.Contains(kept, token) {
		t.Errorf("the page keeps the token: %s", kept)
	}
	b.click(`#ask [data-act="leave"]`)
	b.sees("#operator", "Operator")
	b.click(`.detail [data-act="pause"]`)
	b.sees("#ask", "It proposes no bundle")
	b.picture("ask-light")
	b.click(`#ask button[value="yes"]`)
	b.sees("#told", "sender 2: paused")
	b.sees("#now", "Sender 2 is paused by an operator")
	for _, each := range []struct{ button, question, told string }{
		{`.detail [data-act="resume"]`, "Resume sender 2?", "resumed"},
		{`.detail [data-act="cancel"]`, "Cancel what sender 2 has out?", "asked to cancel"},
		{`.detail [data-act="drain"]`, "Drain sender 2?", "draining"},
		{`#mempool-body [data-act="ban"]`, "Ban this entity?", "banned; 3 of its operations left the pool"},
	} {
		b.click(each.button)
		b.sees("#ask", each.question)
		b.click(`#ask button[value="yes"]`)
		b.sees("#told", each.told)
	}
	if did := f.acted(); len(did) != 5 || !strings.HasPrefix(did[0], "pause") || !strings.HasPrefix(did[4], "ban") {
		t.Errorf("have %q done, want pause, resume, cancel, drain and ban", did)
	}
	b.click("#operator")
	b.sees("#operator", "Read-only: log in")
}

// Everything can be done without a mouse, and a screen reader has a name for everything.
func TestThePageWorksByKeyboard(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	tell(s.page)
	b := open(t, s.url)
	b.ready()
	b.do(chromedp.KeyEvent(kb.Tab))
	if first := eval[string](b, "document.activeElement.textContent"); first != "Skip to what matters now" {
		t.Errorf("the first stop is %q", first)
	}
	reached := map[string]bool{}
	for range 60 {
		b.do(chromedp.KeyEvent(kb.Tab))
		what := eval[string](b, "document.activeElement.id || (document.activeElement.dataset.act ?? '') + ' ' + document.activeElement.localName")
		reached[what] = true
		if what == "select g" && eval[string](b, "document.activeElement.getAttribute('aria-label')") == "Sender 3 in Cancelling, cancellation refused" {
			b.do(chromedp.KeyEvent(" "))
			b.sees("#detail-title", "Sender 3")
			if still := eval[string](b, "document.activeElement.getAttribute('aria-label') ?? document.activeElement.localName"); !strings.HasPrefix(still, "Sender 3") {
				t.Errorf("the focus went to %s", still)
			}
		}
	}
	for _, want := range []string{"theme", "operator", "select g", "select button", "pause button", "drain button"} {
		if !reached[want] {
			t.Errorf("Tab does not reach %s; it reaches %v", want, reached)
		}
	}
	b.do(chromedp.Focus(chromedp.CSS(`.detail [data-act="pause"]`)), chromedp.KeyEvent(kb.Enter))
	b.sees("#ask", "Become an operator")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("the question is gone", "!document.querySelector('#ask').open", "document.querySelector('#ask').innerText")
	nameless := eval[string](b, `[...document.querySelectorAll('button, a, input, [role=button], [role=img], section, table')].filter((e) => !e.closest('[hidden]') && !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML.slice(0, 80)).join('\n')`)
	if nameless != "" {
		t.Errorf("these have no name:\n%s", nameless)
	}
	if levels := eval[string](b, "[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.localName[1]).join('')"); !strings.HasPrefix(levels, "12") || strings.Contains(levels, "24") || strings.Contains(levels, "13") {
		t.Errorf("headings leave a level out: %s", levels)
	}
}

// tooFaint lists the texts whose contrast with what is behind them is under WCAG 2.2's AA: 4.5, or 3 for large text.
const tooFaint = `(() => {
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const rgba = (color) => { probe.clearRect(0, 0, 1, 1); probe.fillStyle = color; probe.fillRect(0, 0, 1, 1); return [...probe.getImageData(0, 0, 1, 1).data] }
  const over = (top, below) => { const a = top[3] / 255; return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a)).concat(255) }
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const behind = (e) => {
    const layers = []
    for (let at = e; at; at = at.parentElement) {
      const shape = at !== e && at.localName === 'g' ? at.querySelector(':scope > circle, :scope > rect') : null
      layers.push(rgba(shape ? getComputedStyle(shape).fill : getComputedStyle(at).backgroundColor))
    }
    return layers.reverse().reduce((below, top) => over(top, below), rgba(getComputedStyle(document.documentElement).colorScheme === 'dark' ? '#121212' : '#fff'))
  }
  const found = new Set()
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  let seen = 0
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement
    if (!walk.currentNode.data.trim() || e.closest('noscript, .skip, .hidden, :disabled, title, dialog:not([open])') || e.getClientRects().length === 0) continue
    seen++
    const style = getComputedStyle(e)
    const back = behind(e)
    const ink = over(rgba(e.ownerSVGElement ? style.fill : style.color), back)
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x)
    const ratio = (a + 0.05) / (b + 0.05)
    const size = parseFloat(style.fontSize)
    const wanted = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5
    if (ratio < wanted) found.add(ratio.toFixed(2) + ' ' + e.localName + '.' + e.getAttribute('class') + ': ' + walk.currentNode.data.trim().slice(0, 40))
  }
  return seen < 200 ? 'only ' + seen + ' texts were looked at' : [...found].join('\n')
})()`

func TestEveryTextHasEnoughContrast(t *testing.T) {
	f := busyBundler()
	f.senders[1].Paused, f.senders[0].LowBalance = true, true
	hash := common.Hash{0xaa}
	code := []dashboard.Chapter{}
	for _, what := range []string{"received", "added", "skipped", "bundled", "sent", "refused", "reverted", "mined", "removed"} {
		code = append(code, dashboard.Chapter{At: time.Now().UnixMilli(), Block: 7, Event: what, Reason: "for a reason", Code: -32500})
	}
	f.operations = map[common.Hash]*dashboard.Operation{hash: {Hash: hash, State: "rejected", Reason: "OP-011", Rule: "OP-011", RuleTitle: "title", Story: code}}
	s := serve(t, f, f)
	tell(s.page)
	b := open(t, s.url)
	b.ready()
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), hash.Hex()+kb.Enter))
	b.sees("#operation-body", "What happened")
	for _, scheme := range []string{"light", "dark"} {
		b.size(1440, 900, scheme)
		if faint := eval[string](b, tooFaint); faint != "" {
			t.Errorf("%s: under AA:\n%s", scheme, faint)
		}
	}
	// The switch overrides the system.
	b.click("#theme")
	b.sees("#theme", "Theme: light")
	if faint := eval[string](b, tooFaint); faint != "" {
		t.Errorf("light by the switch: under AA:\n%s", faint)
	}
	if scheme := eval[string](b, "getComputedStyle(document.documentElement).colorScheme"); scheme != "light" {
		t.Errorf("with the switch on light the scheme is %s", scheme)
	}
	b.picture("story-light")
}
