package userop

import (
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// number reads a required quantity of at most bits bits.
func (d *decoder) number(name string, bits int) uint256.Int {
	raw, ok := d.require(name)
	if !ok {
		return uint256.Int{}
	}
	n, err := parseQuantity(name, raw, bits)
	d.fail(err)
	return n
}

// bytes reads a required byte string; an empty one is nil.
func (d *decoder) bytes(name string) []byte {
	raw, ok := d.require(name)
	if !ok {
		return nil
	}
	b, err := parseBytes(name, raw)
	d.fail(err)
	return b
}

func number(n uint64) *uint256.Int { return uint256.NewInt(n) }

// hexDigits returns the digits of a JSON string with a 0x prefix. Escapes inside the string are not resolved: no
// hex digit needs one.
func hexDigits(raw json.RawMessage) (string, bool) {
	s := string(raw)
	if len(s) < 4 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if !strings.HasPrefix(s, "0x") && !strings.HasPrefix(s, "0X") {
		return "", false
	}
	s = s[2:]
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return "", false
		}
	}
	return s, true
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parseQuantity reads a quantity: like those of the Ethereum JSON-RPC, but leading zeros are accepted, because
// clients pad.
func parseQuantity(name string, raw json.RawMessage, bits int) (uint256.Int, *FieldError) {
	digits, ok := hexDigits(raw)
	if !ok || digits == "" {
		return uint256.Int{}, fieldErrorf(name, "%s, want a 0x-prefixed hex quantity", have(raw))
	}
	digits = strings.TrimLeft(digits, "0")
	var n uint256.Int
	if len(digits) > 64 {
		return n, fieldErrorf(name, "%s, want a number of at most %d bits", have(raw), bits)
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if err != nil { // the digits were checked
		return n, fieldErrorf(name, "%s, want a 0x-prefixed hex quantity", have(raw))
	}
	n.SetBytes(b)
	if n.BitLen() > bits {
		return uint256.Int{}, fieldErrorf(name, "%s, want a number of at most %d bits", have(raw), bits)
	}
	return n, nil
}

func parseBytes(name string, raw json.RawMessage) ([]byte, *FieldError) {
	digits, ok := hexDigits(raw)
	if !ok {
		return nil, fieldErrorf(name, "%s, want 0x-prefixed hex bytes (0x if empty)", have(raw))
	}
	if len(digits)%2 == 1 {
		return nil, fieldErrorf(name, "%s, an odd number of hex digits", have(raw))
	}
	if digits == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(digits)
	if err != nil { // the digits were checked
		return nil, fieldErrorf(name, "%s, want 0x-prefixed hex bytes", have(raw))
	}
	return b, nil
}

func parseAddress(name string, raw json.RawMessage) (common.Address, *FieldError) {
	b, err := parseBytes(name, raw)
	if err != nil || len(b) != common.AddressLength {
		return common.Address{}, fieldErrorf(name, "%s, want a 0x-prefixed address of %d bytes", have(raw), common.AddressLength)
	}
	return common.Address(b), nil
}

// parseFactory reads an address, or the EIP-7702 marker in its short form 0x7702.
func parseFactory(raw json.RawMessage) (common.Address, *FieldError) {
	if digits, ok := hexDigits(raw); ok && digits == "7702" {
		return EIP7702Marker, nil
	}
	return parseAddress("factory", raw)
}
