package txsender

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// Kind is a kind of transaction sender.
type Kind string

// The kinds of transaction senders.
const (
	KindRaw         Kind = "raw"
	KindConditional Kind = "conditional"
	KindFlashbots   Kind = "flashbots"
	KindBloxroute   Kind = "bloxroute"
	KindPrivate     Kind = "private"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{KindRaw, KindConditional, KindFlashbots, KindBloxroute, KindPrivate}
}

// Secret is a text that never shows itself: a key, a header, a URL with an API key in its path.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[hidden]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// The names of the settings, as errors name them and as flags spell them.
const (
	SettingKind          = "tx_sender_kind"
	SettingURLs          = "tx_sender_url"
	SettingAuthorization = "tx_sender_authorization"
	SettingMethod        = "tx_sender_private_method"
	SettingAuthKey       = "flashbots_auth_key"
	SettingStatusURL     = "flashbots_status_url"
	SettingBuilders      = "flashbots_builders"
	SettingMaxSlots      = "conditional_max_slots"
	SettingHedge         = "tx_sender_hedge_delay"
)

// Config chooses and describes a transaction sender.
type Config struct {
	Kind    Kind   // empty: raw
	ChainID uint64 // of the chain that Node is on
	Node    Caller // the public node

	// URLs are HTTP endpoints to submit to. raw: instead of Node, the further ones as fallback (none: Node). conditional: one
	// that knows eth_sendRawTransactionConditional (none: Node). flashbots, bloxroute: another relay than the public one.
	// private: required, the further ones as fallback.
	URLs []Secret
	// HedgeDelay above 0 asks the next URL when one has not answered for so long; 0 asks it only when one fails.
	HedgeDelay time.Duration
	// Authorization is the value of that header. bloxroute: required. private: as the endpoint asks for it.
	Authorization Secret
	// PrivateMethod is eth_sendPrivateRawTransaction (empty too) or eth_sendRawTransaction.
	PrivateMethod string

	// FlashbotsAuthKey signs requests to the relay, 32 bytes in hex. It holds no funds and must stay the same over restarts: only
	// it can cancel what it sent.
	FlashbotsAuthKey Secret
	// FlashbotsBuilders may include the transaction; none: the relay's default.
	FlashbotsBuilders []string
	// FlashbotsFast shares the transaction with all registered builders.
	FlashbotsFast bool
	// FlashbotsStatusURL is the prefix of the status API; empty: the public one.
	FlashbotsStatusURL Secret

	// MaxKnownSlots limits the storage conditions of a conditional transaction; 0: DefaultMaxKnownSlots.
	MaxKnownSlots int

	Timeout time.Duration // of one request; 0: DefaultTimeout
	Health  *Health       // shared by all senders; nil: a new one
	Log     *slog.Logger  // hears of answers that the table does not know; nil: nobody does
}

// ErrSetting is wrapped by every complaint about a Config.
var ErrSetting = errors.New("transaction sender setting")

// SettingError names the setting that is wrong. It never holds a secret.
type SettingError struct {
	Setting string // one of the Setting constants
	Have    string
	Want    string
}

// Error implements error.
func (e *SettingError) Error() string {
	return fmt.Sprintf("%v %s: have %s, want %s", ErrSetting, e.Setting, e.Have, e.Want)
}

// Is makes errors.Is(err, ErrSetting) hold.
func (*SettingError) Is(target error) bool { return target == ErrSetting }

// New returns the sender that the config describes. It contacts nobody. A sender that keeps connections is an io.Closer.
func New(config Config) (Sender, error) {
	if config.Node == nil {
		return nil, errors.New("transaction sender: have no node, want one")
	}
	if config.HedgeDelay < 0 {
		return nil, &SettingError{SettingHedge, config.HedgeDelay.String(), "0 or more"}
	}
	if config.MaxKnownSlots < 0 {
		return nil, &SettingError{SettingMaxSlots, fmt.Sprint(config.MaxKnownSlots), "0 or more"}
	}
	odd := newOddities(config.Log)
	plain := &Raw{node: config.Node, method: sendRawTransaction, origin: "node", odd: odd}
	switch config.Kind {
	case "", KindRaw:
		if len(config.URLs) == 0 {
			return plain, nil
		}
		return config.several(sendRawTransaction, odd)
	case KindConditional:
		return config.conditional(plain, odd)
	case KindFlashbots:
		return config.flashbots(odd)
	case KindBloxroute:
		return config.bloxroute(plain, odd)
	case KindPrivate:
		return config.private(odd)
	default:
		return nil, &SettingError{SettingKind, fmt.Sprintf("%q", string(config.Kind)), "one of " + kindNames()}
	}
}

func kindNames() string {
	var names []string
	for _, kind := range Kinds() {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

// several is a sender over all URLs, each asked with the same method.
func (c Config) several(method string, odd *oddities) (Sender, error) {
	var targets []Target
	for _, rawURL := range c.URLs {
		e, err := newEndpoint(SettingURLs, rawURL, c.Timeout)
		if err != nil {
			return nil, err
		}
		if c.Authorization != "" {
			e.authorize("Authorization", c.Authorization)
		}
		name := e.origin
		for n := 2; slices.ContainsFunc(targets, func(t Target) bool { return t.Name == name }); n++ {
			name = fmt.Sprintf("%s#%d", e.origin, n) // two API keys at one host are two endpoints
		}
		targets = append(targets, Target{name, &overHTTP{Raw{node: e, method: method, origin: name, odd: odd}, e}})
	}
	return NewFallback(targets, c.HedgeDelay, c.Health)
}

// overHTTP is a Raw with connections of its own.
type overHTTP struct {
	Raw
	endpoint *endpoint
}

// Close implements io.Closer.
func (o *overHTTP) Close() error { return o.endpoint.Close() }

// one returns the only URL, or the default if there is none.
func (c Config) one(preset Secret) (Secret, error) {
	switch len(c.URLs) {
	case 0:
		return preset, nil
	case 1:
		return c.URLs[0], nil
	default:
		return "", &SettingError{SettingURLs, fmt.Sprintf("%d URLs", len(c.URLs)), fmt.Sprintf("at most one with kind %s", c.Kind)}
	}
}

func (c Config) conditional(plain *Raw, odd *oddities) (Sender, error) {
	out := &Conditional{
		endpoint: c.Node, origin: plain.origin, plain: plain, maxSlots: c.MaxKnownSlots, noBlocks: countsParentBlocks(c.ChainID), odd: odd,
	}
	if out.maxSlots == 0 {
		out.maxSlots = DefaultMaxKnownSlots
	}
	rawURL, err := c.one("")
	if err != nil {
		return nil, err
	}
	if rawURL == "" {
		return out, nil
	}
	e, err := newEndpoint(SettingURLs, rawURL, c.Timeout)
	if err != nil {
		return nil, err
	}
	if c.Authorization != "" {
		e.authorize("Authorization", c.Authorization)
	}
	out.endpoint, out.origin = e, e.origin
	return &conditionalOverHTTP{out, e}, nil
}

// conditionalOverHTTP is a Conditional with connections of its own.
type conditionalOverHTTP struct {
	*Conditional
	own *endpoint
}

// Close implements io.Closer.
func (c *conditionalOverHTTP) Close() error { return c.own.Close() }

func (c Config) flashbots(odd *oddities) (Sender, error) {
	relayURL, statusURL, served := flashbotsURLs(c.ChainID)
	if !served {
		return nil, &SettingError{SettingKind, fmt.Sprintf("flashbots on chain %d", c.ChainID), "chain 1 (Ethereum) or 11155111 (Sepolia)"}
	}
	relayURL, err := c.one(relayURL)
	if err != nil {
		return nil, err
	}
	if c.FlashbotsStatusURL != "" {
		statusURL = c.FlashbotsStatusURL
	}
	if slices.Contains(c.FlashbotsBuilders, "") {
		return nil, &SettingError{SettingBuilders, "an empty name", "names of builders"}
	}
	key, err := crypto.HexToECDSA(strings.TrimPrefix(string(c.FlashbotsAuthKey), "0x"))
	if err != nil { // the cause may show a part of the key
		return nil, &SettingError{SettingAuthKey, "no readable key", "a private key of 32 bytes in hex"}
	}
	relay, err := newEndpoint(SettingURLs, relayURL, c.Timeout)
	if err != nil {
		return nil, err
	}
	status, err := newEndpoint(SettingStatusURL, statusURL, c.Timeout)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(status.url, "/") {
		status.url += "/"
	}
	return &Flashbots{relay: relay, status: status, key: key, wishes: wishesFor(c.FlashbotsFast, c.FlashbotsBuilders), odd: odd}, nil
}

func (c Config) bloxroute(plain *Raw, odd *oddities) (Sender, error) {
	if c.ChainID != polygon {
		return nil, &SettingError{SettingKind, fmt.Sprintf("bloxroute on chain %d", c.ChainID), "chain 137 (Polygon)"}
	}
	if c.Authorization == "" {
		return nil, &SettingError{SettingAuthorization, "none", "the Authorization header of the bloXroute account"}
	}
	relayURL, err := c.one(bloxrouteURL)
	if err != nil {
		return nil, err
	}
	relay, err := newEndpoint(SettingURLs, relayURL, c.Timeout)
	if err != nil {
		return nil, err
	}
	relay.authorize("Authorization", c.Authorization)
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(c.ChainID))
	return &Bloxroute{relay: relay, public: plain, signer: signer, odd: odd}, nil
}

func (c Config) private(odd *oddities) (Sender, error) {
	if len(c.URLs) == 0 {
		return nil, &SettingError{SettingURLs, "none", "the URL of a private RPC with kind private"}
	}
	method := c.PrivateMethod
	switch method {
	case "":
		method = "eth_sendPrivateRawTransaction"
	case "eth_sendPrivateRawTransaction", sendRawTransaction:
	default:
		return nil, &SettingError{SettingMethod, fmt.Sprintf("%q", method), "eth_sendPrivateRawTransaction or eth_sendRawTransaction"}
	}
	return c.several(method, odd)
}
