package datafee

import (
	"context"
	"fmt"

	"baler/evm"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
)

// Where an OP stack chain keeps the contracts about L1, both behind proxies (ERC-1967).
var (
	gasPriceOracle = common.HexToAddress("0x420000000000000000000000000000000000000F")
	l1Block        = common.HexToAddress("0x4200000000000000000000000000000000000015")
	implementation = common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc")
)

// opPrices is what the GasPriceOracle says at a block.
type opPrices struct {
	block    common.Hash
	fjord    bool
	prices   gas.L1Prices
	operator gas.OperatorFee
	reads    *evm.ReadSet // what it said it by
}

// opReads returns what the oracle read at the block before; at first a guess: both contracts, and the slots in which they
// have had their flags and values since the beginning.
func (o *Oracle) opReads() *evm.ReadSet {
	if last := o.last.Load(); last != nil {
		return last.reads
	}
	return opGuess()
}

func opGuess() *evm.ReadSet {
	reads := &evm.ReadSet{Accounts: map[common.Address]evm.AccountRead{{}: {}}, Slots: make(map[evm.Slot]common.Hash)}
	for _, contract := range []common.Address{gasPriceOracle, l1Block} {
		reads.Accounts[contract] = evm.AccountRead{}
		reads.Slots[evm.Slot{Account: contract, Key: implementation}] = common.Hash{}
		// The code of a predeployed contract is where the last two bytes of its address say.
		code := common.HexToAddress("0xc0D3C0d3C0d3C0D3c0d3C0d3c0D3C0d3c0d30000")
		copy(code[18:], contract[18:])
		reads.Accounts[code] = evm.AccountRead{}
		for n := range byte(9) {
			reads.Slots[evm.Slot{Account: contract, Key: common.Hash{31: n}}] = common.Hash{}
		}
	}
	return reads
}

// opCost returns the L1 data fee of a transaction, and the operator fee.
func (o *Oracle) opCost(ctx context.Context, view *evm.View, tx Transaction) (Cost, error) {
	p, err := o.opPrices(ctx, view)
	if err != nil {
		return Cost{}, err
	}
	data, err := unsigned(view, tx)
	if err != nil {
		return Cost{}, err
	}
	if p.fjord {
		return Cost{Fee: p.prices.Fee(gas.FastLZLength(data) + gas.SignatureBytes), Operator: p.operator}, nil
	}
	var fee uint256.Int
	err = view.Execute(ctx, evm.RunOptions{}, func(r *evm.Run) error {
		answer, err := askOracle(r, "getL1Fee(bytes)", abiBytes(data))
		fee = answer
		return err
	})
	return Cost{Fee: fee}, err
}

// opPrices asks the oracle, once per block.
func (o *Oracle) opPrices(ctx context.Context, view *evm.View) (*opPrices, error) {
	if last := o.last.Load(); last != nil && last.block == view.Hash() {
		return last, nil
	}
	var p *opPrices
	err := view.Execute(ctx, evm.RunOptions{}, func(r *evm.Run) error {
		p = &opPrices{block: view.Hash()}
		// A contract from before Fjord has no such function, and is asked for the fee itself.
		fjord, err := askOracle(r, "isFjord()", nil)
		if evm.IsStateError(err) {
			return err
		}
		if err != nil || fjord.IsZero() {
			p.reads = opGuess()
			_, err = askOracle(r, "l1BaseFee()", nil)
			return err
		}
		p.fjord = true
		if p.prices, err = askPrices(r); err != nil {
			return err
		}
		if p.operator, err = askOperatorFee(r); err != nil {
			return err
		}
		p.reads = r.ReadSet()
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.last.Store(p)
	return p, nil
}

// askPrices asks the oracle what L1 costs.
func askPrices(r *evm.Run) (p gas.L1Prices, err error) {
	var scalar, blobScalar uint256.Int
	for _, field := range []struct {
		name string
		into *uint256.Int
	}{
		{"l1BaseFee()", &p.BaseFee},
		{"blobBaseFee()", &p.BlobBaseFee},
		{"baseFeeScalar()", &scalar},
		{"blobBaseFeeScalar()", &blobScalar},
	} {
		if *field.into, err = askOracle(r, field.name, nil); err != nil {
			return p, err
		}
	}
	if scalar[0]>>32 != 0 || blobScalar[0]>>32 != 0 || !scalar.IsUint64() || !blobScalar.IsUint64() {
		return p, fmt.Errorf("%w: have scalars %s and %s, want 32 bits", ErrNoOracle, scalar.Dec(), blobScalar.Dec())
	}
	p.BaseFeeScalar, p.BlobBaseFeeScalar = uint32(scalar[0]), uint32(blobScalar[0])
	return p, nil
}

// askOperatorFee asks the oracle for the operator fee of no gas and of a million: it is a line by every upgrade's formula, and both
// upgrades' scalars are whole for a million. A contract from before Isthmus has no such function; there is no such fee then.
func askOperatorFee(r *evm.Run) (gas.OperatorFee, error) {
	const function = "getOperatorFee(uint256)"
	million := uint256.NewInt(1_000_000).Bytes32()
	constant, err := askOracle(r, function, make([]byte, 32))
	switch {
	case evm.IsStateError(err):
		return gas.OperatorFee{}, err
	case err != nil:
		return gas.OperatorFee{}, nil //nolint:nilerr // the function is not there
	}
	whole, err := askOracle(r, function, million[:])
	if err != nil {
		return gas.OperatorFee{}, err
	}
	if whole.Lt(&constant) {
		return gas.OperatorFee{}, fmt.Errorf("%w: have an operator fee of %s for a million gas and %s for none", ErrNoOracle, whole.Dec(), constant.Dec())
	}
	return gas.OperatorFee{PerMillionGas: *new(uint256.Int).Sub(&whole, &constant), Constant: constant}, nil
}

// oracleGas is what a call of the oracle may use: before Fjord it counts the bytes one by one.
const oracleGas = 100_000_000

// askOracle calls a function of the GasPriceOracle that returns a word. What other error there is than the state's is that
// the contract is not there or does not have the function.
func askOracle(r *evm.Run, function string, argument []byte) (uint256.Int, error) {
	input := append(crypto.Keccak256([]byte(function))[:4], argument...)
	output, _, err := r.Call(common.Address{}, gasPriceOracle, nil, input, oracleGas, nil)
	switch {
	case evm.IsStateError(err):
		return uint256.Int{}, err
	case err != nil:
		return uint256.Int{}, fmt.Errorf("%w at %s: %s: %w", ErrNoOracle, gasPriceOracle, function, err)
	case len(output) != 32:
		return uint256.Int{}, fmt.Errorf("%w at %s: %s: have %d bytes, want 32", ErrNoOracle, gasPriceOracle, function, len(output))
	}
	return *new(uint256.Int).SetBytes32(output), nil
}

// abiBytes encodes the one argument of a function that takes bytes.
func abiBytes(data []byte) []byte {
	encoded := make([]byte, 64, 64+len(data)+31)
	encoded[31] = 32
	length := uint256.NewInt(uint64(len(data))).Bytes32()
	copy(encoded[32:], length[:])
	encoded = append(encoded, data...)
	return append(encoded, make([]byte, (32-len(data)%32)%32)...)
}

// Stand for what is not known of a transaction yet: as long as such a value is, and not to be compressed.
const (
	someNonce = 0x9c3e71
	someGas   = 0xd2a5f7
	someFee   = 0x4be1f39ac5
	someTip   = 0x7d2c16e8
)

// unsigned encodes a transaction as the one that will carry it, without signature: EIP-1559's, or EIP-7702's if it has
// authorizations.
func unsigned(view *evm.View, tx Transaction) ([]byte, error) { return encode(view, tx) }

// encode encodes a transaction with these fields at its end: a signature, or none.
func encode(view *evm.View, tx Transaction, signature ...any) ([]byte, error) {
	kind := []byte{2}
	fields := []any{
		view.Config().ChainID, uint64(someNonce), uint64(someTip), uint64(someFee), uint64(someGas), tx.To, uint64(0), tx.Data, []any{},
	}
	if len(tx.Authorizations) > 0 {
		kind, fields = []byte{4}, append(fields, tx.Authorizations)
	}
	encoded, err := rlp.EncodeToBytes(append(fields, signature...))
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	return append(kind, encoded...), nil
}
