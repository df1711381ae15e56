package rpc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Parameters decode themselves so that what a client reads of a wrong one names the parameter, not a Go type.

type entryPointParam common.Address

func (p *entryPointParam) UnmarshalJSON(raw []byte) error {
	return fixedBytes("entryPoint", raw, p[:])
}

type hashParam common.Hash

func (p *hashParam) UnmarshalJSON(raw []byte) error {
	if err := fixedBytes("userOpHash", raw, p[:]); err != nil {
		return fmt.Errorf("missing/invalid %w", err) // as the public test suite of bundlers reads it
	}
	return nil
}

// addressParam is any address.
type addressParam struct {
	common.Address
	given bool
}

func (p *addressParam) UnmarshalJSON(raw []byte) error {
	p.given = true
	return fixedBytes("address", raw, p.Address[:])
}

// counterParam is a number of 64 bits: a quantity, with leading zeros as ERC-7769's own example has one, or a JSON number,
// as some clients of the debug namespace write it.
type counterParam uint64

func (p *counterParam) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	var quoted string
	if err := json.Unmarshal(raw, &quoted); err == nil {
		text = quoted
		digits, hex := strings.CutPrefix(strings.ToLower(quoted), "0x")
		if n, err := strconv.ParseUint(digits, 16, 64); hex && err == nil {
			*p = counterParam(n)
			return nil
		}
	} else if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		*p = counterParam(n)
		return nil
	}
	return fmt.Errorf("have %s, want a number of at most 64 bits, 0x-prefixed hex or decimal", shortened(text))
}

// fixedBytes decodes a JSON string of 0x-prefixed hex into exactly len(dst) bytes.
func fixedBytes(name string, raw []byte, dst []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		if b, err := hexutil.Decode(text); err == nil && len(b) == len(dst) {
			copy(dst, b)
			return nil
		}
	}
	return fmt.Errorf("%s: have %s, want %d bytes of 0x-prefixed hex", name, shortened(string(raw)), len(dst))
}

// shortened is what comes back of a wrong value, which may be megabytes.
func shortened(have string) string {
	const most = 80
	if len(have) > most {
		return strconv.Quote(have[:most]) + "…"
	}
	return have
}
