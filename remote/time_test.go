package remote

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"baler/node"
	pb "baler/remote/remotev1"
)

func TestAServerBoundsTheTimeOfACallWhateverItsCallerGrants(t *testing.T) {
	p := newFakePool("one")
	p.block = make(chan struct{})
	defer close(p.block)
	cfg := quick()
	cfg.SendTime = 50 * time.Millisecond
	c := connected(t, ClientConfig{SendTime: time.Hour}, serve(t, cfg, "", p).url())
	_, err := c.Edge().SendBundleNow(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != TimedOut || !e.Sent {
		t.Errorf("have %v, want that it timed out, and may have been carried out", err)
	}
}

func TestAMessageThatNeverComesWholeEndsItsCallOnly(t *testing.T) {
	cfg := quick()
	cfg.RequestTime = 100 * time.Millisecond
	s := serve(t, cfg, "", newFakePool("one"))
	e, err := newEndpoint(&ClientConfig{DialTime: time.Minute, MaxBytes: 1 << 20}, s.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.transport.CloseIdleConnections()
	body, end := io.Pipe()
	defer func() { _ = end.Close() }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url()+pb.EdgeServiceAdmitProcedure, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc+proto")
	go func() { _, _ = end.Write([]byte{0, 0, 0, 1, 0, 7}) }() // and nothing more
	answer, err := e.transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	if status := answer.Trailer.Get("Grpc-Status") + answer.Header.Get("Grpc-Status"); status == "0" || status == "" {
		t.Errorf("have status %q, want an error", status)
	}
}

func TestAStreamOutlivesTheTimeThatItsRequestHad(t *testing.T) {
	p := newFakePool("one")
	cfg := quick()
	cfg.RequestTime, cfg.CallTime, cfg.Pulse = 300*time.Millisecond, 300*time.Millisecond, 20*time.Millisecond
	s := serve(t, cfg, "", p)
	c := connected(t, ClientConfig{}, s.url())
	ended := make(chan error, 1)
	taken := errors.New("taken")
	go func() { ended <- c.Builder().Attend(t.Context(), "builder", func(node.Order) error { return taken }) }()
	signs := make(map[*sign]bool)
	eventually(t, "many pulses have come", func() bool {
		signs[c.heard.Load()] = true
		return len(signs) > 30
	})
	p.orders <- node.Order{ID: 1, Kind: node.OrderMode}
	if err := <-ended; !errors.Is(err, taken) {
		t.Errorf("have %v, want that the order came on the same stream", err)
	}
}

func TestPausesComeWhenEveryEndpointWasTriedAndGrowToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(ClientConfig{URLs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"}, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		waits := c.waits()
		var total time.Duration
		for i := range 60 {
			begun := time.Now()
			if !waits.pause(t.Context(), true) {
				t.Fatal("the context has not ended")
			}
			paused := time.Since(begun)
			if (i+1)%3 != 0 && paused != 0 {
				t.Errorf("attempt %d: have a pause of %s, want none before every endpoint was tried", i, paused)
			}
			if (i+1)%3 == 0 && (paused <= 0 || paused > 750*time.Millisecond) { // half a second, and the jitter
				t.Errorf("attempt %d: have a pause of %s, want one up to 750 ms", i, paused)
			}
			total += paused
		}
		if total < 4*time.Second {
			t.Errorf("have %s of pauses in 20 rounds, want that they grow", total)
		}
	})
}

func TestHealthEndsWithSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(ClientConfig{URLs: []string{"http://127.0.0.1:1"}, Stale: 5 * time.Second, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Health(); !errors.Is(err, node.ErrUnreachable) {
			t.Errorf("have %v, want that the pool was not heard of", err)
		}
		c.heard.Store(&sign{at: time.Now(), number: 7})
		silence := time.NewTimer(5 * time.Second)
		<-silence.C
		if err := c.Health(); err != nil {
			t.Errorf("after 5 s: have %v, want that all is well", err)
		}
		silence.Reset(time.Second)
		<-silence.C
		if err := c.Health(); !errors.Is(err, node.ErrUnreachable) {
			t.Errorf("after 6 s: have %v, want that nothing was heard", err)
		}
	})
}
