package txsender

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"pgregory.net/rapid"
)

// scripted is an endpoint that answers as told, after a time, and counts.
type scripted struct {
	answer Answer
	takes  time.Duration // 0: at once; below 0: never
	asked  int
	hints  Hints
}

func (*scripted) Cancellation() Cancellation { return Hard }

func (s *scripted) Send(ctx context.Context, tx *types.Transaction) Answer {
	return s.SendHinted(ctx, tx, Hints{})
}

func (s *scripted) SendHinted(ctx context.Context, _ *types.Transaction, hints Hints) Answer {
	s.asked++
	s.hints = hints
	var done <-chan time.Time
	if s.takes >= 0 {
		done = time.After(s.takes)
	}
	select {
	case <-done:
		return s.answer
	case <-ctx.Done():
		return Answer{Class: Unknown, Text: ctx.Err().Error(), Reach: NoAnswer}
	}
}

// pass lets fake time pass; it is only called in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func over(t *testing.T, health *Health, delay time.Duration, endpoints ...*scripted) *Fallback {
	t.Helper()
	var targets []Target
	for i, endpoint := range endpoints {
		targets = append(targets, Target{fmt.Sprint("node ", i), endpoint})
	}
	f, err := NewFallback(targets, delay, health)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhoIsAskedAndWhatComesOut(t *testing.T) {
	taken := Answer{Class: Accepted}
	known := Answer{Class: AlreadyKnown, Text: "already known"}
	lost := Answer{Class: Unknown, Text: "EOF", Reach: NoAnswer}
	refused := Answer{Class: Unknown, Text: "connection refused", Reach: NotSent}
	odd := Answer{Class: Unknown, Text: "the moon is in the wrong house"}
	low := Answer{Class: Underpriced, Text: "transaction underpriced"}
	full := Answer{Class: PoolFull, Text: "txpool is full"}
	for name, test := range map[string]struct {
		answers []Answer
		want    Answer
		asked   int
	}{
		"the first has it":                         {[]Answer{taken, taken}, taken, 1},
		"the first is away":                        {[]Answer{refused, taken}, taken, 2},
		"the first lost its answer":                {[]Answer{lost, known}, known, 2},
		"the first is odd":                         {[]Answer{odd, taken}, taken, 2},
		"the first has no room":                    {[]Answer{full, taken}, taken, 2},
		"refused for what everyone would refuse":   {[]Answer{low, taken}, low, 1},
		"lost, then refused: it may be mined":      {[]Answer{lost, low}, lost, 2},
		"away, then refused: it cannot be mined":   {[]Answer{refused, low}, low, 2},
		"odd, then refused: it may be mined":       {[]Answer{odd, low, taken}, odd, 2},
		"all away":                                 {[]Answer{refused, refused}, refused, 2},
		"all without room":                         {[]Answer{full, full}, full, 2},
		"away, then without room":                  {[]Answer{refused, full}, full, 2},
		"without room, then lost: it may be mined": {[]Answer{full, lost}, lost, 2},
	} {
		var endpoints []*scripted
		for _, answer := range test.answers {
			endpoints = append(endpoints, &scripted{answer: answer})
		}
		have := Send(t.Context(), over(t, nil, 0, endpoints...), someTx(), Hints{MaxBlock: 7})
		asked := 0
		for _, endpoint := range endpoints {
			asked += endpoint.asked
			if endpoint.asked > 0 && endpoint.hints.MaxBlock != 7 {
				t.Errorf("%s: the hints were lost", name)
			}
		}
		if have != test.want || asked != test.asked {
			t.Errorf("%s: have %+v from %d endpoints, want %+v from %d", name, have, asked, test.want, test.asked)
		}
	}
}

func TestAFallbackOverNothingIsRefused(t *testing.T) {
	if _, err := NewFallback(nil, 0, nil); err == nil {
		t.Error("have no error")
	}
}

func TestTheSecondIsAskedAfterTheDelay(t *testing.T) {
	const delay = 200 * time.Millisecond
	taken := Answer{Class: Accepted}
	for name, test := range map[string]struct {
		takes   []time.Duration // of each endpoint; below 0: never
		elapsed time.Duration
		asked   int
	}{
		"the first is fast":                 {[]time.Duration{delay / 2, 0}, delay / 2, 1},
		"the first is slow":                 {[]time.Duration{10 * delay, delay / 2}, delay * 3 / 2, 2},
		"the first is slow, and still wins": {[]time.Duration{delay * 5 / 4, delay / 2}, delay * 5 / 4, 2},
		"two are silent":                    {[]time.Duration{-1, -1, delay / 2}, delay * 5 / 2, 3},
	} {
		synctest.Test(t, func(t *testing.T) { // no goroutine is left behind, or the bubble would not end
			var endpoints []*scripted
			for _, takes := range test.takes {
				endpoints = append(endpoints, &scripted{answer: taken, takes: takes})
			}
			start := time.Now()
			have := over(t, nil, delay, endpoints...).Send(t.Context(), someTx())
			asked := 0
			for _, endpoint := range endpoints {
				asked += endpoint.asked
			}
			if elapsed := time.Since(start); have != taken || elapsed != test.elapsed || asked != test.asked {
				t.Errorf("%s: have %+v after %v from %d, want accepted after %v from %d", name, have, elapsed, asked, test.elapsed, test.asked)
			}
		})
	}
}

func TestARefusalWaitsForWhoMayStillTakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &scripted{answer: Answer{Class: Accepted}, takes: time.Minute}
		quick := &scripted{answer: Answer{Class: NonceTooLow}}
		never := &scripted{answer: Answer{Class: Accepted}}
		if have := over(t, nil, time.Second, slow, quick, never).Send(t.Context(), someTx()); have.Class != Accepted {
			t.Errorf("have %+v, want the slow one's", have)
		}
		if never.asked > 0 {
			t.Error("a third was asked although everyone would refuse")
		}
	})
}

func TestTheCallersDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		f := over(t, health, 0, &scripted{takes: -1}, &scripted{answer: Answer{Class: Accepted}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if have := f.Send(ctx, someTx()); have.Class != Unknown || have.Reach != NoAnswer {
			t.Errorf("have %+v, want unknown", have)
		}
		if have := health.Endpoints()[0]; have.Failures != 1 {
			t.Errorf("have %+v, want one failure", have)
		}
	})
}

func TestAnEndpointRestsAfterFailuresAndComesBackByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		primary := &scripted{answer: Answer{Class: Unknown, Reach: NoAnswer}}
		backup := &scripted{answer: Answer{Class: Accepted}}
		workers := []*Fallback{over(t, health, 0, primary, backup), over(t, health, 0, primary, backup)} // one health
		send := func(n int) (asked int) {
			before := primary.asked
			for i := range n {
				mustTake(t, workers[i%len(workers)].Send(t.Context(), someTx()))
			}
			return primary.asked - before
		}
		if have := send(10); have != failuresToRest {
			t.Fatalf("a failing endpoint was asked %d times, want %d", have, failuresToRest)
		}
		rest := minRest
		for range 10 { // one request after each rest, which doubles up to its bound
			pass(rest - 1)
			if have := send(4); have != 0 {
				t.Fatalf("rest of %v: asked %d times before its end", rest, have)
			}
			pass(time.Nanosecond)
			if have := send(4); have != 1 {
				t.Fatalf("rest of %v: asked %d times after it, want once", rest, have)
			}
			rest = min(2*rest, maxRest)
		}
		if have := health.Endpoints(); have[0].Healthy || have[0].RestsFor != maxRest || !have[1].Healthy {
			t.Errorf("have %+v", have)
		}
		primary.answer = Answer{Class: Accepted}
		pass(rest)
		if have := send(6); have != 6 {
			t.Errorf("well again: asked %d times, want each time", have)
		}
		if have := health.Endpoints()[0]; !have.Healthy || have.Failures != 0 || have.RestsFor != 0 {
			t.Errorf("have %+v, want well", have)
		}
		primary.answer = Answer{Class: Unknown, Reach: NoAnswer}
		if have := send(10); have != failuresToRest {
			t.Errorf("failing again: asked %d times, want %d: the past is forgotten", have, failuresToRest)
		}
	})
}

func TestTheProbeOfASickEndpointIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		primary := &scripted{answer: Answer{Class: Unknown, Reach: NoAnswer}}
		f := over(t, health, 0, primary, &scripted{answer: Answer{Class: Accepted}})
		for range failuresToRest {
			mustTake(t, f.Send(t.Context(), someTx()))
		}
		pass(minRest)
		primary.takes = -1
		start := time.Now()
		mustTake(t, f.Send(t.Context(), someTx()))
		if have := time.Since(start); have != probeTimeout {
			t.Errorf("the transaction waited %v, want %v", have, probeTimeout)
		}
		if have := health.Endpoints()[0]; have.RestsFor != 2*minRest {
			t.Errorf("have %+v, want a rest of %v", have, 2*minRest)
		}
	})
}

func TestOnlyOneTransactionProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		primary := &scripted{answer: Answer{Class: Unknown, Reach: NoAnswer}}
		f := over(t, health, 0, primary, &scripted{answer: Answer{Class: Accepted}})
		for range failuresToRest {
			mustTake(t, f.Send(t.Context(), someTx()))
		}
		pass(minRest)
		primary.takes = -1
		go f.Send(t.Context(), someTx())
		synctest.Wait() // it probes
		asked := primary.asked
		mustTake(t, f.Send(t.Context(), someTx()))
		if primary.asked != asked {
			t.Error("a second transaction waits for the sick endpoint")
		}
		synctest.Wait()
		pass(probeTimeout)
		synctest.Wait()
	})
}

func TestWhenAllRestTheyAreAskedNevertheless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		first := &scripted{answer: Answer{Class: Unknown, Reach: NotSent}}
		second := &scripted{answer: Answer{Class: Unknown, Reach: NotSent}}
		f := over(t, health, 0, first, second)
		for range failuresToRest {
			f.Send(t.Context(), someTx())
		}
		second.answer = Answer{Class: Accepted}
		mustTake(t, f.Send(t.Context(), someTx()))
	})
}

// With everybody resting, the one whose rest ends first is the best guess.
func TestOfTheRestingTheOneThatReturnsFirstIsAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth()
		for range failuresToRest {
			health.failed("node 1")
		}
		pass(minRest / 2)
		for range failuresToRest {
			health.failed("node 0")
		}
		if have := health.order([]string{"node 0", "node 1"}); !slices.Equal(have, []int{1, 0}) {
			t.Errorf("have order %v, want 1, 0", have)
		}
		if have := health.order([]string{"node 0", "node 1", "node 2"}); !slices.Equal(have, []int{2, 1, 0}) {
			t.Errorf("have order %v, want the one that is well first", have)
		}
	})
}

// Whatever endpoints do: a transaction that may have arrived somewhere is never called refused, one that was taken is called
// so, and the call ends.
func TestWhatMayBeMinedIsNeverCalledRefused(t *testing.T) {
	classes := []Class{Accepted, AlreadyKnown, Unknown, Underpriced, NonceTooLow, PoolFull, Rejected, ConditionNotMet}
	rapid.Check(t, func(rt *rapid.T) {
		var endpoints []*scripted
		for range rapid.IntRange(1, 4).Draw(rt, "endpoints") {
			s := &scripted{
				answer: Answer{Class: rapid.SampledFrom(classes).Draw(rt, "class")},
				takes:  time.Duration(rapid.IntRange(-1, 5).Draw(rt, "takes")) * time.Second,
			}
			if s.answer.Class == Unknown {
				s.answer.Reach = rapid.SampledFrom([]Reach{Answered, NoAnswer, NotSent}).Draw(rt, "reach")
			}
			endpoints = append(endpoints, s)
		}
		delay := time.Duration(rapid.IntRange(0, 2).Draw(rt, "delay")) * time.Second
		sends := rapid.IntRange(1, 6).Draw(rt, "sends")
		wrong := "" // rapid must hear of it outside of the bubble
		synctest.Test(t, func(t *testing.T) {
			f := over(t, NewHealth(), delay, endpoints...)
			for range sends {
				before := make([]int, len(endpoints))
				for i, s := range endpoints {
					before[i] = s.asked
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				have := f.Send(ctx, someTx())
				cancel()
				maybe := func(s *scripted) bool { // asked, and the transaction may have arrived
					return s.takes < 0 || s.answer.Class.Taken() || s.answer.Class == Unknown && s.answer.Reach != NotSent
				}
				asked := slices.DeleteFunc(slices.Clone(endpoints), func(s *scripted) bool { return s.asked == before[slices.Index(endpoints, s)] })
				if len(asked) == 0 {
					wrong = "nobody was asked"
					return
				}
				switch {
				case have.Class.Taken():
					if !slices.ContainsFunc(asked, func(s *scripted) bool { return s.answer == have }) {
						wrong = fmt.Sprintf("have %+v, which nobody answered", have)
					}
				case have.Class == Unknown:
				default:
					if slices.ContainsFunc(asked, maybe) {
						wrong = fmt.Sprintf("have %+v, but it may have arrived", have)
					}
				}
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}
