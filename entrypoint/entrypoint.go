// Package entrypoint knows the EntryPoint contracts v0.6 to v0.9: their addresses and ABI, how a bundle is encoded
// for them, and what their reverts and events mean.
//
// It is pure: bytes in, bytes out. Artifacts come from pinned npm packages (see artifacts/README.md).
package entrypoint

import (
	"fmt"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// EntryPoint is a deployed EntryPoint: an address and the version of the code there.
type EntryPoint struct {
	Address common.Address
	Version userop.Version
}

// Canonical returns the EntryPoint of the version at the address it has on every chain.
func Canonical(v userop.Version) EntryPoint {
	switch v {
	case userop.V06:
		return EntryPoint{common.HexToAddress("0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"), v}
	case userop.V07:
		return EntryPoint{common.HexToAddress("0x0000000071727De22E5E9d8BAf0edAc6f37da032"), v}
	case userop.V08:
		return EntryPoint{common.HexToAddress("0x4337084D9E255Ff0702461CF8895CE9E3b5Ff108"), v}
	case userop.V09:
		return EntryPoint{common.HexToAddress("0x433709009B8330FDa32311DF1C2AFA402eD8D009"), v}
	default:
		panic(fmt.Sprintf("entrypoint: no canonical address for version %v", v))
	}
}

// SenderCreator returns the helper contract that calls factories on the EntryPoint's behalf: a factory's caller.
func SenderCreator(v userop.Version) common.Address {
	switch v {
	case userop.V06:
		return common.HexToAddress("0x7fc98430eAEdbb6070B35B39D798725049088348")
	case userop.V07:
		return common.HexToAddress("0xEFC2c1444eBCC4Db75e7613d20C6a62fF67A167C")
	case userop.V08:
		return common.HexToAddress("0x449ED7C3e6Fee6a97311d4b55475DF59C44AdD33")
	case userop.V09:
		return common.HexToAddress("0x0A630a99Df908A81115A3022927Be82f9299987e")
	default:
		panic(fmt.Sprintf("entrypoint: no sender creator for version %v", v))
	}
}
