package main

import (
	"errors"
	"log/slog"
	"time"

	"baler/txsender"
)

// relaySettings say how transactions are submitted.
type relaySettings struct {
	TxSenderKind          string   `help:"raw: eth_sendRawTransaction; conditional: eth_sendRawTransactionConditional; flashbots, bloxroute; private: another endpoint." enum:"raw,conditional,flashbots,bloxroute,private" default:"raw"`
	TxSenderURL           []string `help:"Endpoints to submit to instead of the node; the further ones are asked when one fails." name:"tx-sender-url" placeholder:"URL"`
	TxSenderHedgeMillis   uint64   `help:"Ask the next endpoint too when one has not answered for so long, in milliseconds; 0: only when it fails." default:"0"`
	TxSenderAuthorization string   `help:"Authorization header of bloXroute or of a private endpoint. Better given as BALER_TX_SENDER_AUTHORIZATION." placeholder:"VALUE"`
	TxSenderPrivateMethod string   `help:"Method of a private endpoint: eth_sendPrivateRawTransaction or eth_sendRawTransaction." placeholder:"METHOD"`
	FlashbotsAuthKey      string   `help:"Key that signs requests to Flashbots; it holds no funds. Better given as BALER_FLASHBOTS_AUTH_KEY." placeholder:"KEY"`
	FlashbotsBuilders     []string `help:"Builders that may include our transactions. Default: the relay's." placeholder:"NAME"`
	FlashbotsFast         bool     `help:"Share transactions with all registered builders."`
	FlashbotsStatusURL    string   `help:"Prefix of the status API. Default: the public one." name:"flashbots-status-url" placeholder:"URL"`
	ConditionalMaxSlots   int      `help:"Most storage conditions of a conditional transaction; 0: the default." default:"0"`
}

// private reports whether transactions go to a relay instead of the public mempool.
func (s relaySettings) private() bool {
	switch txsender.Kind(s.TxSenderKind) {
	case txsender.KindFlashbots, txsender.KindBloxroute, txsender.KindPrivate:
		return true
	case txsender.KindRaw, txsender.KindConditional:
		return false
	default:
		return false
	}
}

// sender makes the transaction sender that the settings describe.
func (s relaySettings) sender(chainID uint64, node txsender.Caller, log *slog.Logger) (txsender.Sender, error) {
	config := txsender.Config{
		Kind: txsender.Kind(s.TxSenderKind), ChainID: chainID, Node: node,
		HedgeDelay:    time.Duration(s.TxSenderHedgeMillis) * time.Millisecond,
		Authorization: txsender.Secret(s.TxSenderAuthorization), PrivateMethod: s.TxSenderPrivateMethod,
		FlashbotsAuthKey: txsender.Secret(s.FlashbotsAuthKey), FlashbotsBuilders: s.FlashbotsBuilders, FlashbotsFast: s.FlashbotsFast,
		FlashbotsStatusURL: txsender.Secret(s.FlashbotsStatusURL), MaxKnownSlots: s.ConditionalMaxSlots,
		Health: txsender.NewHealth(), Log: log,
	}
	for _, url := range s.TxSenderURL {
		config.URLs = append(config.URLs, txsender.Secret(url))
	}
	sender, err := txsender.New(config)
	if errors.Is(err, txsender.ErrSetting) {
		return nil, settingsError{err}
	}
	return sender, err
}
