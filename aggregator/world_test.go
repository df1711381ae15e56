package aggregator_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"baler/aggregator"
	"baler/aggregator/bls"
	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// world is a chain with every EntryPoint and its BLS aggregator, reached over HTTP.
type world struct {
	t     testing.TB
	chain *devchain.Chain
	node  *rpc.Client
	nonce *uint64
}

// accountsInGenesis is how many BLS accounts and SimpleAccounts of each version start with 10 ETH.
const accountsInGenesis = 24

func newWorld(t testing.TB) *world {
	t.Helper()
	contracts, err := devchain.DefaultContracts()
	if err != nil {
		t.Fatal(err)
	}
	alloc := make(types.GenesisAlloc)
	ten := new(big.Int).Mul(big.NewInt(10), big.NewInt(params.Ether))
	for _, v := range userop.Versions() {
		for n := range accountsInGenesis {
			a := blsAccount(t, contracts.BLSAccountFactories[v], contracts.BLSAggregators[v], v, n)
			alloc[a.address] = types.Account{Balance: ten}
		}
	}
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: alloc, GasLimit: 60_000_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	node, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	return &world{t: t, chain: chain, node: node, nonce: new(uint64)}
}

// eachVersion runs a test for each EntryPoint on one chain.
func eachVersion(t *testing.T, test func(w *world, v userop.Version)) {
	t.Helper()
	w := newWorld(t)
	for _, v := range userop.Versions() {
		t.Run(fmt.Sprintf("v%v", v), func(t *testing.T) {
			sub := *w
			sub.t = t
			test(&sub, v)
		})
	}
}

// suffix is what the names of the contracts for the version end with.
func suffix(v userop.Version) string {
	if v == userop.V06 {
		return "V06"
	}
	return ""
}

func load(t testing.TB, name string) *artifacts.Artifact {
	t.Helper()
	a, err := artifacts.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pack(t testing.TB, artifact, method string, args ...any) []byte {
	t.Helper()
	data, err := load(t, artifact).ABI.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func secret(t testing.TB, n int) bls.SecretKey {
	t.Helper()
	k, err := bls.SecretKeyFromSeed(fmt.Appendf(nil, "secret of the account with number %d", n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// account is an account with a BLS key.
type account struct {
	version     userop.Version
	key         bls.SecretKey
	address     common.Address
	factory     common.Address
	factoryData []byte
}

// blsAccount is the account of key n that the factory makes.
func blsAccount(t testing.TB, factory, agg common.Address, v userop.Version, n int) account {
	t.Helper()
	a := account{version: v, key: secret(t, n), factory: factory}
	public := a.key.PublicKey().Bytes()
	var words [4]*big.Int
	for i := range words {
		words[i] = new(big.Int).SetBytes(public[i*32 : (i+1)*32])
	}
	init, err := load(t, "shared/BLSAccount"+suffix(v)+".json").InitCode(entrypoint.Canonical(v).Address, agg, words)
	if err != nil {
		t.Fatal(err)
	}
	a.address = crypto.CreateAddress2(factory, common.Hash{}, crypto.Keccak256(init))
	a.factoryData = pack(t, "shared/BLSAccountFactory"+suffix(v)+".json", "createAccount", new(big.Int), words)
	return a
}

func (w *world) account(v userop.Version, n int) account {
	w.t.Helper()
	c := w.chain.Contracts()
	return blsAccount(w.t, c.BLSAccountFactories[v], c.BLSAggregators[v], v, n)
}

// deployed returns the accounts from number on, created.
func (w *world) deployed(v userop.Version, from, n int) []account {
	w.t.Helper()
	var list []account
	for i := range n {
		a := w.account(v, from+i)
		if len(w.code(a.address)) == 0 {
			w.post(&a.factory, nil, a.factoryData, 2_000_000)
		}
		list = append(list, a)
	}
	w.mine()
	for _, a := range list {
		if len(w.code(a.address)) == 0 {
			w.t.Fatalf("account %v was not created", a.address)
		}
	}
	return list
}

func (w *world) code(a common.Address) []byte {
	w.t.Helper()
	var code hexutil.Bytes
	if err := w.node.CallContext(w.t.Context(), &code, "eth_getCode", a, "latest"); err != nil {
		w.t.Fatal(err)
	}
	return code
}

// post sends a transaction of the first funded key.
func (w *world) post(to *common.Address, value *big.Int, data []byte, gasLimit uint64) common.Hash {
	w.t.Helper()
	tx := types.MustSignNewTx(w.chain.Keys()[0], types.LatestSigner(w.chain.ChainConfig()), &types.DynamicFeeTx{
		ChainID: w.chain.ChainConfig().ChainID, Nonce: *w.nonce, To: to, Value: value, Data: data,
		Gas: gasLimit, GasFeeCap: big.NewInt(100 * params.GWei), GasTipCap: big.NewInt(params.GWei),
	})
	*w.nonce++
	raw, err := tx.MarshalBinary()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.node.CallContext(w.t.Context(), nil, "eth_sendRawTransaction", hexutil.Bytes(raw)); err != nil {
		w.t.Fatal(err)
	}
	return tx.Hash()
}

func (w *world) mine() {
	w.t.Helper()
	if _, err := w.chain.Mine(w.t.Context(), 1); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) receipt(hash common.Hash) *types.Receipt {
	w.t.Helper()
	var receipt *types.Receipt
	if err := w.node.CallContext(w.t.Context(), &receipt, "eth_getTransactionReceipt", hash); err != nil {
		w.t.Fatal(err)
	}
	if receipt == nil {
		w.t.Fatalf("transaction %v is not mined", hash)
	}
	return receipt
}

func (w *world) bundler() common.Address { return crypto.PubkeyToAddress(w.chain.Keys()[0].PublicKey) }

func (w *world) block() common.Hash { return w.chain.Head().Hash() }

// sendBundle mines handleAggregatedOps with the groups and returns the receipt and what each operation did.
func (w *world) sendBundle(v userop.Version, data []byte) (*types.Receipt, []entrypoint.UserOperationEvent) {
	w.t.Helper()
	ep := entrypoint.Canonical(v)
	hash := w.post(&ep.Address, nil, data, params.MaxTxGas)
	w.mine()
	receipt := w.receipt(hash)
	if receipt.Status != types.ReceiptStatusSuccessful {
		w.t.Fatalf("v%v: the bundle reverted: %s", v, w.revertReason(ep.Address, data))
	}
	var events []entrypoint.UserOperationEvent
	for _, log := range receipt.Logs {
		if entrypoint.IsEvent(log, ep.Address, entrypoint.TopicUserOperationEvent) {
			event, err := entrypoint.ParseUserOperationEvent(log)
			if err != nil {
				w.t.Fatal(err)
			}
			events = append(events, event)
		}
	}
	return receipt, events
}

// revertReason runs a call at the parent of the head and says why it reverts, or "" if it does not.
func (w *world) revertReason(to common.Address, data []byte) string {
	w.t.Helper()
	var ret hexutil.Bytes
	msg := map[string]any{"from": w.bundler(), "to": to, "input": hexutil.Bytes(data), "gas": hexutil.Uint64(params.MaxTxGas)}
	err := w.node.CallContext(w.t.Context(), &ret, "eth_call", msg, "latest")
	if err == nil {
		return ""
	}
	with, ok := errors.AsType[rpc.DataError](err)
	if !ok {
		w.t.Fatal(err)
	}
	text, _ := with.ErrorData().(string)
	return entrypoint.RevertReason(common.FromHex(text))
}

// call is the answer of a contract of the artifact to a method, decoded.
func (w *world) call(artifact string, to common.Address, method string, args ...any) []any {
	w.t.Helper()
	values, err := load(w.t, artifact).ABI.Unpack(method, w.rawCall(to, pack(w.t, artifact, method, args...)))
	if err != nil {
		w.t.Fatal(err)
	}
	return values
}

func (w *world) rawCall(to common.Address, data []byte) []byte {
	w.t.Helper()
	var ret hexutil.Bytes
	msg := map[string]any{"to": to, "input": hexutil.Bytes(data)}
	if err := w.node.CallContext(w.t.Context(), &ret, "eth_call", msg, "latest"); err != nil {
		w.t.Fatal(err)
	}
	return ret
}

func (w *world) nonceOf(v userop.Version, a common.Address) uint256.Int {
	w.t.Helper()
	nonce, err := entrypoint.DecodeUint256(w.rawCall(entrypoint.Canonical(v).Address, entrypoint.EncodeGetNonce(a, uint256.Int{})))
	if err != nil {
		w.t.Fatal(err)
	}
	return nonce
}

// op returns an unsigned operation of the account that counts at the Counter.
func (w *world) op(v userop.Version, sender common.Address) *userop.UserOperation {
	w.t.Helper()
	data := pack(w.t, "shared/BLSAccount.json", "execute", w.chain.Contracts().Counter, new(big.Int), pack(w.t, "shared/Counter.json", "count"))
	return &userop.UserOperation{
		Version: v, Sender: sender, Nonce: w.nonceOf(v, sender), CallData: data,
		CallGasLimit: 100_000, VerificationGasLimit: 800_000, PreVerificationGas: 250_000,
		MaxFeePerGas: *uint256.NewInt(20 * params.GWei), MaxPriorityFeePerGas: *uint256.NewInt(params.GWei),
	}
}

func (w *world) domain(v userop.Version) aggregator.BLSDomain {
	return aggregator.BLSDomain{
		Aggregator: w.chain.Contracts().BLSAggregators[v], EntryPoint: entrypoint.Canonical(v).Address, ChainID: w.chain.ChainID(),
	}
}

// signed signs for the version's aggregator.
func (w *world) signed(op *userop.UserOperation, key bls.SecretKey) *userop.UserOperation {
	return w.signedFor(w.domain(op.Version), op, key)
}

func (w *world) signedFor(d aggregator.BLSDomain, op *userop.UserOperation, key bls.SecretKey) *userop.UserOperation {
	s := key.Sign(d.Message(op, key.PublicKey())).Bytes()
	op.Signature = s[:]
	return op
}

// signedAlone signs in the way that the account checks by itself.
func (w *world) signedAlone(op *userop.UserOperation, key bls.SecretKey) *userop.UserOperation {
	hash := op.Hash(entrypoint.Canonical(op.Version).Address, w.chain.ChainID(), common.Address{})
	s := key.Sign(hash).Bytes()
	op.Signature = append([]byte{1}, s[:]...)
	return op
}

// creating makes the operation create its account.
func creating(a account, op *userop.UserOperation) *userop.UserOperation {
	op.Factory, op.FactoryData = &a.factory, a.factoryData
	return op
}

// signedOps returns one signed operation of each account.
func (w *world) signedOps(list []account) []*userop.UserOperation {
	w.t.Helper()
	ops := make([]*userop.UserOperation, len(list))
	for i, a := range list {
		op := w.op(a.version, a.address)
		if len(w.code(a.address)) == 0 {
			creating(a, op)
		}
		ops[i] = w.signed(op, a.key)
	}
	return ops
}

// simpleOps returns operations of n SimpleAccounts, signed by ECDSA. The accounts are created and funded.
func (w *world) simpleOps(v userop.Version, n int) []*userop.UserOperation {
	w.t.Helper()
	owner := crypto.PubkeyToAddress(w.chain.Keys()[1].PublicKey)
	factory := w.chain.Contracts().AccountFactories[v]
	name := fmt.Sprintf("v%v/SimpleAccountFactory.json", v)
	creations := make([]*userop.UserOperation, 0, n)
	for i := range n {
		salt := big.NewInt(int64(1000 + i))
		address := w.call(name, factory, "getAddress", owner, salt)[0].(common.Address)
		w.post(&address, ether(), nil, 100_000)
		op := w.op(v, address)
		op.Factory, op.FactoryData = &factory, pack(w.t, name, "createAccount", owner, salt)
		creations = append(creations, w.signedSimple(op))
	}
	w.mine()
	if n == 0 {
		return nil
	}
	w.sendBundle(v, entrypoint.EncodeHandleOps(v, creations, w.bundler()))
	return w.resigned(creations)
}

// resigned returns the next operations of the same SimpleAccounts.
func (w *world) resigned(ops []*userop.UserOperation) []*userop.UserOperation {
	w.t.Helper()
	next := make([]*userop.UserOperation, len(ops))
	for i, op := range ops {
		next[i] = w.signedSimple(w.op(op.Version, op.Sender))
	}
	return next
}

// signedSimple signs as the SimpleAccount of the operation's version asks.
func (w *world) signedSimple(op *userop.UserOperation) *userop.UserOperation {
	w.t.Helper()
	hash := op.Hash(entrypoint.Canonical(op.Version).Address, w.chain.ChainID(), common.Address{})
	digest := hash[:]
	if op.Version < userop.V08 {
		digest = accounts.TextHash(digest)
	}
	signature, err := crypto.Sign(digest, w.chain.Keys()[1])
	if err != nil {
		w.t.Fatal(err)
	}
	signature[64] += 27
	op.Signature = signature
	return op
}

func ether() *big.Int { return big.NewInt(params.Ether) }

// native and asked are the two ways to serve the version's aggregator.
func (w *world) native(v userop.Version) *aggregator.BLS {
	return aggregator.NewBLS(w.domain(v), aggregator.BLSGas(), w.node)
}

func (w *world) asked(v userop.Version) *aggregator.Contract {
	return aggregator.NewContract(w.chain.Contracts().BLSAggregators[v], v, aggregator.BLSGas(), w.node)
}

// bundled returns the operations as they stand in a bundle.
func bundled(ops []*userop.UserOperation) []*userop.UserOperation {
	list := make([]*userop.UserOperation, len(ops))
	for i, op := range ops {
		list[i] = aggregator.Bundled(op, nil)
	}
	return list
}

// group returns the operations as a group of the aggregator.
func (w *world) group(a aggregator.Aggregator, ops []*userop.UserOperation) entrypoint.OpsPerAggregator {
	w.t.Helper()
	signature, err := a.AggregateSignatures(w.t.Context(), w.block(), ops)
	if err != nil {
		w.t.Fatal(err)
	}
	return entrypoint.OpsPerAggregator{Ops: bundled(ops), Aggregator: a.Address(), Signature: signature}
}

func (w *world) encode(v userop.Version, groups ...entrypoint.OpsPerAggregator) []byte {
	return entrypoint.EncodeHandleAggregatedOps(v, groups, w.bundler())
}

// wantSuccess checks that the operations were executed, in order.
func (w *world) wantSuccess(events []entrypoint.UserOperationEvent, ops ...*userop.UserOperation) {
	w.t.Helper()
	if len(events) != len(ops) {
		w.t.Fatalf("have %d operations executed, want %d", len(events), len(ops))
	}
	for i, op := range ops {
		if events[i].Sender != op.Sender || !events[i].Success {
			w.t.Errorf("operation %d: have %v, success %t; want %v and true", i, events[i].Sender, events[i].Success, op.Sender)
		}
	}
}

// used is the sum of what the operations paid gas for.
func used(events []entrypoint.UserOperationEvent) uint64 {
	var sum uint64
	for _, e := range events {
		sum += e.ActualGasUsed.Uint64()
	}
	return sum
}

func clone(op *userop.UserOperation) *userop.UserOperation {
	c := *op
	c.Signature = bytes.Clone(op.Signature)
	return &c
}
