package userop

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Layout of paymasterAndData in v0.7 and later (ERC-4337, "The paymasterAndData field encoding"):
// address, two gas limits of 16 bytes, data, and in v0.9 optionally signature ++ uint16 length ++ magic.
const (
	gasLimitWidth       = 16
	paymasterDataOffset = common.AddressLength + 2*gasLimitWidth

	// paymasterSigMagic is PAYMASTER_SIG_MAGIC, keccak256("PaymasterSignature")[:8].
	paymasterSigMagic = "\x22\xe3\x25\xa2\x97\x43\x96\x56"

	paymasterSuffixLen       = 2 + len(paymasterSigMagic)
	maxPaymasterSignatureLen = math.MaxUint16
)

// Packed is PackedUserOperation, the shape in which operations of v0.7 and later travel on chain.
type Packed struct {
	Sender             common.Address
	Nonce              uint256.Int
	InitCode           []byte
	CallData           []byte
	AccountGasLimits   [32]byte // verificationGasLimit, callGasLimit: 16 bytes each
	PreVerificationGas uint256.Int
	GasFees            [32]byte // maxPriorityFeePerGas, maxFeePerGas: 16 bytes each
	PaymasterAndData   []byte
	Signature          []byte
}

// Flat is the UserOperation struct of EntryPoint v0.6.
type Flat struct {
	Sender               common.Address
	Nonce                uint256.Int
	InitCode             []byte
	CallData             []byte
	CallGasLimit         uint256.Int
	VerificationGasLimit uint256.Int
	PreVerificationGas   uint256.Int
	MaxFeePerGas         uint256.Int
	MaxPriorityFeePerGas uint256.Int
	PaymasterAndData     []byte
	Signature            []byte
}

// InitCode returns factory ++ factoryData, or nil without a factory.
func (op *UserOperation) InitCode() []byte {
	if op.Factory == nil {
		return nil
	}
	return op.appendInitCode(make([]byte, 0, op.initCodeLen()))
}

// PaymasterAndData returns the field as the EntryPoint of the operation's version takes it, or nil without a
// paymaster.
func (op *UserOperation) PaymasterAndData() []byte {
	if op.Paymaster == nil {
		return nil
	}
	return op.appendPaymasterAndData(make([]byte, 0, op.paymasterAndDataLen()))
}

// AccountGasLimits returns verificationGasLimit and callGasLimit packed in one word (v0.7 and later).
func (op *UserOperation) AccountGasLimits() [32]byte {
	return [32]byte(op.appendAccountGasLimits(make([]byte, 0, wordSize)))
}

// GasFees returns maxPriorityFeePerGas and maxFeePerGas packed in one word (v0.7 and later). Only the lower 128
// bits of each are kept; decoding admits no wider ones.
func (op *UserOperation) GasFees() [32]byte {
	return [32]byte(op.appendGasFees(make([]byte, 0, wordSize)))
}

// Pack returns the operation in the shape of v0.7 and later. It shares the memory of CallData and Signature.
func (op *UserOperation) Pack() Packed {
	return Packed{
		Sender:             op.Sender,
		Nonce:              op.Nonce,
		InitCode:           op.InitCode(),
		CallData:           op.CallData,
		AccountGasLimits:   op.AccountGasLimits(),
		PreVerificationGas: *uint256.NewInt(op.PreVerificationGas),
		GasFees:            op.GasFees(),
		PaymasterAndData:   op.PaymasterAndData(),
		Signature:          op.Signature,
	}
}

// Flatten returns the operation in the shape of v0.6. It shares the memory of CallData and Signature.
func (op *UserOperation) Flatten() Flat {
	return Flat{
		Sender:               op.Sender,
		Nonce:                op.Nonce,
		InitCode:             op.InitCode(),
		CallData:             op.CallData,
		CallGasLimit:         *uint256.NewInt(op.CallGasLimit),
		VerificationGasLimit: *uint256.NewInt(op.VerificationGasLimit),
		PreVerificationGas:   *uint256.NewInt(op.PreVerificationGas),
		MaxFeePerGas:         op.MaxFeePerGas,
		MaxPriorityFeePerGas: op.MaxPriorityFeePerGas,
		PaymasterAndData:     op.PaymasterAndData(),
		Signature:            op.Signature,
	}
}

// FromPacked is the inverse of [UserOperation.Pack] for version v (v0.7 and later). The operation shares the
// memory of p. What an EntryPoint would refuse to handle (an initCode or paymasterAndData too short) and gas limits
// over 64 bits are a *FieldError.
func FromPacked(v Version, p Packed) (*UserOperation, error) {
	if !v.Packed() {
		return nil, fieldErrorf("version", "have %v, want a version with packed operations", v)
	}
	op := &UserOperation{
		Version:              v,
		Sender:               p.Sender,
		Nonce:                p.Nonce,
		CallData:             orNil(p.CallData),
		MaxPriorityFeePerGas: *new(uint256.Int).SetBytes(p.GasFees[:gasLimitWidth]),
		MaxFeePerGas:         *new(uint256.Int).SetBytes(p.GasFees[gasLimitWidth:]),
		Signature:            orNil(p.Signature),
	}
	err := firstError(
		setGasBytes(&op.VerificationGasLimit, "accountGasLimits", p.AccountGasLimits[:gasLimitWidth]),
		setGasBytes(&op.CallGasLimit, "accountGasLimits", p.AccountGasLimits[gasLimitWidth:]),
		setGas(&op.PreVerificationGas, "preVerificationGas", &p.PreVerificationGas),
		op.setInitCode(p.InitCode),
		op.setPaymasterAndData(p.PaymasterAndData),
	)
	if err != nil {
		return nil, err
	}
	return op, nil
}

// FromFlat is the inverse of [UserOperation.Flatten]: an operation of v0.6. The operation shares the memory of f.
// Errors are as with [FromPacked].
func FromFlat(f Flat) (*UserOperation, error) {
	op := &UserOperation{
		Version:              V06,
		Sender:               f.Sender,
		Nonce:                f.Nonce,
		CallData:             orNil(f.CallData),
		MaxFeePerGas:         f.MaxFeePerGas,
		MaxPriorityFeePerGas: f.MaxPriorityFeePerGas,
		Signature:            orNil(f.Signature),
	}
	err := firstError(
		setGas(&op.CallGasLimit, "callGasLimit", &f.CallGasLimit),
		setGas(&op.VerificationGasLimit, "verificationGasLimit", &f.VerificationGasLimit),
		setGas(&op.PreVerificationGas, "preVerificationGas", &f.PreVerificationGas),
		op.setInitCode(f.InitCode),
		op.setPaymasterAndData(f.PaymasterAndData),
	)
	if err != nil {
		return nil, err
	}
	return op, nil
}

// firstError returns the first non-nil error as an error (a nil *FieldError in an error would not be nil).
func firstError(errs ...*FieldError) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func setGasBytes(dst *uint64, field string, b []byte) *FieldError {
	return setGas(dst, field, new(uint256.Int).SetBytes(b))
}

func setGas(dst *uint64, field string, n *uint256.Int) *FieldError {
	if !n.IsUint64() {
		return fieldErrorf(field, "have %s, want a number of at most 64 bits", n.Hex())
	}
	*dst = n.Uint64()
	return nil
}

func (op *UserOperation) setInitCode(code []byte) *FieldError {
	switch {
	case len(code) == 0:
		return nil
	case len(code) >= common.AddressLength:
		factory := common.Address(code[:common.AddressLength])
		op.Factory, op.FactoryData = &factory, orNil(code[common.AddressLength:])
		return nil
	case op.Version >= V08 && common.Address(rightPadded(code)) == EIP7702Marker:
		// The EntryPoint reads a shorter initCode as if it were padded with zeros.
		marker := EIP7702Marker
		op.Factory = &marker
		return nil
	default:
		return fieldErrorf("initCode", "have %d bytes, want none or at least %d", len(code), common.AddressLength)
	}
}

// orNil makes empty bytes nil, so that operations compare equal whatever they came from.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func rightPadded(b []byte) []byte {
	return append(bytes.Clone(b), make([]byte, common.AddressLength-len(b))...)
}

func (op *UserOperation) setPaymasterAndData(data []byte) *FieldError {
	if len(data) == 0 {
		return nil
	}
	offset := common.AddressLength
	if op.Version.Packed() {
		offset = paymasterDataOffset
	}
	if len(data) < offset {
		return fieldErrorf("paymasterAndData", "have %d bytes, want none or at least %d", len(data), offset)
	}
	paymaster := common.Address(data[:common.AddressLength])
	op.Paymaster, op.PaymasterData = &paymaster, orNil(data[offset:])
	if !op.Version.Packed() {
		return nil
	}
	limits := data[common.AddressLength:offset]
	if err := setGasBytes(&op.PaymasterVerificationGasLimit, "paymasterVerificationGasLimit", limits[:gasLimitWidth]); err != nil {
		return err
	}
	if err := setGasBytes(&op.PaymasterPostOpGasLimit, "paymasterPostOpGasLimit", limits[gasLimitWidth:]); err != nil {
		return err
	}
	return op.splitPaymasterSignature()
}

// splitPaymasterSignature moves a paymaster signature at the end of PaymasterData to its own field (v0.9), so that
// an operation has one form however it was sent. A broken length makes the EntryPoint revert, so it is an error.
func (op *UserOperation) splitPaymasterSignature() *FieldError {
	if op.Version < V09 {
		return nil
	}
	n, ok := paymasterSignatureLen(op.PaymasterData)
	if !ok {
		return fieldErrorf("paymasterData", "ends with the paymaster signature magic, but the length before it is more than there is")
	}
	if n == 0 {
		return nil
	}
	end := len(op.PaymasterData) - paymasterSuffixLen
	op.PaymasterSignature = op.PaymasterData[end-n : end : end]
	op.PaymasterData = orNil(op.PaymasterData[: end-n : end-n])
	return nil
}

// paymasterSignatureLen returns the length of the signature at the end of paymasterData (v0.9), 0 if there is none;
// ok is false where the EntryPoint reverts with InvalidPaymasterSignatureLength.
func paymasterSignatureLen(paymasterData []byte) (n int, ok bool) {
	rest := len(paymasterData) - paymasterSuffixLen
	if rest < 0 || string(paymasterData[rest+2:]) != paymasterSigMagic {
		return 0, true
	}
	n = int(binary.BigEndian.Uint16(paymasterData[rest:]))
	return n, n <= rest
}

func (op *UserOperation) initCodeLen() int {
	if op.Factory == nil {
		return 0
	}
	return common.AddressLength + len(op.FactoryData)
}

func (op *UserOperation) appendInitCode(dst []byte) []byte {
	if op.Factory == nil {
		return dst
	}
	return append(append(dst, op.Factory[:]...), op.FactoryData...)
}

func (op *UserOperation) hasPaymasterSignature() bool {
	return op.Version >= V09 && len(op.PaymasterSignature) > 0
}

func (op *UserOperation) paymasterAndDataLen() int {
	if op.Paymaster == nil {
		return 0
	}
	n := common.AddressLength + len(op.PaymasterData)
	if op.Version.Packed() {
		n += 2 * gasLimitWidth
	}
	if op.hasPaymasterSignature() {
		n += len(op.PaymasterSignature) + paymasterSuffixLen
	}
	return n
}

func (op *UserOperation) appendPaymasterAndData(dst []byte) []byte {
	if op.Paymaster == nil {
		return dst
	}
	dst = op.appendPaymasterFixed(dst)
	dst = append(dst, op.PaymasterData...)
	if op.hasPaymasterSignature() {
		dst = append(dst, op.PaymasterSignature...)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(op.PaymasterSignature)))
		dst = append(dst, paymasterSigMagic...)
	}
	return dst
}

// appendPaymasterFixed appends what stands before the paymaster's own data.
func (op *UserOperation) appendPaymasterFixed(dst []byte) []byte {
	dst = append(dst, op.Paymaster[:]...)
	if op.Version.Packed() {
		dst = appendUint128(dst, op.PaymasterVerificationGasLimit)
		dst = appendUint128(dst, op.PaymasterPostOpGasLimit)
	}
	return dst
}

func appendUint128(dst []byte, n uint64) []byte {
	dst = append(dst, make([]byte, gasLimitWidth-8)...)
	return binary.BigEndian.AppendUint64(dst, n)
}

// appendAccountGasLimits appends the word of the account's two gas limits.
func (op *UserOperation) appendAccountGasLimits(dst []byte) []byte {
	return appendUint128(appendUint128(dst, op.VerificationGasLimit), op.CallGasLimit)
}

// appendGasFees appends the word of the two fees, the lower 128 bits of each.
func (op *UserOperation) appendGasFees(dst []byte) []byte {
	for _, fee := range [...]*uint256.Int{&op.MaxPriorityFeePerGas, &op.MaxFeePerGas} {
		dst = binary.BigEndian.AppendUint64(dst, fee[1])
		dst = binary.BigEndian.AppendUint64(dst, fee[0])
	}
	return dst
}
