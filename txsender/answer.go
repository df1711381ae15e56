package txsender

import (
	_ "embed" // the table of node answers
	"fmt"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
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
	FeeCapExceeded         Class = "fee-cap-exceeded"
	GasLimitTooHigh        Class = "gas-limit-too-high"
	IntrinsicGasTooLow     Class = "intrinsic-gas-too-low"
	ConditionNotMet        Class = "condition-not-met"
	Rejected               Class = "rejected"
	Unknown                Class = "unknown"
)

// Answer is a classified answer. Text is the node's own, for the log.
type Answer struct {
	Class Class
	Text  string
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

func (c Class) known() bool {
	switch c {
	case AlreadyKnown, ReplacementUnderpriced, Underpriced, BelowBaseFee, NonceTooLow, NonceTooHigh, InsufficientFunds,
		PoolFull, FeeCapExceeded, GasLimitTooHigh, IntrinsicGasTooLow, ConditionNotMet, Rejected:
		return true
	case Accepted, Unknown: // not an answer a row can stand for
		return false
	default:
		return false
	}
}

// Classify finds the class of an error a node answered with.
func Classify(code int, message string) Class {
	message = strings.ToLower(message)
	for _, row := range Table() {
		if (row.Code == 0 || row.Code == code) && strings.Contains(message, row.Phrase) {
			return row.Class
		}
	}
	return Unknown
}
