package load

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Config is a run of the load client.
type Config struct {
	BundlerURL string // HTTP or WebSocket
	NodeURL    string

	Targets  []Target
	Ops      int // operations in all, spread evenly over the targets' accounts
	Accounts int // accounts in all, spread evenly over the targets; at least one per target

	// OwnerSeed makes the accounts' owner keys, and so their addresses: the same seed finds the same accounts again.
	// Empty: new accounts.
	OwnerSeed string

	FundingKey     *ecdsa.PrivateKey // pays for the accounts
	FundPerAccount *uint256.Int      // wei; nil: enough for the account's operations at three times today's fees
	Multicall3     common.Address    // funds all accounts in one transaction; zero: one transfer each

	SponsoredPercent int // share of the operations a paymaster pays for, where there is one; 0 to 100

	Concurrency int     // accounts at work at once; 0: all
	Rate        float64 // operations sent per second; 0: as fast as the accounts allow

	RequestTimeout time.Duration // of one JSON-RPC request; default 30 s
	IncludeTimeout time.Duration // from acceptance to inclusion, and for a bundler that says "later"; default 2 min
	PollInterval   time.Duration // between looks for receipts; default 200 ms

	// Progress is told whenever a number changes; calls never overlap, and must be quick. May be nil.
	Progress func(Progress)
}

// Target is an EntryPoint to send operations to.
type Target struct {
	EntryPoint entrypoint.EntryPoint
	Factory    common.Address // a SimpleAccountFactory for the EntryPoint

	Paymaster       common.Address    // a VerifyingPaymaster for the EntryPoint; zero: no operation is sponsored
	PaymasterSigner *ecdsa.PrivateKey // its verifying signer
}

// Stage is what a run is doing.
type Stage string

// The stages of a run, in order.
const (
	Preparing Stage = "preparing" // addresses, nonces
	Funding   Stage = "funding"
	Sending   Stage = "sending"
	Settling  Stage = "settling" // looking the bundles up at the node
)

// Progress is how far a run is.
type Progress struct {
	Stage    Stage
	Ops      int // to send in all
	Accepted int
	Included int
	Failed   int
}

func (c Config) withDefaults() Config {
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.IncludeTimeout == 0 {
		c.IncludeTimeout = 2 * time.Minute
	}
	if c.PollInterval == 0 {
		c.PollInterval = 200 * time.Millisecond
	}
	if c.Concurrency == 0 {
		c.Concurrency = c.Accounts
	}
	return c
}

// ErrConfig is wrapped by the errors of wrong or missing settings.
var ErrConfig = errors.New("load settings")

func (c Config) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, args...))
	}
	switch {
	case c.BundlerURL == "":
		return bad("no bundler URL")
	case c.NodeURL == "":
		return bad("no node URL")
	case len(c.Targets) == 0:
		return bad("no EntryPoint")
	case c.FundingKey == nil:
		return bad("no funding key")
	case c.Accounts < len(c.Targets):
		return bad("accounts: have %d, want at least one for each of the %d EntryPoints", c.Accounts, len(c.Targets))
	case c.Ops < c.Accounts:
		return bad("ops: have %d, want at least one for each of the %d accounts", c.Ops, c.Accounts)
	case c.SponsoredPercent < 0 || c.SponsoredPercent > 100:
		return bad("sponsored percent: have %d, want 0 to 100", c.SponsoredPercent)
	case c.Rate < 0:
		return bad("rate: have %v, want operations per second, or 0 for no limit", c.Rate)
	}
	for _, t := range c.Targets {
		if t.Factory == (common.Address{}) {
			return bad("EntryPoint v%s: no account factory", t.EntryPoint.Version)
		}
		if t.Paymaster != (common.Address{}) && t.PaymasterSigner == nil {
			return bad("EntryPoint v%s: a paymaster without its signer's key", t.EntryPoint.Version)
		}
	}
	return nil
}
