package entrypoint

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// ErrMalformed is wrapped by every decoding error of this package: the bytes are not what the ABI asks for.
var ErrMalformed = errors.New("malformed ABI data")

// reader reads ABI data without trusting its offsets and lengths: every read is checked against the data, nothing is
// allocated from a length, byte strings are slices of the input. It keeps the first error.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// word returns the 32 bytes at the offset, or zeros after an error.
func (r *reader) word(at int) [wordSize]byte {
	if r.err != nil {
		return [wordSize]byte{}
	}
	if at < 0 || at > len(r.data)-wordSize {
		r.fail("have %d bytes, want a word at %d", len(r.data), at)
		return [wordSize]byte{}
	}
	return [wordSize]byte(r.data[at:])
}

func (r *reader) uint256(at int) uint256.Int {
	word := r.word(at)
	return *new(uint256.Int).SetBytes32(word[:])
}

func (r *reader) uint64(at int) uint64 {
	n := r.uint256(at)
	if !n.IsUint64() {
		r.fail("have %s at %d, want a number of at most 64 bits", n.Hex(), at)
		return 0
	}
	return n.Uint64()
}

func (r *reader) bool(at int) bool {
	n := r.uint256(at)
	if n.GtUint64(1) {
		r.fail("have %s at %d, want a boolean", n.Hex(), at)
	}
	return !n.IsZero()
}

func (r *reader) address(at int) common.Address {
	word := r.word(at)
	if [12]byte(word[:12]) != ([12]byte{}) {
		r.fail("have %x at %d, want an address", word, at)
	}
	return common.Address(word[12:])
}

// length reads a word that counts bytes or elements of which each takes at least size bytes.
func (r *reader) length(at, size int) int {
	n := r.uint256(at)
	if n.GtUint64(uint64(len(r.data) / size)) {
		r.fail("have length %s at %d, in %d bytes", n.Hex(), at, len(r.data))
		return 0
	}
	return int(n.Uint64())
}

// offset reads an offset relative to base and returns where it points, inside the data.
func (r *reader) offset(base, at int) int {
	return base + r.length(at, 1)
}

// bytes reads the byte string that the offset at at, relative to base, points to.
func (r *reader) bytes(base, at int) []byte {
	start := r.offset(base, at)
	n := r.length(start, 1)
	start += wordSize
	if r.err != nil {
		return nil
	}
	if n > len(r.data)-start {
		r.fail("have %d bytes, want %d at %d", len(r.data), n, start)
		return nil
	}
	return r.data[start : start+n : start+n]
}
