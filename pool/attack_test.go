package pool

import (
	"testing"

	"baler/erc7562"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// TestThrottlingGames: whatever a staked paymaster does with its operations, those that are admitted and never included
// are at most MIN_INCLUSION_RATE_DENOMINATOR for each that is, and BAN_SLACK times as many beside.
func TestThrottlingGames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGame()
		t.Repeat(map[string]func(*rapid.T){
			"offer":      func(t *rapid.T) { g.offer(rapid.IntRange(1, 40).Draw(t, "operations")) },
			"include":    func(t *rapid.T) { g.include(rapid.IntRange(1, 10).Draw(t, "operations")) },
			"invalidate": func(*rapid.T) { g.invalidate() },
			"block":      func(*rapid.T) { g.block() },
			"": func(t *rapid.T) {
				cfg := &g.pool.config
				most := cfg.MinInclusionRateDenominator*(g.included+cfg.BanSlack) + cfg.MinInclusionRateDenominator
				if wasted := g.admitted - g.included; wasted > most {
					t.Fatalf("have %d operations admitted and not included beside %d included, want at most %d", wasted, g.included, most)
				}
				check(t, g.pool)
			},
		})
	})
}

// TestWhatAPaymasterCanWasteInADay prints what docs/benchmarks.md says of it: each admitted operation that is never included
// costs a validation or two.
func TestWhatAPaymasterCanWasteInADay(t *testing.T) {
	for name, play := range map[string]func(*game){
		"never includes one":               func(g *game) { g.invalidate() },
		"includes one in eleven":           func(g *game) { g.include(g.pool.Len() / 11); g.invalidate() },
		"includes every tenth, is patient": func(g *game) { g.include(g.pool.Len() / 10); g.block(); g.invalidate() },
	} {
		g := newGame()
		var first uint64
		for hour := range 24 {
			for range 300 { // blocks
				g.offer(1000)
				play(g)
				g.block()
			}
			if hour == 0 {
				first = g.admitted - g.included
			}
			g.pool.Decay(1)
		}
		wasted := g.admitted - g.included
		t.Logf("a paymaster that %s: %d admitted in a day, %d included, %d wasted, of them %d in the first hour", name, g.admitted, g.included, wasted, first)
		perHour := g.pool.config.BanSlack*g.pool.config.MinInclusionRateDenominator/24 + 2
		if most := 510 + 23*perHour + 11*g.included; wasted > most {
			t.Errorf("%s: have %d wasted, want at most %d", name, wasted, most)
		}
	}
}

// game is a staked paymaster with as many accounts as it likes.
type game struct {
	pool               *Pool
	number, account    uint64
	admitted, included uint64
}

func newGame() *game {
	g := &game{pool: New(DefaultConfig()), number: 1000}
	g.pool.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1 << 60))
	g.block()
	return g
}

// offer sends operations of fresh accounts until one is refused.
func (g *game) offer(n int) {
	for range n {
		g.account++
		op := operation(g.account, paidBy(1, 1), staked(Staked{Paymaster: true}), func(op *Operation) { op.AddedBlock = g.number })
		g.pool.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1 << 60))
		if _, err := g.pool.Add(op); err != nil {
			return
		}
		g.admitted++
	}
}

// include lets so many of the pending operations be mined.
func (g *game) include(n int) {
	for _, op := range g.pool.Dump(ep07.Address) {
		if n--; n < 0 {
			return
		}
		g.pool.Mined(Inclusion{ep07.Address, op.Op.Sender, op.Op.Nonce, op.Hash, g.number})
		g.included++
	}
}

// invalidate makes all that wait fail, as far as a bundle looks at them.
func (g *game) invalidate() {
	q := Query{Builder: "x", EntryPoint: ep07.Address, BaseFee: *uint256.NewInt(10), MaxOps: 1000}
	for _, op := range g.pool.Candidates(q) {
		_, _ = g.pool.Remove(op.Hash, ValidationFailed, erc7562.Paymaster)
	}
}

func (g *game) block() {
	g.number++
	g.pool.Head(Head{Number: g.number, Timestamp: g.number * 12, BaseFee: *uint256.NewInt(10)})
}
