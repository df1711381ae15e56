package userop

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FieldError says which field of an operation is wrong, and why. Its text is meant for the user who sent it:
// `callGasLimit: have "12", want a 0x-prefixed hex quantity`.
type FieldError struct {
	Field  string // the JSON name, with a dotted path for a nested one ("eip7702Auth.chainId")
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func fieldErrorf(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// maxQuoted bounds how much of a user's value comes back in an error.
const maxQuoted = 48

// have renders a JSON value for an error message, shortened: a value may be megabytes long.
func have(raw []byte) string {
	if len(raw) > maxQuoted {
		return fmt.Sprintf("have %s… (%d characters)", printable(raw[:maxQuoted]), len(raw))
	}
	return "have " + printable(raw)
}

// printable returns JSON text with control characters and broken UTF-8 replaced: they could upset a terminal or a log.
func printable(raw []byte) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsGraphic(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, string(raw))
}
