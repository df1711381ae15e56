package funding

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Node is what plans read from a node.
type Node interface {
	CallContext(ctx context.Context, result any, method string, args ...any) error
	BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error
}

// Part is what one account gets, in wei.
type Part struct {
	To     common.Address
	Amount uint256.Int
}

// Payment is one transaction that moves funds.
type Payment struct {
	To       common.Address
	Value    uint256.Int // wei
	Data     []byte
	GasLimit uint64
	Fees     gas.Fees // wei per gas
	Parts    []Part
}

// Cost is the most that the payment takes from its payer, in wei.
func (p *Payment) Cost() uint256.Int {
	cost := gas.Cost(p.GasLimit, p.Fees.MaxFee)
	cost.Add(&cost, &p.Value)
	return cost
}

// identities are what the machine knows the parts by: another nonce is another payment.
func (p *Payment) identities(payer common.Address, nonce uint64) []common.Hash {
	ids := make([]common.Hash, len(p.Parts))
	for i, part := range p.Parts {
		ids[i] = crypto.Keccak256Hash([]byte("funding"), payer[:], binary.BigEndian.AppendUint64(nil, nonce), part.To[:])
	}
	return ids
}

// Occasion is when and for whom a payment is planned.
type Occasion struct {
	Payer  common.Address
	Block  *types.Header // the state to read
	Fees   gas.Fees
	Urgent bool // an earlier transaction waits for this one to replace it
}

// Plan says what is to be paid.
type Plan interface {
	// Next returns what is to be paid at a block; nil: nothing is. ErrPayerCannotPay: something is, and the payer has not enough.
	Next(ctx context.Context, o Occasion) (*Payment, error)
}

// ErrPayerCannotPay says that the paying key has too little.
var ErrPayerCannotPay = errors.New("the paying key cannot pay")

// Multicall3 is where that contract is on nearly every chain.
var Multicall3 = common.HexToAddress("0xcA11bde05977b3631167028862bE2a173976CA11")

// TopUp keeps accounts in funds: those with less than Below get as much as they lack to To, all in one transaction through
// Multicall3; where that is not deployed, one after the other.
type TopUp struct {
	Node      Node
	Accounts  func() []common.Address
	Below, To uint256.Int // wei
	Every     uint64      // blocks between looks at the balances; an account may ask for one (Ask). 0: each block

	asked  atomic.Bool
	looked uint64
}

// Ask makes the plan look at the balances at the next block.
func (t *TopUp) Ask() { t.asked.Store(true) }

// Next implements [Plan]. The accounts with the least come first; what the payer cannot pay for waits.
func (t *TopUp) Next(ctx context.Context, o Occasion) (*Payment, error) {
	number := o.Block.Number.Uint64()
	asked := t.asked.Swap(false)
	if !asked && !o.Urgent && t.looked != 0 && number < t.looked+t.Every {
		return nil, nil
	}
	accounts := slices.DeleteFunc(slices.Clone(t.Accounts()), func(a common.Address) bool { return a == o.Payer })
	balances, err := Balances(ctx, t.Node, o.Block.Hash(), append(accounts, o.Payer))
	if err != nil {
		t.asked.Store(asked)
		return nil, err
	}
	t.looked = number
	parts := t.lacking(accounts, balances)
	if len(parts) == 0 {
		return nil, nil
	}
	purse := balances[len(accounts)]
	// The gas of a transfer to each stands for what the estimate will say: it decides for how many the purse is enough.
	for len(parts) > 0 {
		payment := &Payment{Fees: o.Fees, GasLimit: params.TxGas * uint64(1+2*len(parts)), Parts: parts}
		payment.Value = total(parts)
		if cost := payment.Cost(); !cost.Gt(&purse) {
			return t.payment(ctx, o, parts)
		}
		parts = parts[:len(parts)-1]
	}
	return nil, fmt.Errorf("%w: %s has %s wei", ErrPayerCannotPay, o.Payer, purse.Dec())
}

// lacking returns what the accounts that are too low lack, those with the least first.
func (t *TopUp) lacking(accounts []common.Address, balances []uint256.Int) []Part {
	type low struct {
		part Part
		has  uint256.Int
	}
	var list []low
	for i, account := range accounts {
		if balances[i].Lt(&t.Below) {
			l := low{Part{To: account}, balances[i]}
			l.part.Amount.Sub(&t.To, &balances[i])
			list = append(list, l)
		}
	}
	slices.SortStableFunc(list, func(a, b low) int { return a.has.Cmp(&b.has) })
	parts := make([]Part, len(list))
	for i, l := range list {
		parts[i] = l.part
	}
	return parts
}

// payment makes a transaction of the parts, with a gas limit that the node has estimated.
func (t *TopUp) payment(ctx context.Context, o Occasion, parts []Part) (*Payment, error) {
	p := &Payment{Fees: o.Fees, To: parts[0].To, Parts: parts[:1]}
	if len(parts) > 1 {
		var code hexutil.Bytes
		if err := t.Node.CallContext(ctx, &code, "eth_getCode", Multicall3, atHash(o.Block.Hash())); err != nil {
			return nil, err
		}
		if len(code) > 0 {
			p.To, p.Parts, p.Data = Multicall3, parts, aggregate3Value(parts)
		}
	}
	p.Value = total(p.Parts)
	return p, p.estimate(ctx, t.Node, o)
}

// Sweep sends what a key has to another account, but for Leave and the gas.
type Sweep struct {
	Node  Node
	To    common.Address
	Leave uint256.Int // wei
}

// Next implements [Plan]. What is not worth its own gas stays.
func (s *Sweep) Next(ctx context.Context, o Occasion) (*Payment, error) {
	balances, err := Balances(ctx, s.Node, o.Block.Hash(), []common.Address{o.Payer})
	if err != nil {
		return nil, err
	}
	p := &Payment{To: s.To, Fees: o.Fees, Parts: []Part{{To: s.To}}}
	if err := p.estimate(ctx, s.Node, o); err != nil { // of a transfer of nothing: the same gas
		return nil, err
	}
	kept := p.Cost()
	kept.Add(&kept, &s.Leave)
	worth := gas.Cost(p.GasLimit, p.Fees.MaxFee)
	if worth.Add(&worth, &kept); !balances[0].Gt(&worth) {
		return nil, nil
	}
	p.Value.Sub(&balances[0], &kept)
	p.Parts[0].Amount = p.Value
	return p, nil
}

// estimate sets the gas limit to what the node says, and a quarter more where code runs.
func (p *Payment) estimate(ctx context.Context, node Node, o Occasion) error {
	call := map[string]any{"from": o.Payer, "to": p.To, "value": (*hexutil.U256)(&p.Value)}
	if len(p.Data) > 0 {
		call["input"] = hexutil.Bytes(p.Data)
	}
	var units hexutil.Uint64
	if err := node.CallContext(ctx, &units, "eth_estimateGas", call, hexutil.EncodeBig(o.Block.Number)); err != nil {
		return fmt.Errorf("gas of a payment: %w", err)
	}
	p.GasLimit = uint64(units)
	if p.GasLimit != params.TxGas {
		p.GasLimit += p.GasLimit / 4
	}
	return nil
}

func total(parts []Part) uint256.Int {
	var sum uint256.Int
	for i := range parts {
		sum.Add(&sum, &parts[i].Amount)
	}
	return sum
}

// Balances reads accounts' balances after a block in one round trip, in wei.
func Balances(ctx context.Context, node Node, block common.Hash, accounts []common.Address) ([]uint256.Int, error) {
	answers := make([]hexutil.U256, len(accounts))
	batch := make([]rpc.BatchElem, len(accounts))
	for i, account := range accounts {
		batch[i] = rpc.BatchElem{Method: "eth_getBalance", Args: []any{account, atHash(block)}, Result: &answers[i]}
	}
	if err := node.BatchCallContext(ctx, batch); err != nil {
		return nil, err
	}
	balances := make([]uint256.Int, len(accounts))
	for i, element := range batch {
		if element.Error != nil {
			return nil, fmt.Errorf("balance of %s: %w", accounts[i], element.Error)
		}
		balances[i] = uint256.Int(answers[i])
	}
	return balances, nil
}

func atHash(block common.Hash) map[string]any { return map[string]any{"blockHash": block} }

// aggregate3Value encodes Multicall3.aggregate3Value((address,bool,uint256,bytes)[]) with a plain transfer for each part. None
// may fail (allowFailure is false): what a failed call was to carry would stay in the contract, for anybody to take.
func aggregate3Value(parts []Part) []byte {
	word := func(n uint64) []byte { b := uint256.NewInt(n).Bytes32(); return b[:] }
	n := uint64(len(parts))
	data := append(crypto.Keccak256([]byte("aggregate3Value((address,bool,uint256,bytes)[])"))[:4], word(0x20)...)
	data = append(data, word(n)...)
	const tuple = 5 * 32 // target, allowFailure, value, offset of callData, its length 0
	for i := range n {
		data = append(data, word(n*32+i*tuple)...)
	}
	for i := range parts {
		amount := parts[i].Amount.Bytes32()
		data = append(data, common.LeftPadBytes(parts[i].To[:], 32)...)
		data = append(data, word(0)...)
		data = append(data, amount[:]...)
		data = append(data, word(0x80)...)
		data = append(data, word(0)...)
	}
	return data
}
