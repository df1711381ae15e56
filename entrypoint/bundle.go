package entrypoint

import (
	"fmt"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// DecodeHandleOps is the inverse of [EncodeHandleOps]: the operations and the beneficiary of a handleOps call.
// The operations share the memory of calldata. Malformed or hostile calldata is an error that wraps [ErrMalformed], or
// a *userop.FieldError; time and memory are linear in len(calldata).
func DecodeHandleOps(v userop.Version, calldata []byte) ([]*userop.UserOperation, common.Address, error) {
	r, err := arguments(calldata, selector(v, selHandleOpsV06, selHandleOps))
	if err != nil {
		return nil, common.Address{}, err
	}
	d := &bundleReader{reader: r, version: v, budget: maxOps(v, r.data)}
	ops := d.ops(r.offset(0, 0))
	beneficiary := r.address(wordSize)
	if r.err != nil {
		return nil, common.Address{}, r.err
	}
	return ops, beneficiary, nil
}

// DecodeHandleAggregatedOps is the inverse of [EncodeHandleAggregatedOps]; see [DecodeHandleOps] for what it promises.
func DecodeHandleAggregatedOps(v userop.Version, calldata []byte) ([]OpsPerAggregator, common.Address, error) {
	r, err := arguments(calldata, selector(v, selHandleAggregatedOpsV06, selHandleAggregatedOps))
	if err != nil {
		return nil, common.Address{}, err
	}
	d := &bundleReader{reader: r, version: v, budget: maxOps(v, r.data)}
	array := r.offset(0, 0)
	groups := make([]OpsPerAggregator, 0, min(r.length(array, wordSize), 8))
	base := array + wordSize
	for i := range r.length(array, wordSize) {
		tuple := r.offset(base, base+i*wordSize)
		group := OpsPerAggregator{
			Ops:        d.ops(r.offset(tuple, tuple)),
			Aggregator: r.address(tuple + wordSize),
			Signature:  r.bytes(tuple, tuple+2*wordSize),
		}
		if r.err != nil {
			return nil, common.Address{}, r.err
		}
		groups = append(groups, group)
	}
	beneficiary := r.address(wordSize)
	if r.err != nil {
		return nil, common.Address{}, r.err
	}
	return groups, beneficiary, nil
}

// DecodeBundle returns the operations of either call, in the order in which they are executed.
func DecodeBundle(v userop.Version, calldata []byte) ([]*userop.UserOperation, common.Address, error) {
	if len(calldata) < 4 || string(calldata[:4]) != selector(v, selHandleAggregatedOpsV06, selHandleAggregatedOps) {
		return DecodeHandleOps(v, calldata)
	}
	groups, beneficiary, err := DecodeHandleAggregatedOps(v, calldata)
	if err != nil {
		return nil, common.Address{}, err
	}
	var ops []*userop.UserOperation
	for _, g := range groups {
		ops = append(ops, g.Ops...)
	}
	return ops, beneficiary, nil
}

// arguments checks the selector and returns a reader of what follows it.
func arguments(calldata []byte, want string) (*reader, error) {
	if len(calldata) < 4 || string(calldata[:4]) != want {
		return nil, fmt.Errorf("%w: have selector %x, want %x", ErrMalformed, calldata[:min(4, len(calldata))], want)
	}
	return &reader{data: calldata[4:]}, nil
}

// maxOps is how many operations the data can hold without two of them sharing their head. Calldata whose offsets point
// to one place many times would otherwise decode to far more than it is long.
func maxOps(v userop.Version, data []byte) int { return len(data) / headSize(v) }

func headSize(v userop.Version) int {
	if v.Packed() {
		return 9 * wordSize
	}
	return 11 * wordSize
}

type bundleReader struct {
	*reader
	version userop.Version
	budget  int // operations that may still be decoded
}

// ops reads the array of operations at the offset.
func (d *bundleReader) ops(at int) []*userop.UserOperation {
	n := d.length(at, wordSize)
	if n > d.budget {
		d.fail("have %d operations or more, want at most %d in %d bytes", n, d.budget, len(d.data))
		return nil
	}
	d.budget -= n
	base := at + wordSize
	ops := make([]*userop.UserOperation, 0, n)
	for i := range n {
		op, err := d.op(d.offset(base, base+i*wordSize))
		if d.err != nil {
			return nil
		}
		if err != nil {
			d.err = fmt.Errorf("operation %d: %w", i, err)
			return nil
		}
		ops = append(ops, op)
	}
	return ops
}

func (d *bundleReader) op(at int) (*userop.UserOperation, error) {
	word := func(i int) int { return at + i*wordSize }
	if !d.version.Packed() {
		flat := userop.Flat{
			Sender:               d.address(word(0)),
			Nonce:                d.uint256(word(1)),
			InitCode:             d.bytes(at, word(2)),
			CallData:             d.bytes(at, word(3)),
			CallGasLimit:         d.uint256(word(4)),
			VerificationGasLimit: d.uint256(word(5)),
			PreVerificationGas:   d.uint256(word(6)),
			MaxFeePerGas:         d.uint256(word(7)),
			MaxPriorityFeePerGas: d.uint256(word(8)),
			PaymasterAndData:     d.bytes(at, word(9)),
			Signature:            d.bytes(at, word(10)),
		}
		if d.err != nil {
			return nil, d.err
		}
		return userop.FromFlat(flat)
	}
	packed := userop.Packed{
		Sender:             d.address(word(0)),
		Nonce:              d.uint256(word(1)),
		InitCode:           d.bytes(at, word(2)),
		CallData:           d.bytes(at, word(3)),
		AccountGasLimits:   d.word(word(4)),
		PreVerificationGas: d.uint256(word(5)),
		GasFees:            d.word(word(6)),
		PaymasterAndData:   d.bytes(at, word(7)),
		Signature:          d.bytes(at, word(8)),
	}
	if d.err != nil {
		return nil, d.err
	}
	return userop.FromPacked(d.version, packed)
}
