package txsender

import (
	_ "embed" // the table of node answers
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// Class is what a node's answer to a submitted transaction means.
type Class string

// The classes of answers. An answer that no row of the table matches is Unknown: the transaction may have been taken,
// so it stays tracked.
const (
	Accepted               Class = "accepted"
	AlreadyKnown           Class = "already-known" // the node has exactly this transaction: as good as accepted
	ReplacementUnderpriced Class = "replacement-underpriced"
	Underpriced            Class = "underpriced"
	BelowBaseFee           Class = "below-base-fee"
	NonceTooLow            Class = "nonce-too-low"
	NonceTooHigh           Class = "nonce-too-high"
	InsufficientFunds      Class = "insufficient-funds"
	PoolFull               Class = "pool-full"
	FeeCapExceeded         Class = "fee-cap-exceeded" // the node's own limit on the total fee of one transaction
	GasLimitTooHigh        Class = "gas-limit-too-high"
	IntrinsicGasTooLow     Class = "intrinsic-gas-too-low"
	ConditionNotMet        Class = "condition-not-met"
	Rejected               Class = "rejected"
	Unknown                Class = "unknown"
)

// Reach says how far a request came. It matters where the class is Unknown.
type Reach uint8

// How far a request came.
const (
	Answered Reach = iota // the endpoint answered in its protocol
	NoAnswer              // it may have arrived: timeout, connection lost, an HTTP status instead of an answer
	NotSent               // it surely did not arrive: no connection was made
)

// Answer is a classified answer. Text is the node's own (shortened, without credentials), for the log.
type Answer struct {
	Class Class
	Text  string
	Reach Reach
}

// Row is one line of the table of node answers.
type Row struct {
	Client string `toml:"client"`
	Code   int    `toml:"code"`
	Phrase string `toml:"phrase"`
	Class  Class  `toml:"class"`
	Source string `toml:"source"`
}

//go:embed answers.toml
var answersTOML string

// Table returns the known answers in the order they are tried. It is parsed once.
var Table = sync.OnceValue(func() []Row {
	rows, err := parseTable(answersTOML)
	if err != nil {
		panic(err) // the file is compiled in; a test reads it
	}
	return rows
})

func parseTable(text string) ([]Row, error) {
	var file struct {
		Answer []Row `toml:"answer"`
	}
	meta, err := toml.Decode(text, &file)
	if err != nil {
		return nil, fmt.Errorf("table of node answers: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("table of node answers: unknown key %s", unknown[0])
	}
	for i, row := range file.Answer {
		if row.Phrase == "" || row.Client == "" || row.Source == "" || !row.Class.known() {
			return nil, fmt.Errorf("table of node answers: row %d (%q) is incomplete", i+1, row.Phrase)
		}
		file.Answer[i].Phrase = strings.ToLower(row.Phrase)
	}
	return file.Answer, nil
}

// known reports whether a row of the table may stand for the class. A row of class Unknown is an answer we have met that
// says nothing about the transaction (the node syncs, the request rate is limited).
func (c Class) known() bool {
	switch c {
	case AlreadyKnown, ReplacementUnderpriced, Underpriced, BelowBaseFee, NonceTooLow, NonceTooHigh, InsufficientFunds,
		PoolFull, FeeCapExceeded, GasLimitTooHigh, IntrinsicGasTooLow, ConditionNotMet, Rejected, Unknown:
		return true
	case Accepted: // is answered with a result, never with an error
		return false
	default:
		return false
	}
}

// Taken reports whether the endpoint has the transaction now.
func (c Class) Taken() bool { return c == Accepted || c == AlreadyKnown }

// Classify finds the class of a JSON-RPC error a node answered with. Code and message are the error's.
func Classify(code int, message string) Class {
	if row, ok := lookUp(code, message); ok {
		return row.Class
	}
	return Unknown
}

// lookUp returns the first row of the table that matches.
func lookUp(code int, message string) (Row, bool) {
	message = strings.ToLower(message)
	for _, row := range Table() {
		if (row.Code == 0 || row.Code == code) && holdsPhrase(message, row.Phrase) {
			return row, true
		}
	}
	return Row{}, false
}

// holdsPhrase reports whether the phrase stands in the message as words of its own: "known transaction" is not in "unknown
// transaction type". Both are lower case.
func holdsPhrase(message, phrase string) bool {
	for from := 0; ; {
		at := strings.Index(message[from:], phrase)
		if at < 0 {
			return false
		}
		start := from + at
		end := start + len(phrase)
		if wordsPart(message[:start], phrase) && wordsPart(phrase, message[end:]) {
			return true
		}
		_, size := utf8.DecodeRuneInString(message[start:])
		from = start + size
	}
}

// wordsPart reports whether no word goes across the border between left and right.
func wordsPart(left, right string) bool {
	before, _ := utf8.DecodeLastRuneInString(left)
	after, _ := utf8.DecodeRuneInString(right)
	return left == "" || right == "" || !inWord(before) || !inWord(after)
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// answer classifies the outcome of a submission that returns the transaction's hash.
func (o *oddities) answer(origin string, err error, have, want common.Hash) Answer {
	if err == nil {
		if have != want {
			// The node took something, but says it is not what we sent: look for ours before believing either.
			return Answer{Class: Unknown, Text: fmt.Sprintf("have transaction hash %s, want %s", have, want)}
		}
		return Answer{Class: Accepted}
	}
	text := tidy(err.Error())
	if rpcError, ok := errors.AsType[rpc.Error](err); ok {
		text = tidy(rpcError.Error())
		row, met := lookUp(rpcError.ErrorCode(), rpcError.Error())
		if !met {
			o.note(origin, rpcError.ErrorCode(), text)
			return Answer{Class: Unknown, Text: text}
		}
		return Answer{Class: row.Class, Text: text}
	}
	if refused, ok := errors.AsType[*statusError](err); ok && refused.status < 500 && refused.status != 429 {
		o.note(origin, refused.status, text) // it will be the same next time: wrong path, wrong credentials
	}
	return Answer{Class: Unknown, Text: text, Reach: reachOf(err)}
}

// reachOf tells an error before anything was sent from one after which the request may have arrived.
func reachOf(err error) Reach {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return NotSent
	}
	return NoAnswer
}

// maxText is the length of an answer's text beyond which it is cut, in bytes.
const maxText = 512

// tidy makes a foreign text fit for one line of a log.
func tidy(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
