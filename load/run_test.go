package load

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/holiman/uint256"
)

func startChain(t *testing.T) *devchain.Chain {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.OnDemand})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	return chain
}

func targets(chain *devchain.Chain, versions ...userop.Version) []Target {
	c := chain.Contracts()
	var all []Target
	for _, v := range versions {
		all = append(all, Target{
			EntryPoint: entrypoint.Canonical(v), Factory: c.AccountFactories[v],
			Paymaster: c.Paymasters[v], PaymasterSigner: c.PaymasterSigner,
		})
	}
	return all
}

func config(chain *devchain.Chain, bundlerURL string, versions ...userop.Version) Config {
	return Config{
		BundlerURL: bundlerURL, NodeURL: chain.HTTPURL(), Targets: targets(chain, versions...),
		Ops: 3 * len(versions), Accounts: len(versions), FundingKey: chain.Keys()[0],
		PollInterval: 5 * time.Millisecond,
	}
}

// Every version's accounts are made, sign, are sponsored and move money on the real contracts.
func TestOperationsOfEveryVersionAreMined(t *testing.T) {
	t.Parallel()
	chain := startChain(t)
	_, url := startBundler(t, chain)
	cfg := config(chain, url, userop.Versions()...)
	cfg.Multicall3 = chain.Contracts().Multicall3
	cfg.Accounts, cfg.Ops, cfg.SponsoredPercent = 8, 30, 50
	cfg.OwnerSeed = "every version"
	var last Progress
	var stages []Stage
	cfg.Progress = func(p Progress) {
		last = p
		if !slices.Contains(stages, p.Stage) {
			stages = append(stages, p.Stage)
		}
	}
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK(cfg.Ops) {
		t.Fatalf("have %+v %v, want all of %d operations included", report.Totals, report.Failures, cfg.Ops)
	}
	if want := (Totals{Accepted: 30, Included: 30, Bundles: 30}); report.Totals != want {
		t.Errorf("totals: have %+v, want %+v", report.Totals, want)
	}
	for i, want := range []int{8, 8, 7, 7} {
		e := &report.EntryPoints[i]
		if e.Version != userop.Versions()[i] || e.Included != want || e.OpsPerBundle != 1 {
			t.Errorf("have %+v, want %d operations of v%s", e, want, userop.Versions()[i])
		}
		if e.GasPerOp < 80_000 || e.GasPerOp > 500_000 || e.Profit.IsUint64() && e.Profit.Uint64() == 0 {
			t.Errorf("v%s: have %d gas per operation and a profit of %s, want plausible ones", e.Version, e.GasPerOp, e.Profit.String())
		}
	}
	if want := []Stage{Preparing, Funding, Sending, Settling}; !slices.Equal(stages, want) {
		t.Errorf("stages: have %v, want %v", stages, want)
	}
	if want := (Progress{Settling, 30, 30, 30, 0}); last != want {
		t.Errorf("progress ends with %+v, want %+v", last, want)
	}

	// The same accounts go on from where they are: deployed, with their nonces.
	cfg.Progress, cfg.FundPerAccount, cfg.SponsoredPercent = nil, new(uint256.Int), 0
	if report, err = Run(t.Context(), cfg); err != nil || !report.OK(cfg.Ops) {
		t.Fatalf("again: have %+v, %v, want all included", report, err)
	}
}

func TestSponsoredAccountsNeedNoMoney(t *testing.T) {
	t.Parallel()
	chain := startChain(t)
	_, url := startBundler(t, chain)
	cfg := config(chain, url, userop.Versions()...)
	cfg.SponsoredPercent, cfg.FundPerAccount = 100, uint256.NewInt(3) // the wei they transfer
	report, err := Run(t.Context(), cfg)
	if err != nil || !report.OK(cfg.Ops) {
		t.Fatalf("have %+v, %v, want all included", report, err)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	t.Parallel()
	chain := startChain(t)
	for _, c := range []struct {
		name   string
		change func(*Config, *plainBundler)
		want   Totals
		reason string
	}{
		{
			"a refusal costs one operation",
			func(_ *Config, b *plainBundler) {
				b.verdict = refuseFirst(1, rejection.New(rejection.EntryPointRejected, "AA23 reverted"))
			},
			Totals{Accepted: 2, Included: 2, Failed: 1, Bundles: 2},
			"AA23 reverted",
		},
		{
			"throttled is only for now",
			func(_ *Config, b *plainBundler) {
				b.verdict = refuseFirst(2, rejection.New(rejection.Throttled, "throttled"))
			},
			Totals{Accepted: 3, Included: 3, Bundles: 3},
			"",
		},
		{
			"a call that reverts is included and failed",
			func(c *Config, _ *plainBundler) { // 1 wei short of the three transfers
				c.SponsoredPercent, c.FundPerAccount = 100, uint256.NewInt(2)
			},
			Totals{Accepted: 3, Included: 3, Failed: 1, Bundles: 3},
			"mined, but reverted",
		},
		{
			"a bundler that lies",
			func(_ *Config, b *plainBundler) { b.lie = true },
			Totals{Accepted: 3, Included: 0, Failed: 3, Bundles: 0},
			"the node does not have it",
		},
		{
			"not mined in time",
			func(c *Config, b *plainBundler) {
				c.IncludeTimeout = 3 * time.Second
				b.verdict = func(count int, _ *userop.UserOperation) error {
					if count == 2 {
						b.chain.SetAutoMine(false)
					}
					return nil
				}
			},
			Totals{Accepted: 2, Included: 1, Failed: 2, Bundles: 1},
			"not mined in time",
		},
	} {
		t.Run(c.name, func(t *testing.T) { //nolint:paralleltest // they share a chain, which the last one stops
			b, url := startBundler(t, chain)
			nonce, err := ethclient.NewClient(chain.Client()).PendingNonceAt(t.Context(), beneficiary(chain))
			if err != nil {
				t.Fatal(err)
			}
			b.nonce = nonce
			cfg := config(chain, url, userop.V07)
			c.change(&cfg, b)
			report, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if report.Totals != c.want {
				t.Errorf("have %+v, want %+v (%v)", report.Totals, c.want, report.Failures)
			}
			if got := joinReasons(report); !strings.Contains(got, c.reason) || (c.reason == "") != (got == "") {
				t.Errorf("reasons: have %q, want one with %q", got, c.reason)
			}
			if report.OK(cfg.Ops) != (c.want.Failed == 0) {
				t.Errorf("OK: have %v", report.OK(cfg.Ops))
			}
		})
	}
}

func joinReasons(r *Report) string {
	var all []string
	for _, f := range r.Failures {
		all = append(all, f.Reason)
	}
	return strings.Join(all, "\n")
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	chain := startChain(t)
	_, url := startBundler(t, chain)
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no bundler", func(c *Config) { c.BundlerURL = "" }, "no bundler URL"},
		{"too few accounts", func(c *Config) { c.Accounts = 0 }, "accounts: have 0, want at least one for each of the 1 EntryPoints"},
		{"too few operations", func(c *Config) { c.Ops = 0 }, "ops: have 0, want at least one"},
		{"share over the whole", func(c *Config) { c.SponsoredPercent = 101 }, "sponsored percent: have 101, want 0 to 100"},
		{"no factory", func(c *Config) { c.Targets[0].Factory = common.Address{} }, "EntryPoint v0.7: no account factory"},
		{"no paymaster key", func(c *Config) { c.Targets[0].PaymasterSigner = nil }, "a paymaster without its signer's key"},
		{"an EntryPoint the bundler lacks", func(c *Config) { c.Targets[0].EntryPoint.Address = common.Address{1} }, "is not supported"},
		{"a factory that is none", func(c *Config) { c.Targets[0].Factory = common.Address{1} }, "have an answer of 0 bytes, want 32"},
		{"no money", func(c *Config) { c.FundPerAccount = new(uint256.Int).Lsh(uint256.NewInt(1), 200) }, "insufficient funds"},
		{"a node that is not there", func(c *Config) { c.NodeURL = "http://127.0.0.1:1" }, "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(chain, url, userop.V07)
			c.change(&cfg)
			if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have error %v, want one with %q", err, c.want)
			}
		})
	}
	cfg := config(chain, url, userop.V07)
	cfg.Ops = 0
	if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrConfig) {
		t.Errorf("have %v, want %v", err, ErrConfig)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	chain := startChain(t)
	b, url := startBundler(t, chain)
	b.verdict = func(int, *userop.UserOperation) error { // accepted, and never mined
		chain.SetAutoMine(false)
		return nil
	}
	cfg := config(chain, url, userop.V07)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(p Progress) {
		if p.Accepted > 0 {
			cancel()
		}
	}
	if report, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("have %+v, %v, want %v", report, err, context.Canceled)
	}
}

func TestPacerSpacesEvenly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 4}
		begin := time.Now()
		var accounts sync.WaitGroup
		for range 3 {
			accounts.Go(func() {
				for range 3 {
					if err := p.wait(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		accounts.Wait()
		if got, want := time.Since(begin), 2*time.Second; got != want { // the first of nine waits for nothing
			t.Errorf("nine operations at four per second: have %v, want %v", got, want)
		}
	})
}

func TestFeesAreReadOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		cache := feeCache{read: func(context.Context) (fees, error) {
			reads++
			return fees{maxFee: *uint256.NewInt(uint64(reads))}, nil
		}}
		for _, want := range []uint64{1, 1, 2} {
			got, err := cache.get(t.Context())
			if err != nil || got.maxFee.Uint64() != want {
				t.Errorf("have %v, %v, want the fees of read %d", got.maxFee, err, want)
			}
			if err := pause(t.Context(), feesLast/2); err != nil { // on the clock of the bubble
				t.Fatal(err)
			}
		}
	})
}
