package estimation

import (
	"crypto/ecdsa"
	"maps"
	"math/big"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/evm"
	"baler/gas"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/holiman/uint256"
)

// harness is an estimator at work on a live chain, and what is needed to send what it estimated.
type harness struct {
	t         testing.TB
	chain     *devchain.Chain
	eth       *ethclient.Client
	contracts devchain.Contracts
	estimator *Estimator
	validator *validation.Validator
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	return newHarnessWith(t, nil)
}

// newHarnessWith adds accounts to the chain's first block.
func newHarnessWith(t testing.TB, more types.GenesisAlloc) *harness {
	t.Helper()
	alloc := maps.Clone(more)
	if alloc == nil {
		alloc = make(types.GenesisAlloc)
	}
	for _, v := range []userop.Version{userop.V06, userop.V07} {
		alloc[chargingPaymaster(v)] = types.Account{Balance: new(big.Int), Nonce: 1, Code: chargingPaymasterCode(v)}
	}
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: alloc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Errorf("close the chain: %v", err)
		}
	})
	eth, err := ethclient.Dial(chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eth.Close)
	source := evm.NewSource(eth.Client(), evm.ChainConfigFor(chain.ChainID()), evm.Options{})
	return &harness{t: t, chain: chain, eth: eth, contracts: chain.Contracts(), estimator: New(source, Config{MaxCallGas: 3_000_000}), validator: validation.New(source, validation.Config{Unsafe: true})}
}

// on is the harness for a subtest.
func (h *harness) on(t testing.TB) *harness {
	sub := *h
	sub.t = t
	return &sub
}

// chargingPaymaster is the address of a paymaster of our own that wants its postOp called. v0.7 to v0.9 share one.
func chargingPaymaster(v userop.Version) common.Address {
	if v.Packed() {
		return common.HexToAddress("0xc0ffee0000000000000000000000000000000007")
	}
	return common.HexToAddress("0xc0ffee0000000000000000000000000000000006")
}

// chargingPaymasterCode accepts every operation with a context of one byte, and writes two fresh slots in postOp.
func chargingPaymasterCode(v userop.Version) []byte {
	var zero uint256.Int
	selector := entrypoint.EncodePostOp(v, 0, nil, &zero, &zero)[:4]
	op := func(codes ...vm.OpCode) (b []byte) {
		for _, c := range codes {
			b = append(b, byte(c))
		}
		return b
	}
	push := func(b ...byte) []byte { return append([]byte{byte(vm.PUSH1) + byte(len(b)-1)}, b...) }
	store := func(at, value byte) []byte {
		return append(append(push(value), push(at)...), byte(vm.MSTORE))
	}
	var code []byte
	add := func(parts ...[]byte) {
		for _, p := range parts {
			code = append(code, p...)
		}
	}
	add(push(0), op(vm.CALLDATALOAD), push(0xe0), op(vm.SHR), push(selector...), op(vm.EQ))
	jump := len(code) + 1
	add(push(0), op(vm.JUMPI))
	add(store(0, 0x40), store(0x40, 1), push(0x80), push(0), op(vm.RETURN)) // (offset, validation data, length, context)
	code[jump] = byte(len(code))
	add(op(vm.JUMPDEST), push(1), op(vm.GAS, vm.SSTORE), push(1), op(vm.GAS, vm.SSTORE, vm.STOP))
	return code
}

func (h *harness) artifact(name string) *artifacts.Artifact {
	h.t.Helper()
	a, err := artifacts.Load(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *harness) pack(name, method string, args ...any) []byte {
	h.t.Helper()
	data, err := h.artifact(name).ABI.Pack(method, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

// view calls a contract at the latest block.
func (h *harness) view(to common.Address, data []byte) []byte {
	h.t.Helper()
	ret, err := h.eth.CallContract(h.t.Context(), ethereum.CallMsg{To: &to, Data: data}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return ret
}

func entryPoint(v userop.Version) entrypoint.EntryPoint { return entrypoint.Canonical(v) }

func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// account is a smart account and the key that signs for it.
type account struct {
	version     userop.Version
	key         *ecdsa.PrivateKey
	address     common.Address
	factory     *common.Address
	factoryData []byte
	delegate    *common.Address // an EIP-7702 account
	deployed    bool
	nonce       uint64
}

// account returns a SimpleAccount that is not deployed yet.
func (h *harness) account(v userop.Version, salt int64) *account {
	h.t.Helper()
	key := devchain.Key(3)
	factory := h.contracts.AccountFactories[v]
	name := "v" + v.String() + "/SimpleAccountFactory.json"
	args := []any{addressOf(key), big.NewInt(salt)}
	return &account{
		version: v, key: key, factory: &factory,
		address:     common.BytesToAddress(h.view(factory, h.pack(name, "getAddress", args...))),
		factoryData: h.pack(name, "createAccount", args...),
	}
}

// delegated returns an EIP-7702 account whose key has not been used yet.
func (h *harness) delegated(v userop.Version, seed string) *account {
	h.t.Helper()
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte(seed + v.String())))
	if err != nil {
		h.t.Fatal(err)
	}
	delegate := h.contracts.Simple7702Accounts[v]
	a := &account{version: v, key: key, address: addressOf(key), delegate: &delegate}
	if v >= userop.V08 {
		a.factory = &userop.EIP7702Marker
	}
	return a
}

// op returns an operation of the account as a wallet would send it for an estimation: no limits, no valid signature.
func (h *harness) op(a *account, callData []byte) *userop.UserOperation {
	h.t.Helper()
	op := &userop.UserOperation{
		Version: a.version, Sender: a.address, CallData: callData, Nonce: *uint256.NewInt(a.nonce),
		MaxFeePerGas: *uint256.NewInt(20e9), MaxPriorityFeePerGas: *uint256.NewInt(2e9),
		Signature: dummySignature(),
	}
	if !a.deployed {
		op.Factory, op.FactoryData = a.factory, a.factoryData
	}
	if a.delegate != nil && !a.deployed {
		auth, err := types.SignSetCode(a.key, types.SetCodeAuthorization{
			ChainID: *uint256.NewInt(h.chain.ChainID()), Address: *a.delegate, Nonce: 0,
		})
		if err != nil {
			h.t.Fatal(err)
		}
		op.Authorization = &auth
	}
	return op
}

// execute is the account's own method to call a contract.
func (h *harness) execute(to common.Address, value int64, data []byte) []byte {
	return h.pack("v0.7/SimpleAccount.json", "execute", to, big.NewInt(value), data)
}

func (h *harness) count() []byte {
	return h.execute(h.contracts.Counter, 0, h.pack("shared/Counter.json", "count"))
}

// sponsor lets the verifying paymaster pay; it is signed by complete.
func (h *harness) sponsor(op *userop.UserOperation) {
	paymaster := h.contracts.Paymasters[op.Version]
	op.Paymaster = &paymaster
	op.PaymasterData = append(make([]byte, 64), dummySignature()...)
}

// complete returns the operation with the estimated limits, signed.
func (h *harness) complete(a *account, asked *userop.UserOperation, e *Estimate) *userop.UserOperation {
	h.t.Helper()
	op := *asked
	op.PreVerificationGas, op.VerificationGasLimit, op.CallGasLimit = e.PreVerificationGas, e.VerificationGasLimit, e.CallGasLimit
	op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = e.PaymasterVerificationGasLimit, e.PaymasterPostOpGasLimit
	h.sign(a, &op)
	return &op
}

func (h *harness) sign(a *account, op *userop.UserOperation) {
	h.t.Helper()
	if op.Paymaster != nil && *op.Paymaster == h.contracts.Paymasters[op.Version] {
		name := "shared/VerifyingPaymaster.json"
		if op.Version <= userop.V07 {
			name = "v" + op.Version.String() + "/VerifyingPaymaster.json"
		}
		selector := h.artifact(name).ABI.Methods["getHash"].ID
		hash := h.view(*op.Paymaster, op.AppendABI(append(append([]byte{}, selector...), append(word(0x60), make([]byte, 64)...)...)))
		op.PaymasterData = append(make([]byte, 64), h.signature(h.contracts.PaymasterSigner, accounts.TextHash(hash))...)
	}
	hash := op.Hash(entryPoint(op.Version).Address, h.chain.ChainID(), op.Delegate())
	if op.Version >= userop.V08 || a.delegate != nil { // these accounts take the hash as it is, the older ones by EIP-191
		op.Signature = h.signature(a.key, hash[:])
		return
	}
	op.Signature = h.signature(a.key, accounts.TextHash(hash[:]))
}

func word(v byte) []byte { return append(make([]byte, 31), v) }

func (h *harness) signature(key *ecdsa.PrivateKey, digest []byte) []byte {
	h.t.Helper()
	signature, err := crypto.Sign(digest, key)
	if err != nil {
		h.t.Fatal(err)
	}
	signature[64] += 27
	return signature
}

// transact mines one transaction of a funded key and returns its receipt.
func (h *harness) transact(key *ecdsa.PrivateKey, tx types.TxData) *types.Receipt {
	h.t.Helper()
	signed := types.MustSignNewTx(key, types.LatestSignerForChainID(new(big.Int).SetUint64(h.chain.ChainID())), tx)
	if err := h.eth.SendTransaction(h.t.Context(), signed); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.chain.Mine(h.t.Context(), 1); err != nil {
		h.t.Fatal(err)
	}
	receipt, err := h.eth.TransactionReceipt(h.t.Context(), signed.Hash())
	if err != nil {
		h.t.Fatal(err)
	}
	return receipt
}

func (h *harness) nonce(key *ecdsa.PrivateKey) uint64 {
	h.t.Helper()
	nonce, err := h.eth.PendingNonceAt(h.t.Context(), addressOf(key))
	if err != nil {
		h.t.Fatal(err)
	}
	return nonce
}

// pay sends ether.
func (h *harness) pay(to common.Address, wei *big.Int, data []byte) {
	h.t.Helper()
	h.call(devchain.Key(1), to, wei, data)
}

// call calls a contract in a transaction that must succeed.
func (h *harness) call(key *ecdsa.PrivateKey, to common.Address, wei *big.Int, data []byte) {
	h.t.Helper()
	receipt := h.transact(key, &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(h.chain.ChainID()), Nonce: h.nonce(key), To: &to, Value: wei, Data: data, Gas: 200_000,
		GasFeeCap: big.NewInt(100e9), GasTipCap: big.NewInt(1e9),
	})
	if receipt.Status != types.ReceiptStatusSuccessful {
		h.t.Fatalf("transaction to %s failed", to)
	}
}

// bundle mines a bundle of the one operation and returns its event and the transaction's gas used. The transaction has
// the gas limit of package gas for a bundle that was not measured.
func (h *harness) bundle(op *userop.UserOperation) (entrypoint.UserOperationEvent, uint64) {
	h.t.Helper()
	events, used := h.bundleOf(gas.Bundle{Ops: []*userop.UserOperation{op}})
	return events[0], used
}

// bundleOf mines a bundle that package gas gives its gas limit.
func (h *harness) bundleOf(bundle gas.Bundle) (events []entrypoint.UserOperationEvent, gasUsed uint64) {
	h.t.Helper()
	key := devchain.Key(1)
	ep := entryPoint(bundle.Ops[0].Version)
	data := entrypoint.EncodeHandleOps(ep.Version, bundle.Ops, addressOf(key))
	bundle.Tokens = gas.DataTokens(data)
	var auths []types.SetCodeAuthorization
	for _, op := range bundle.Ops {
		if op.Authorization != nil {
			auths = append(auths, *op.Authorization)
		}
	}
	bundle.Authorizations = uint64(len(auths))
	limit, err := bundle.GasLimit()
	if err != nil {
		h.t.Fatal(err)
	}
	var tx types.TxData = &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(h.chain.ChainID()), Nonce: h.nonce(key), To: &ep.Address, Data: data, Gas: limit,
		GasFeeCap: big.NewInt(100e9), GasTipCap: big.NewInt(1e9),
	}
	if len(auths) > 0 {
		tx = &types.SetCodeTx{
			ChainID: uint256.NewInt(h.chain.ChainID()), Nonce: h.nonce(key), To: ep.Address, Data: data, Gas: limit,
			GasFeeCap: uint256.NewInt(100e9), GasTipCap: uint256.NewInt(1e9), AuthList: auths,
		}
	}
	receipt := h.transact(key, tx)
	if receipt.Status != types.ReceiptStatusSuccessful {
		parent := new(big.Int).Sub(receipt.BlockNumber, big.NewInt(1))
		_, err := h.eth.CallContract(h.t.Context(), ethereum.CallMsg{From: addressOf(key), To: &ep.Address, Data: data, Gas: limit}, parent)
		h.t.Fatalf("the bundle reverted: %v", err)
	}
	for _, log := range receipt.Logs {
		if event, err := entrypoint.ParseUserOperationEvent(log); err == nil {
			events = append(events, event)
		}
	}
	if len(events) != len(bundle.Ops) {
		h.t.Fatalf("have %d UserOperationEvents, want %d", len(events), len(bundle.Ops))
	}
	return events, receipt.GasUsed
}

func (h *harness) estimate(op *userop.UserOperation, overrides evm.Overrides) (*Estimate, error) {
	given := userop.Given{Signature: true, MaxFeePerGas: true, MaxPriorityFeePerGas: true}
	given.CallGasLimit = op.CallGasLimit != 0
	given.VerificationGasLimit = op.VerificationGasLimit != 0
	return h.estimator.EstimateUserOperationGas(h.t.Context(), h.chain.Head(), entryPoint(op.Version), op, given, overrides)
}

func (h *harness) mustEstimate(op *userop.UserOperation) *Estimate {
	h.t.Helper()
	e, err := h.estimate(op, nil)
	if err != nil {
		h.t.Fatalf("estimate: %v", err)
	}
	return e
}

// works runs a complete operation locally, at the head, with a sender that has to pay now.
func (h *harness) works(op *userop.UserOperation) bool {
	h.t.Helper()
	prepared, err := h.estimator.prepare(h.t.Context(), h.chain.Head(), entryPoint(op.Version), op, nil, h.estimator.quote(entryPoint(op.Version), op))
	if err != nil {
		h.t.Fatal(err)
	}
	b := bench{
		ctx: h.t.Context(), view: h.estimator.source.View(h.chain.Head()), entryPoint: entryPoint(op.Version),
		beneficiary: h.estimator.cfg.Beneficiary, options: evm.RunOptions{Overrides: prepared, Origin: h.estimator.cfg.Beneficiary},
	}
	out, err := b.execute(op)
	if err != nil {
		h.t.Fatal(err)
	}
	return out.succeeded()
}
