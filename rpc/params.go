package rpc

import (
	"encoding/json"
	"fmt"
	"strconv"

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
	return fixedBytes("userOpHash", raw, p[:])
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
	const most = 80 // of a wrong value, which may be megabytes, comes back
	have := string(raw)
	if len(have) > most {
		have = strconv.Quote(have[:most]) + "…"
	}
	return fmt.Errorf("%s: have %s, want %d bytes of 0x-prefixed hex", name, have, len(dst))
}
