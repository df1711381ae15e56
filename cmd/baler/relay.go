package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"baler/node"
	"baler/txsender"
)

// relaySettings say how transactions are submitted.
type relaySettings struct {
	TxSenderKind          string   `help:"raw: eth_sendRawTransaction; conditional: eth_sendRawTransactionConditional; flashbots, bloxroute; private: another endpoint." enum:"raw,conditional,flashbots,bloxroute,private" default:"raw"`
	TxSenderURL           []string `help:"Endpoints to submit to instead of the node; the further ones are asked when one fails." name:"tx-sender-url" placeholder:"URL" secret:""`
	TxSenderHedgeMillis   uint64   `help:"Ask the next endpoint too when one has not answered for so long, in milliseconds; 0: only when it fails." default:"0"`
	TxSenderAuthorization string   `help:"Authorization header of bloXroute or of a private endpoint. Better given as BALER_TX_SENDER_AUTHORIZATION." placeholder:"VALUE" secret:""`
	TxSenderPrivateMethod string   `help:"Method of a private endpoint: eth_sendPrivateRawTransaction or eth_sendRawTransaction." placeholder:"METHOD"`
	FlashbotsAuthKey      string   `help:"Key that signs requests to Flashbots; it holds no funds. Better given as BALER_FLASHBOTS_AUTH_KEY." placeholder:"KEY" secret:""`
	FlashbotsBuilders     []string `help:"Builders that may include our transactions. Default: the relay's." placeholder:"NAME"`
	FlashbotsFast         bool     `help:"Share transactions with all registered builders."`
	FlashbotsStatusURL    string   `help:"Prefix of the status API. Default: the public one." name:"flashbots-status-url" placeholder:"URL" secret:""`
	RacedTxSenderKind     string   `help:"Where bundles go whose operations rivals have been seen to take, in bundles of their own: none: the usual way; conditional, flashbots, bloxroute, private: as in tx_sender_kind, with its other settings." enum:"none,conditional,flashbots,bloxroute,private" default:"none"`
	RacedTxSenderURL      []string `help:"Endpoints for them; as tx_sender_url." name:"raced-tx-sender-url" placeholder:"URL" secret:""`
	ConditionalMaxSlots   int      `help:"Most storage conditions of a conditional transaction; 0: the default." default:"0"`
}

// private reports whether transactions of a kind go to a relay instead of the public mempool.
func private(kind txsender.Kind) bool {
	switch kind {
	case txsender.KindFlashbots, txsender.KindBloxroute, txsender.KindPrivate:
		return true
	case txsender.KindRaw, txsender.KindConditional:
		return false
	default:
		return false
	}
}

// relays are the ways by which transactions are submitted.
type relays struct {
	usual, raced               txsender.Sender // raced is nil if raced operations go the usual way
	usualPrivate, racedPrivate bool
}

// in completes the pipeline's configuration.
func (r relays) in(config node.Config) node.Config {
	config.PrivateRelay, config.Raced, config.RacedPrivate = r.usualPrivate, r.raced, r.racedPrivate
	return config
}

// noRacedSender is the kind of sender for raced operations that there is not.
const noRacedSender = "none"

// senders makes the transaction senders that the settings describe.
func (s relaySettings) senders(chainID uint64, client txsender.Caller, log *slog.Logger) (relays, error) {
	health := txsender.NewHealth()
	config := s.config(txsender.Kind(s.TxSenderKind), s.TxSenderURL, chainID, client, health, log)
	usual, err := newSender(config)
	if err != nil {
		return relays{}, err
	}
	out := relays{usual: usual, usualPrivate: private(config.Kind)}
	if s.RacedTxSenderKind == noRacedSender {
		return out, nil
	}
	config = s.config(txsender.Kind(s.RacedTxSenderKind), s.RacedTxSenderURL, chainID, client, health, log)
	if out.raced, err = newSender(config); err != nil {
		return relays{}, fmt.Errorf("--raced_tx_sender_kind %s: %w", s.RacedTxSenderKind, err)
	}
	out.racedPrivate = private(config.Kind)
	return out, nil
}

func (s relaySettings) config(kind txsender.Kind, urls []string, chainID uint64, client txsender.Caller, health *txsender.Health, log *slog.Logger) txsender.Config {
	config := txsender.Config{
		Kind: kind, ChainID: chainID, Node: client,
		HedgeDelay:    time.Duration(s.TxSenderHedgeMillis) * time.Millisecond,
		Authorization: txsender.Secret(s.TxSenderAuthorization), PrivateMethod: s.TxSenderPrivateMethod,
		FlashbotsAuthKey: txsender.Secret(s.FlashbotsAuthKey), FlashbotsBuilders: s.FlashbotsBuilders, FlashbotsFast: s.FlashbotsFast,
		FlashbotsStatusURL: txsender.Secret(s.FlashbotsStatusURL), MaxKnownSlots: s.ConditionalMaxSlots,
		Health: health, Log: log,
	}
	for _, url := range urls {
		config.URLs = append(config.URLs, txsender.Secret(url))
	}
	return config
}

func newSender(config txsender.Config) (txsender.Sender, error) {
	sender, err := txsender.New(config)
	if errors.Is(err, txsender.ErrSetting) {
		return nil, settingsError{err}
	}
	return sender, err
}
