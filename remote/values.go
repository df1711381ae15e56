package remote

import (
	"errors"
	"fmt"
	"math"

	"baler/entrypoint"
	"baler/gas"
	pb "baler/remote/remotev1"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// ErrMessage says that a message has a value that its field cannot have: the other side is broken, hostile or of another
// version.
var ErrMessage = errors.New("message not understood")

// decoder takes values out of a message. It keeps the first error, so that a caller reads field after field.
type decoder struct{ err error }

func (d *decoder) fail(field, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s: %s", ErrMessage, field, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) address(field string, raw []byte) (a common.Address) {
	if len(raw) != common.AddressLength {
		d.fail(field, "have %d bytes, want an address of %d", len(raw), common.AddressLength)
	}
	copy(a[:], raw)
	return a
}

func (d *decoder) hash(field string, raw []byte) (h common.Hash) {
	if len(raw) != common.HashLength {
		d.fail(field, "have %d bytes, want a hash of %d", len(raw), common.HashLength)
	}
	copy(h[:], raw)
	return h
}

// optionalAddress returns nil for no bytes.
func (d *decoder) optionalAddress(field string, raw []byte) *common.Address {
	if len(raw) == 0 {
		return nil
	}
	a := d.address(field, raw)
	return &a
}

// optionalHash returns nil for no bytes.
func (d *decoder) optionalHash(field string, raw []byte) *common.Hash {
	if len(raw) == 0 {
		return nil
	}
	h := d.hash(field, raw)
	return &h
}

// hashes returns nil for none.
func (d *decoder) hashes(field string, raw [][]byte) []common.Hash {
	if len(raw) == 0 {
		return nil
	}
	list := make([]common.Hash, len(raw))
	for i, h := range raw {
		list[i] = d.hash(field, h)
	}
	return list
}

// number reads a uint256. There is one way to write each, so that equal messages have equal bytes.
func (d *decoder) number(field string, raw []byte) (n uint256.Int) {
	switch {
	case len(raw) > 32:
		d.fail(field, "have a number of %d bytes, want at most 32", len(raw))
	case len(raw) > 0 && raw[0] == 0:
		d.fail(field, "have a number with a leading zero byte")
	default:
		n.SetBytes(raw)
	}
	return n
}

func (d *decoder) fees(field string, m *pb.Fees) gas.Fees {
	return gas.Fees{MaxFee: d.number(field+".max_fee", m.GetMaxFee()), MaxPriority: d.number(field+".max_priority", m.GetMaxPriority())}
}

func (d *decoder) version(field string, v pb.Version) userop.Version {
	switch v {
	case pb.Version_VERSION_V06:
		return userop.V06
	case pb.Version_VERSION_V07:
		return userop.V07
	case pb.Version_VERSION_V08:
		return userop.V08
	case pb.Version_VERSION_V09:
		return userop.V09
	default:
		d.fail(field, "have version %d, which is not known", v)
		return 0
	}
}

func (d *decoder) entryPoint(field string, m *pb.EntryPoint) entrypoint.EntryPoint {
	return entrypoint.EntryPoint{
		Address: d.address(field+".address", m.GetAddress()), Version: d.version(field+".version", m.GetVersion()),
	}
}

// small reads a count of things that are held in memory.
func (d *decoder) small(field string, n uint32) int {
	if n > math.MaxInt32 {
		d.fail(field, "have %d, want at most %d", n, math.MaxInt32)
		return 0
	}
	return int(n)
}

func encodeAddress(a common.Address) []byte { return a[:] }

func encodeHash(h common.Hash) []byte { return h[:] }

func encodeNumber(n uint256.Int) []byte { return n.Bytes() }

func encodeOptionalAddress(a *common.Address) []byte {
	if a == nil {
		return nil
	}
	return encodeAddress(*a)
}

func encodeOptionalHash(h *common.Hash) []byte {
	if h == nil {
		return nil
	}
	return encodeHash(*h)
}

func encodeHashes(list []common.Hash) [][]byte {
	if len(list) == 0 {
		return nil
	}
	raw := make([][]byte, len(list))
	for i := range list {
		raw[i] = list[i][:]
	}
	return raw
}

func encodeFees(f gas.Fees) *pb.Fees {
	return &pb.Fees{MaxFee: encodeNumber(f.MaxFee), MaxPriority: encodeNumber(f.MaxPriority)}
}

func encodeVersion(v userop.Version) pb.Version {
	switch v {
	case userop.V06:
		return pb.Version_VERSION_V06
	case userop.V07:
		return pb.Version_VERSION_V07
	case userop.V08:
		return pb.Version_VERSION_V08
	case userop.V09:
		return pb.Version_VERSION_V09
	default:
		return pb.Version_VERSION_UNSPECIFIED // the other side refuses it
	}
}

func encodeEntryPoint(ep entrypoint.EntryPoint) *pb.EntryPoint {
	return &pb.EntryPoint{Address: encodeAddress(ep.Address), Version: encodeVersion(ep.Version)}
}

// encodeCount writes a count of things that are held in memory.
func encodeCount(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }
