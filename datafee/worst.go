package datafee

import (
	"encoding/binary"

	"baler/userop"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Worst returns the operation as it may be once it is complete, with the dearest data: what a wallet fills in after an
// estimation (signature, paymaster data, gas limits, fees) holds bytes that no compressor shortens, as many as the operation has
// now, four for a gas limit and eight for a fee. The operation given is not changed.
func Worst(op *userop.UserOperation) *userop.UserOperation {
	worst := *op
	worst.Signature = filler(len(op.Signature), 0)
	if op.Paymaster != nil {
		worst.PaymasterData = filler(len(op.PaymasterData), 1)
	}
	if op.PaymasterSignature != nil {
		worst.PaymasterSignature = filler(len(op.PaymasterSignature), 2)
	}
	limits := []*uint64{&worst.CallGasLimit, &worst.VerificationGasLimit, &worst.PreVerificationGas}
	if op.Paymaster != nil && op.Version.Packed() {
		limits = append(limits, &worst.PaymasterVerificationGasLimit, &worst.PaymasterPostOpGasLimit)
	}
	for i, limit := range limits {
		*limit = uint64(binary.BigEndian.Uint32(filler(4, byte(16+i))))
	}
	for i, fee := range []*uint256.Int{&worst.MaxFeePerGas, &worst.MaxPriorityFeePerGas} {
		fee.SetBytes(filler(max(8, fee.ByteLen()), byte(32+i)))
	}
	return &worst
}

// filler returns n bytes that look random, always the same for a seed.
func filler(n int, seed byte) []byte {
	bytes := make([]byte, 0, n+32)
	for block := uint32(0); len(bytes) < n; block++ {
		bytes = append(bytes, crypto.Keccak256([]byte("baler: filler"), []byte{seed}, binary.BigEndian.AppendUint32(nil, block))...)
	}
	return bytes[:n:n]
}
