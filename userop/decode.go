package userop

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Widths of the numbers of an operation, in bits. An EntryPoint refuses gas values and fees over 120 bits (AA94);
// gas limits are held in 64 (see [UserOperation]).
const (
	nonceBits = 256
	gasBits   = 64
	feeBits   = 120
)

// operationField is what an error names if the operation as a whole is wrong.
const operationField = "userOperation"

// Given says which of the fields that an estimation may leave out were there.
type Given struct {
	CallGasLimit                  bool
	VerificationGasLimit          bool
	PreVerificationGas            bool
	MaxFeePerGas                  bool
	MaxPriorityFeePerGas          bool
	PaymasterVerificationGasLimit bool
	PaymasterPostOpGasLimit       bool
	Signature                     bool
}

// Decode reads the JSON of a complete operation of version v, as eth_sendUserOperation takes it (ERC-7769; for v0.6
// with initCode and paymasterAndData). It is strict: an unknown or repeated field, a missing one, a number that is
// not a 0x-prefixed hex quantity or too wide, bytes with an odd number of digits, or half a factory or paymaster is
// a *FieldError. Fields whose value is null count as absent. Leading zeros and either case of hex are accepted.
func Decode(raw []byte, v Version) (*UserOperation, error) {
	op, _, err := decode(raw, v, false)
	return op, err
}

// DecodePartial is [Decode] for eth_estimateUserOperationGas: gas limits, fees, the signature and the signature
// inside eip7702Auth may be absent. Given says which of them came; absent ones are zero.
func DecodePartial(raw []byte, v Version) (*UserOperation, Given, error) {
	return decode(raw, v, true)
}

func decode(raw []byte, v Version, partial bool) (*UserOperation, Given, error) {
	fields, err := readObject(raw, operationField)
	if err != nil {
		return nil, Given{}, err
	}
	d := &decoder{fields: fields, partial: partial}
	op := &UserOperation{Version: v}
	var given Given
	d.operation(op, &given)
	if v.Packed() {
		d.factory(op)
		d.paymaster(op, &given)
	} else {
		d.flat(op)
	}
	op.Authorization = d.authorization()
	d.leftover(operationField, v)
	if d.err != nil {
		return nil, Given{}, d.err
	}
	return op, given, nil
}

// readObject splits a JSON object into its members, and refuses repeated ones: which of two values counts is not
// something to guess.
func readObject(raw []byte, name string) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	start, err := dec.Token()
	if err != nil {
		return nil, syntaxError(name, err)
	}
	if start != json.Delim('{') {
		return nil, fieldErrorf(name, "%s, want a JSON object", have(bytes.TrimSpace(raw)))
	}
	fields := make(map[string]json.RawMessage, 16)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, syntaxError(name, err)
		}
		field, _ := key.(string) // inside an object a token before a value is a string
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, syntaxError(name, err)
		}
		if _, twice := fields[field]; twice {
			return nil, fieldErrorf(fieldName(field), "given twice")
		}
		fields[field] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, syntaxError(name, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fieldErrorf(name, "have data after the JSON object")
	}
	for field, value := range fields {
		if string(value) == "null" {
			delete(fields, field)
		}
	}
	return fields, nil
}

func syntaxError(name string, err error) *FieldError {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fieldErrorf(name, "have incomplete JSON, want an object")
	}
	return fieldErrorf(name, "not valid JSON: %s", printable([]byte(err.Error())))
}

// fieldName bounds and cleans a field name that the user made up.
func fieldName(name string) string {
	if len(name) > maxQuoted {
		return printable([]byte(name[:maxQuoted])) + "…"
	}
	return printable([]byte(name))
}

// decoder takes members out of an object. It keeps the first error, so that a caller reads field after field.
type decoder struct {
	fields  map[string]json.RawMessage
	prefix  string // of the names in errors, for a nested object
	partial bool
	err     error
}

func (d *decoder) fail(err *FieldError) {
	if d.err == nil && err != nil {
		err.Field = d.prefix + err.Field
		d.err = err
	}
}

// take returns the member's value and removes it, so that what is left at the end is unknown.
func (d *decoder) take(name string) (json.RawMessage, bool) {
	value, ok := d.fields[name]
	delete(d.fields, name)
	return value, ok
}

func (d *decoder) has(name string) bool {
	_, ok := d.fields[name]
	return ok
}

func (d *decoder) require(name string) (json.RawMessage, bool) {
	value, ok := d.take(name)
	if !ok {
		d.fail(fieldErrorf(name, "missing"))
	}
	return value, ok
}

// operation reads the members that every version has.
func (d *decoder) operation(op *UserOperation, given *Given) {
	op.Sender = d.address("sender")
	op.Nonce = d.number("nonce", nonceBits)
	op.CallData = d.bytes("callData")
	op.CallGasLimit, given.CallGasLimit = d.gasIfPartial("callGasLimit")
	op.VerificationGasLimit, given.VerificationGasLimit = d.gasIfPartial("verificationGasLimit")
	op.PreVerificationGas, given.PreVerificationGas = d.gasIfPartial("preVerificationGas")
	if given.MaxFeePerGas = d.has("maxFeePerGas"); given.MaxFeePerGas || !d.partial {
		op.MaxFeePerGas = d.number("maxFeePerGas", feeBits)
	}
	if given.MaxPriorityFeePerGas = d.has("maxPriorityFeePerGas"); given.MaxPriorityFeePerGas || !d.partial {
		op.MaxPriorityFeePerGas = d.number("maxPriorityFeePerGas", feeBits)
	}
	if given.Signature = d.has("signature"); given.Signature || !d.partial {
		op.Signature = d.bytes("signature")
	}
}

// gasIfPartial reads a gas limit, which may be absent in a partial operation.
func (d *decoder) gasIfPartial(name string) (gas uint64, given bool) {
	if given = d.has(name); given || !d.partial {
		n := d.number(name, gasBits)
		gas = n.Uint64()
	}
	return gas, given
}

// flat reads what only v0.6 has.
func (d *decoder) flat(op *UserOperation) {
	d.fail(op.setInitCode(d.bytes("initCode")))
	d.fail(op.setPaymasterAndData(d.bytes("paymasterAndData")))
}

// factory reads factory and factoryData: both or neither (ERC-7769), except that the data of the EIP-7702 marker
// may be left out.
func (d *decoder) factory(op *UserOperation) {
	raw, ok := d.take("factory")
	if !ok {
		if d.has("factoryData") {
			d.fail(fieldErrorf("factoryData", "given without factory, want both or neither"))
		}
		return
	}
	factory, err := parseFactory(raw)
	if err != nil {
		d.fail(err)
		return
	}
	if factory == EIP7702Marker && op.Version < V08 {
		d.fail(fieldErrorf("factory", "%s, the EIP-7702 marker, which EntryPoint v%v does not know (v0.8 and later do)", have(raw), op.Version))
		return
	}
	op.Factory = &factory
	if factory == EIP7702Marker && !d.has("factoryData") {
		return
	}
	if !d.has("factoryData") {
		d.fail(fieldErrorf("factoryData", "missing, want it together with factory"))
		return
	}
	op.FactoryData = d.bytes("factoryData")
}

// paymaster reads the paymaster's four members, all or none (ERC-7769); its gas limits may be absent in a partial
// operation, and the paymaster signature of v0.9 always.
func (d *decoder) paymaster(op *UserOperation, given *Given) {
	members := []string{"paymasterData", "paymasterVerificationGasLimit", "paymasterPostOpGasLimit"}
	if op.Version >= V09 {
		members = append(members, "paymasterSignature")
	}
	if !d.has("paymaster") {
		for _, name := range members {
			if d.has(name) {
				d.fail(fieldErrorf(name, "given without paymaster, want all paymaster fields or none"))
			}
		}
		return
	}
	paymaster := d.address("paymaster")
	op.Paymaster = &paymaster
	op.PaymasterData = d.bytes("paymasterData")
	op.PaymasterVerificationGasLimit, given.PaymasterVerificationGasLimit = d.gasIfPartial("paymasterVerificationGasLimit")
	op.PaymasterPostOpGasLimit, given.PaymasterPostOpGasLimit = d.gasIfPartial("paymasterPostOpGasLimit")
	if op.Version < V09 || d.err != nil {
		return
	}
	// An empty signature is the same as none: the EntryPoint's own encoder appends nothing for it.
	if d.has("paymasterSignature") {
		op.PaymasterSignature = d.bytes("paymasterSignature")
	}
	if len(op.PaymasterSignature) == 0 {
		d.fail(op.splitPaymasterSignature())
	}
	if n := len(op.PaymasterSignature); n > maxPaymasterSignatureLen {
		d.fail(fieldErrorf("paymasterSignature", "have %d bytes, want at most %d", n, maxPaymasterSignatureLen))
	}
}

// authorization reads eip7702Auth (ERC-7769, "Support for EIP-7702 authorizations").
func (d *decoder) authorization() *types.SetCodeAuthorization {
	const name = "eip7702Auth"
	raw, ok := d.take(name)
	if !ok {
		return nil
	}
	fields, err := readObject(raw, name)
	if err != nil {
		if d.err == nil {
			d.err = err
		}
		return nil
	}
	sub := &decoder{fields: fields, prefix: name + ".", partial: d.partial}
	auth := &types.SetCodeAuthorization{
		ChainID: sub.number("chainId", 256),
		Address: sub.address("address"),
	}
	nonce := sub.number("nonce", 64)
	auth.Nonce = nonce.Uint64()
	auth.V = sub.parity()
	if sub.has("r") || !sub.partial {
		auth.R = sub.number("r", 256)
	}
	if sub.has("s") || !sub.partial {
		auth.S = sub.number("s", 256)
	}
	sub.leftover(name, 0)
	if d.err == nil {
		d.err = sub.err
	}
	return auth
}

// parity reads yParity, or v as some clients call it; both must agree.
func (d *decoder) parity() uint8 {
	if !d.has("yParity") && !d.has("v") {
		if !d.partial {
			d.fail(fieldErrorf("yParity", "missing"))
		}
		return 0
	}
	var values []uint64
	for _, name := range [...]string{"yParity", "v"} {
		raw, ok := d.fields[name]
		if !ok {
			continue
		}
		n := d.number(name, 256)
		if name == "v" && (n.Eq(number(27)) || n.Eq(number(28))) {
			n.SubUint64(&n, 27)
		}
		if n.GtUint64(1) {
			d.fail(fieldErrorf(name, "%s, want 0x0 or 0x1", have(raw)))
			return 0
		}
		values = append(values, n.Uint64())
	}
	if len(values) == 2 && values[0] != values[1] {
		d.fail(fieldErrorf("v", "differs from yParity"))
	}
	return uint8(values[0])
}

// leftover refuses what nobody asked for. The alphabetically first is named, so that the answer is always the same.
func (d *decoder) leftover(object string, v Version) {
	first := ""
	for name := range d.fields {
		if first == "" || name < first {
			first = name
		}
	}
	if len(d.fields) == 0 {
		return
	}
	if object == operationField {
		d.fail(fieldErrorf(fieldName(first), "not a field of a user operation of EntryPoint v%v", v))
		return
	}
	d.fail(fieldErrorf(fieldName(first), "not a field of %s", object))
}

// address reads a required address.
func (d *decoder) address(name string) common.Address {
	raw, ok := d.require(name)
	if !ok {
		return common.Address{}
	}
	a, err := parseAddress(name, raw)
	d.fail(err)
	return a
}
