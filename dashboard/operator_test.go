package dashboard_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"baler/chain"
	"baler/dashboard"
	"baler/node"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/ethereum/go-ethereum/common"
)

// presses presses a button of an operator's, and answers the question that comes with yes.
func (b *browser) presses(button, question, told string) {
	b.t.Helper()
	b.click(button)
	b.sees("#ask", question)
	b.click(`#ask button[value="yes"]`)
	b.sees("#told", told)
}

// waiting is how many operations wait in the pool.
func (s *stack) waiting() int { return len(s.node.Page().Mempool().Operations) }

// inBackground sends operations of new accounts beside the test, and returns what waits for how they fared.
func (s *stack) inBackground(t *testing.T, ops, sponsored int) (fared func() error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		report, err := s.load(ctx, ops, ops, sponsored)
		if err == nil && !report.OK(ops) {
			err = fmt.Errorf("have %+v %v, want %d operations included", report.Totals, report.Failures, ops)
		}
		if err != nil && ctx.Err() == nil {
			t.Logf("operations in the background: %v", err) // who waits for them would not say why they do not come
		}
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return func() error {
		err := <-done
		done <- err
		return err
	}
}

// TestAnOperatorActsOnARunningBundler presses every button on a real bundler, which talks to three endpoints of a real chain, one
// of them never there. Each act shows in the bundler itself, and on the page.
func TestAnOperatorActsOnARunningBundler(t *testing.T) {
	s := startChain(t)
	url := s.chain.HTTPURL()
	client, err := chain.DialSeveral(t.Context(), []string{url, url, "http://127.0.0.1:1"}, nil, chain.EndpointOptions{PollInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.start(t, client, nil, func(c *node.Config) { c.Signers = c.Signers[:1] })
	b := open(t, s.url)
	b.sees("#live", "Live")
	b.sees("#operator", "Read-only: log in")

	// The endpoints, each with what is known of it.
	for i, want := range []string{"ok", "ok"} {
		card := fmt.Sprintf("#nodes-body .nodes article:nth-child(%d)", i+1)
		b.sees(card, want)
		b.sees(card, "Agreed head")
		b.sees(card, "closed: it is asked")
		b.sees(card, "not compared yet")
	}
	third := "#nodes-body .nodes article:nth-child(3)"
	b.sees(third, "trouble")
	b.until("the third endpoint is out", fmt.Sprintf("/It is (unreachable|resting)/.test(document.querySelector(%q).innerText)", third), "document.querySelector('#nodes-body').innerText")
	b.sees(third, "100.0%")

	// Pause: with the token, and after a question.
	b.click(`.detail [data-act="pause"]`)
	b.sees("#ask", "Become an operator")
	b.do(chromedp.SendKeys(chromedp.CSS("#ask-input"), token+kb.Enter))
	b.sees("#ask", "Pause sender 1?")
	if s.sender(t).Paused {
		t.Fatal("the sender is paused before the question is answered")
	}
	b.click(`#ask button[value="yes"]`)
	b.sees("#told", "sender 1: paused")
	b.sees("#now", "Sender 1 is paused by an operator")
	s.wait(t, "the sender is paused", func() string { return unless(s.sender(t).Paused) })
	first := s.inBackground(t, 4, 100)
	s.wait(t, "four operations wait", func() string { return unless(s.waiting() == 4) })
	from := s.chain.Head().Number.Uint64()
	s.wait(t, "blocks go by", func() string { return unless(s.chain.Head().Number.Uint64() > from+3) })
	if now := s.sender(t); s.waiting() != 4 || len(now.Attempts) > 0 || now.State != "Building" {
		t.Errorf("a paused sender is in %s with %d attempts, and %d operations wait", now.State, len(now.Attempts), s.waiting())
	}
	b.sees("#mempool-body", "Operations\n4")
	b.until("an endpoint has been compared", "document.querySelector('#nodes-body').innerText.includes('agrees, last compared at block')", "document.querySelector('#nodes-body').innerText")

	// Resume: what waited is mined.
	b.presses(`.detail [data-act="resume"]`, "Resume sender 1?", "sender 1: resumed")
	if err := first(); err != nil {
		t.Fatal(err)
	}
	b.sees("#bundles-body", "mined")
	b.until("the sender is not paused", "!document.querySelector('#now').innerText.includes('paused')", "document.querySelector('#now').innerText")

	// Ban: the entity's operations leave the pool, and it is refused from now on.
	b.presses(`.detail [data-act="pause"]`, "Pause sender 1?", "sender 1: paused")
	s.wait(t, "the sender is paused", func() string { return unless(s.sender(t).Paused) })
	s.inBackground(t, 4, 100)
	s.wait(t, "four operations wait again", func() string {
		if n := s.waiting(); n != 4 {
			return fmt.Sprintf("%d wait, sender 1 is %+v", n, s.sender(t))
		}
		return ""
	})
	b.sees("#mempool-body", "Operations\n4")
	banned := common.HexToAddress(eval[string](b, `document.querySelector('#mempool-body [data-act="ban"]').dataset.of`))
	b.presses(`#mempool-body [data-act="ban"]`, "Ban this entity?", "banned; 2 of its operations left the pool")
	for _, op := range s.node.Page().Mempool().Operations {
		if op.Paymaster != nil && *op.Paymaster == banned {
			t.Errorf("an operation with the banned paymaster waits: %s", op.Hash)
		}
	}
	b.sees("#mempool-body", "Operations\n2")
	b.sees("#mempool-body", "banned")

	// Drain: with nothing out, the key is free at once.
	b.presses(`.detail [data-act="drain"]`, "Drain sender 1?", "sender 1: draining")
	b.sees("#senders-body", "No bundle sender runs")
	if left := s.node.Page().Senders(t.Context()); len(left) > 0 {
		t.Errorf("have %d senders, want none", len(left))
	}
	b.sees("#now", "No bundle sender runs")
}

// sender is the stack's first bundle sender as the page sees it.
func (s *stack) sender(t *testing.T) dashboard.Sender {
	t.Helper()
	list := s.node.Page().Senders(t.Context())
	if len(list) == 0 {
		t.Fatal("there is no sender")
	}
	return list[0]
}

// unless is what a check of [stack.wait] says unless its condition holds.
func unless(holds bool) string {
	if holds {
		return ""
	}
	return "not yet"
}
