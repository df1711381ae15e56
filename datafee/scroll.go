package datafee

import (
	"context"
	"fmt"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// scrollOracle is Scroll's L1GasPriceOracle, a contract without a proxy.
var scrollOracle = common.HexToAddress("0x5300000000000000000000000000000000000002")

// scrollSlots is how many slots the oracle has: from its owner to the flag of its newest upgrade.
const scrollSlots = 13

// scrollGas is what a call of the oracle may use: before Curie it counts the bytes one by one.
const scrollGas = 100_000_000

// scrollReads is what the oracle reads, whichever upgrade it has come to.
func scrollReads() *evm.ReadSet {
	reads := &evm.ReadSet{
		Accounts: map[common.Address]evm.AccountRead{{}: {}, scrollOracle: {}}, Slots: make(map[evm.Slot]common.Hash),
	}
	for n := range byte(scrollSlots) {
		reads.Slots[evm.Slot{Account: scrollOracle, Key: common.Hash{31: n}}] = common.Hash{}
	}
	return reads
}

// scrollCost returns the L1 data fee of a transaction: what the oracle's getL1Fee says of it, with a signature, by the rules of the upgrade
// that it has come to. Curie: (commitScalar × l1BaseFee + blobScalar × length × l1BlobBaseFee) / 10^9. Since Galileo the chain takes the length
// of the compressed transaction; here it is the length as it is, so the fee is the most that it can be.
func scrollCost(ctx context.Context, view *evm.View, tx Transaction) (Cost, error) {
	data, err := encode(view, tx, uint64(1), filler(32, 'r'), filler(32, 's'))
	if err != nil {
		return Cost{}, err
	}
	input := append(crypto.Keccak256([]byte("getL1Fee(bytes)"))[:4], abiBytes(data)...)
	var fee uint256.Int
	err = view.Execute(ctx, evm.RunOptions{}, func(r *evm.Run) error {
		output, _, err := r.Call(common.Address{}, scrollOracle, nil, input, scrollGas, nil)
		switch {
		case evm.IsStateError(err):
			return err
		case err != nil:
			return fmt.Errorf("%w at %s: getL1Fee: %w", ErrNoOracle, scrollOracle, err)
		case len(output) != 32:
			return fmt.Errorf("%w at %s: getL1Fee: have %d bytes, want 32", ErrNoOracle, scrollOracle, len(output))
		}
		fee.SetBytes32(output)
		return nil
	})
	return Cost{Fee: fee}, err
}
