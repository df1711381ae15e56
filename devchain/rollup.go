package devchain

import (
	"encoding/binary"
	"fmt"
	"math/big"

	"baler/datafee"
	"baler/entrypoint/artifacts"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
)

// OPUpgrade is how far an OP stack chain's GasPriceOracle has come.
type OPUpgrade uint8

// The upgrades that changed how the L1 data fee is computed, and those that brought and changed the operator fee.
const (
	Bedrock OPUpgrade = iota
	Ecotone
	Fjord
	Isthmus
	Jovian
)

// OperatorFee are the parameters of an OP stack chain's operator fee.
type OperatorFee struct {
	Scalar   uint32 // by gas used, in the upgrade's unit
	Constant uint64 // wei per transaction
}

// OPStackContracts returns accounts for [Config.Alloc] by which a chain tells L1 data fees as an OP stack chain does, and since Isthmus
// the operator fee: the GasPriceOracle and the L1Block contract, each behind a proxy, with the prices given. The chain itself does not
// charge them.
func OPStackContracts(upgrade OPUpgrade, prices gas.L1Prices, fee OperatorFee) (types.GenesisAlloc, error) {
	one, big6 := common.Hash{31: 1}, common.BigToHash(big.NewInt(1_000_000))
	var flags, scalars, operator common.Hash
	for at, since := range map[int]OPUpgrade{31: Ecotone, 30: Fjord, 29: Isthmus, 28: Jovian} {
		if upgrade >= since {
			flags[at] = 1
		}
	}
	oracle, block := "shared/GasPriceOracle.json", "shared/L1Block.json"
	if upgrade >= Isthmus {
		oracle, block = "shared/GasPriceOracleIsthmus.json", "shared/L1BlockIsthmus.json"
	}
	// operatorFeeConstant uint64, operatorFeeScalar uint32, from the right.
	binary.BigEndian.PutUint64(operator[24:], fee.Constant)
	binary.BigEndian.PutUint32(operator[20:], fee.Scalar)
	// sequenceNumber uint64, blobBaseFeeScalar uint32, baseFeeScalar uint32, from the right.
	binary.BigEndian.PutUint32(scalars[20:], prices.BlobBaseFeeScalar)
	binary.BigEndian.PutUint32(scalars[16:], prices.BaseFeeScalar)
	alloc := make(types.GenesisAlloc)
	for name, contract := range map[string]struct {
		at      string
		storage map[common.Hash]common.Hash
	}{
		oracle: {"0x420000000000000000000000000000000000000F", map[common.Hash]common.Hash{{}: flags}},
		block: {"0x4200000000000000000000000000000000000015", map[common.Hash]common.Hash{
			one: prices.BaseFee.Bytes32(), {31: 3}: scalars, {31: 7}: prices.BlobBaseFee.Bytes32(),
			{31: 8}: operator, {31: 5}: {31: 188}, {31: 6}: big6, // l1FeeOverhead and l1FeeScalar, of Bedrock
		}},
	} {
		a, err := artifacts.Load(name)
		if err != nil {
			return nil, err
		}
		at := common.HexToAddress(contract.at)
		code := common.HexToAddress("0xc0D3C0d3C0d3C0D3c0d3C0d3c0D3C0d3c0d30000")
		copy(code[18:], at[18:])
		contract.storage[implementationSlot()] = common.BytesToHash(code[:])
		alloc[at] = types.Account{Nonce: 1, Balance: new(big.Int), Code: proxyCode(), Storage: contract.storage}
		alloc[code] = types.Account{Nonce: 1, Balance: new(big.Int), Code: a.DeployedBytecode}
	}
	return alloc, nil
}

// ArbitrumContracts returns accounts for [Config.Alloc] by which a chain tells the gas of a transaction's data as an
// Arbitrum chain does: a stand-in for NodeInterface at 0xC8, with base fees in wei per gas.
func ArbitrumContracts(l1BaseFee, l2BaseFee uint64) (types.GenesisAlloc, error) {
	a, err := artifacts.Load("shared/NodeInterface.json")
	if err != nil {
		return nil, err
	}
	word := func(n uint64) common.Hash { return common.BigToHash(new(big.Int).SetUint64(n)) }
	return types.GenesisAlloc{{19: 0xc8}: {
		Nonce: 1, Balance: new(big.Int), Code: a.DeployedBytecode,
		Storage: map[common.Hash]common.Hash{{}: word(l1BaseFee), {31: 1}: word(l2BaseFee)},
	}}, nil
}

// ScrollUpgrade is how far a Scroll chain's L1GasPriceOracle has come.
type ScrollUpgrade uint8

// The upgrades that changed how the L1 data fee is computed.
const (
	BeforeCurie ScrollUpgrade = iota
	Curie
	Feynman
	Galileo
)

// ScrollPrices are what a Scroll chain charges for data by: fees of L1 in wei per gas, and the oracle's parameters.
type ScrollPrices struct {
	BaseFee, BlobBaseFee, Overhead, Scalar, CommitScalar, BlobScalar, PenaltyFactor uint64
}

// ScrollContracts returns accounts for [Config.Alloc] by which a chain tells L1 data fees as a Scroll chain does: the L1GasPriceOracle, with
// the prices given. The chain itself does not charge them.
func ScrollContracts(upgrade ScrollUpgrade, prices ScrollPrices) (types.GenesisAlloc, error) {
	a, err := artifacts.Load("shared/L1GasPriceOracle.json")
	if err != nil {
		return nil, err
	}
	storage := make(map[common.Hash]common.Hash)
	for slot, value := range map[byte]uint64{
		1: prices.BaseFee, 2: prices.Overhead, 3: prices.Scalar, 5: prices.BlobBaseFee, 6: prices.CommitScalar, 7: prices.BlobScalar, 10: prices.PenaltyFactor,
	} {
		storage[common.Hash{31: slot}] = common.BigToHash(new(big.Int).SetUint64(value))
	}
	for slot, since := range map[byte]ScrollUpgrade{8: Curie, 11: Feynman, 12: Galileo} {
		if upgrade >= since {
			storage[common.Hash{31: slot}] = common.Hash{31: 1}
		}
	}
	at := common.HexToAddress("0x5300000000000000000000000000000000000002")
	return types.GenesisAlloc{at: {Nonce: 1, Balance: new(big.Int), Code: a.DeployedBytecode, Storage: storage}}, nil
}

// HeavyScrollPrices are prices of L1 that count against a development chain's base fee, as [HeavyL1Prices] do.
func HeavyScrollPrices() ScrollPrices {
	return ScrollPrices{
		BaseFee: 1_000 * DefaultBaseFee, BlobBaseFee: 100 * DefaultBaseFee, Overhead: 188, Scalar: 1_000_000_000,
		CommitScalar: 2_000_000_000, BlobScalar: 500_000_000, PenaltyFactor: 1_000_000_000,
	}
}

// DataFeeContracts returns accounts for [Config.Alloc] that suit a kind of data fee, with prices that
// make it count.
func DataFeeContracts(kind datafee.Kind) (types.GenesisAlloc, error) {
	switch kind {
	case datafee.None:
		return nil, nil
	case datafee.OPStack:
		return OPStackContracts(Jovian, HeavyL1Prices(), HeavyOperatorFee())
	case datafee.Arbitrum:
		return ArbitrumContracts(10*DefaultBaseFee, DefaultBaseFee)
	case datafee.Scroll:
		return ScrollContracts(Curie, HeavyScrollPrices())
	default:
		return nil, fmt.Errorf("%w: data fees of kind %v", ErrConfig, kind)
	}
}

// HeavyL1Prices are prices of L1 that count against a development chain's base fee as those of a quiet day, 10 gwei and blobs
// at 1, do against the hundredth of it that an OP stack chain may have, with the scalars of OP mainnet.
func HeavyL1Prices() gas.L1Prices {
	prices := gas.L1Prices{BaseFeeScalar: 5_227, BlobBaseFeeScalar: 1_014_213}
	prices.BaseFee.SetUint64(1_000 * DefaultBaseFee)
	prices.BlobBaseFee.SetUint64(100 * DefaultBaseFee)
	return prices
}

// HeavyOperatorFee is, by the Jovian upgrade's formula, half of a development chain's base fee for each gas, and as much as 40,000 gas
// for a transaction.
func HeavyOperatorFee() OperatorFee {
	return OperatorFee{Scalar: DefaultBaseFee / 2 / 100, Constant: 40_000 * DefaultBaseFee}
}

// implementationSlot is where a proxy keeps the address of its code (ERC-1967).
func implementationSlot() common.Hash {
	return common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc")
}

// proxyCode is the code of a proxy that passes every call on.
func proxyCode() []byte {
	p := program.New()
	p.Op(vm.CALLDATASIZE).Push(0).Push(0).Op(vm.CALLDATACOPY)
	p.Push(0).Push(0).Op(vm.CALLDATASIZE).Push(0).Push(implementationSlot().Bytes()).Op(vm.SLOAD, vm.GAS, vm.DELEGATECALL)
	p.Op(vm.RETURNDATASIZE).Push(0).Push(0).Op(vm.RETURNDATACOPY) // success
	p.Op(vm.RETURNDATASIZE).Push(0).Op(vm.DUP3)                   // success, 0, size, success
	p.Op(vm.PUSH1)
	hole := p.Size()
	p.Append([]byte{0}).Op(vm.JUMPI, vm.REVERT)
	_, success := p.Jumpdest()
	code := p.Op(vm.RETURN).Bytes()
	code[hole] = byte(success)
	return code
}
