package validation_test

import (
	"bytes"
	"crypto/ecdsa"
	"math/big"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// fixture is a chain with every EntryPoint, reached over HTTP. Its validator has nothing of the node but eth_ methods.
type fixture struct {
	t     testing.TB
	chain *devchain.Chain
	node  *rpc.Client
	v     *validation.Validator
	owner *ecdsa.PrivateKey
	nonce uint64
}

func newFixture(t testing.TB, cfg validation.Config) *fixture {
	t.Helper()
	return newFixtureWith(t, cfg, nil)
}

// newFixtureWith adds accounts to the chain's first block.
func newFixtureWith(t testing.TB, cfg validation.Config, alloc types.GenesisAlloc) *fixture {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: alloc})
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
	source := evm.NewSource(newPlainNode(node), chain.ChainConfig(), evm.Options{})
	return &fixture{
		t: t, chain: chain, node: node, owner: chain.Keys()[1],
		v: validation.New(source, cfg),
	}
}

// all is the chain with all that its node has, the debug namespace too.
func (f *fixture) all() *evm.Source {
	return evm.NewSource(f.node, f.chain.ChainConfig(), evm.Options{})
}

// send mines a transaction of the first funded key.
func (f *fixture) send(to common.Address, value *big.Int, data []byte, gasLimit uint64) {
	f.t.Helper()
	signer := types.LatestSigner(f.chain.ChainConfig())
	tx := types.MustSignNewTx(f.chain.Keys()[0], signer, &types.DynamicFeeTx{
		ChainID: f.chain.ChainConfig().ChainID, Nonce: f.nonce, To: &to, Value: value, Data: data,
		Gas: gasLimit, GasFeeCap: big.NewInt(100 * params.GWei), GasTipCap: big.NewInt(params.GWei),
	})
	f.nonce++
	f.sendTx(tx)
}

func (f *fixture) sendTx(tx *types.Transaction) {
	f.t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.node.CallContext(f.t.Context(), nil, "eth_sendRawTransaction", hexutil.Bytes(raw)); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.chain.Mine(f.t.Context(), 1); err != nil {
		f.t.Fatal(err)
	}
	var receipt *types.Receipt
	if err := f.node.CallContext(f.t.Context(), &receipt, "eth_getTransactionReceipt", tx.Hash()); err != nil {
		f.t.Fatal(err)
	}
	if receipt == nil || receipt.Status != types.ReceiptStatusSuccessful {
		f.t.Fatalf("transaction %s: have receipt %+v, want success", tx.Hash(), receipt)
	}
}

func (f *fixture) call(to common.Address, data []byte) []byte {
	f.t.Helper()
	var ret hexutil.Bytes
	if err := f.node.CallContext(f.t.Context(), &ret, "eth_call", map[string]any{"to": to, "input": hexutil.Bytes(data)}, "latest"); err != nil {
		f.t.Fatal(err)
	}
	return ret
}

func (f *fixture) head() *types.Header { return f.chain.Head() }

func selector(signature string) []byte { return crypto.Keccak256([]byte(signature))[:4] }

func word(n uint64) []byte { return common.BigToHash(new(big.Int).SetUint64(n)).Bytes() }

func addressWord(a common.Address) []byte { return common.LeftPadBytes(a[:], 32) }

// account is a SimpleAccount of the version with the salt, owned by the fixture's owner.
type account struct {
	entryPoint  entrypoint.EntryPoint
	address     common.Address
	factory     common.Address
	factoryData []byte
}

func (f *fixture) account(v userop.Version, salt uint64) account {
	f.t.Helper()
	owner := crypto.PubkeyToAddress(f.owner.PublicKey)
	arguments := append(addressWord(owner), word(salt)...)
	factory := f.chain.Contracts().AccountFactories[v]
	ret := f.call(factory, append(selector("getAddress(address,uint256)"), arguments...))
	return account{
		entryPoint: entrypoint.Canonical(v), address: common.BytesToAddress(ret), factory: factory,
		factoryData: append(selector("createAccount(address,uint256)"), arguments...),
	}
}

// fund sends 10 ETH to the account.
func (f *fixture) fund(a common.Address) {
	f.t.Helper()
	f.send(a, new(big.Int).Mul(big.NewInt(10), big.NewInt(params.Ether)), nil, 100_000)
}

// deployed returns an account that is funded and created.
func (f *fixture) deployed(v userop.Version, salt uint64) account {
	f.t.Helper()
	a := f.account(v, salt)
	f.fund(a.address)
	switch v {
	case userop.V06, userop.V07:
		f.send(a.factory, nil, a.factoryData, 1_000_000)
	default:
		// From v0.8 on the factory answers only to the SenderCreator: an operation creates the account.
		op := f.op(a)
		op.Factory, op.FactoryData = &a.factory, a.factoryData
		f.sign(op)
		beneficiary := crypto.PubkeyToAddress(f.chain.Keys()[0].PublicKey)
		f.send(a.entryPoint.Address, nil, entrypoint.EncodeHandleOps(v, []*userop.UserOperation{op}, beneficiary), 2_000_000)
	}
	return a
}

// nonceOf returns the account's nonce for key 0 at the EntryPoint.
func (f *fixture) nonceOf(a account) uint256.Int {
	f.t.Helper()
	nonce, err := entrypoint.DecodeUint256(f.call(a.entryPoint.Address, entrypoint.EncodeGetNonce(a.address, uint256.Int{})))
	if err != nil {
		f.t.Fatal(err)
	}
	return nonce
}

// op returns an unsigned operation of the account that transfers 1 wei, with ample limits.
func (f *fixture) op(a account) *userop.UserOperation {
	f.t.Helper()
	to := common.Address{19: 0xaa, 0: 0x11}
	data := bytes.Join([][]byte{
		selector("execute(address,uint256,bytes)"), addressWord(to), word(1), word(96), word(0),
	}, nil)
	return &userop.UserOperation{
		Version: a.entryPoint.Version, Sender: a.address, Nonce: f.nonceOf(a), CallData: data,
		CallGasLimit: 100_000, VerificationGasLimit: 490_000, PreVerificationGas: 100_000,
		MaxFeePerGas: *uint256.NewInt(20 * params.GWei), MaxPriorityFeePerGas: *uint256.NewInt(params.GWei),
	}
}

// creating makes the operation create its account.
func creating(a account, op *userop.UserOperation) *userop.UserOperation {
	op.Factory, op.FactoryData = &a.factory, a.factoryData
	return op
}

// sponsored makes the version's paymaster pay, within a time range.
func (f *fixture) sponsored(op *userop.UserOperation, until, after uint64) *userop.UserOperation {
	f.t.Helper()
	return f.sponsoredWith(op, until, after, 200_000)
}

func (f *fixture) sponsoredWith(op *userop.UserOperation, until, after, limit uint64) *userop.UserOperation {
	f.t.Helper()
	paymaster := f.chain.Contracts().Paymasters[op.Version]
	op.Paymaster = &paymaster
	if op.Version.Packed() {
		op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = limit, 0
	}
	validity := append(word(until), word(after)...)
	op.PaymasterData = append(validity, make([]byte, 65)...)

	arguments := bytes.Join([][]byte{word(96), validity}, nil)
	sig := "getHash((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes),uint48,uint48)"
	if !op.Version.Packed() {
		sig = "getHash((address,uint256,bytes,bytes,uint256,uint256,uint256,uint256,uint256,bytes,bytes),uint48,uint48)"
	}
	hash := f.call(paymaster, op.AppendABI(append(selector(sig), arguments...)))
	op.PaymasterData = append(validity, f.personalSign(f.chain.Contracts().PaymasterSigner, hash)...)
	return op
}

func (f *fixture) personalSign(key *ecdsa.PrivateKey, hash []byte) []byte {
	f.t.Helper()
	return f.rawSign(key, accounts.TextHash(hash))
}

func (f *fixture) rawSign(key *ecdsa.PrivateKey, hash []byte) []byte {
	f.t.Helper()
	sig, err := crypto.Sign(hash, key)
	if err != nil {
		f.t.Fatal(err)
	}
	sig[64] += 27
	return sig
}

// sign signs as SimpleAccount asks: v0.6 and v0.7 a personal signature, later the EIP-712 hash itself.
func (f *fixture) sign(op *userop.UserOperation) *userop.UserOperation {
	return f.signWith(op, f.owner)
}

func (f *fixture) signWith(op *userop.UserOperation, key *ecdsa.PrivateKey) *userop.UserOperation {
	f.t.Helper()
	hash := op.Hash(entrypoint.Canonical(op.Version).Address, f.chain.ChainID(), op.Delegate())
	if op.Version >= userop.V08 {
		op.Signature = f.rawSign(key, hash[:])
	} else {
		op.Signature = f.personalSign(key, hash[:])
	}
	return op
}

// delegated returns an operation of a plain key that delegates itself to the version's account by EIP-7702.
func (f *fixture) delegated(v userop.Version, key *ecdsa.PrivateKey) *userop.UserOperation {
	f.t.Helper()
	sender := crypto.PubkeyToAddress(key.PublicKey)
	a := account{entryPoint: entrypoint.Canonical(v), address: sender}
	op := f.op(a)
	auth, err := types.SignSetCode(key, types.SetCodeAuthorization{
		ChainID: *uint256.NewInt(f.chain.ChainID()),
		Address: f.chain.Contracts().Simple7702Accounts[v],
		Nonce:   f.txCount(sender),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	op.Authorization = &auth
	if v >= userop.V08 {
		marker := userop.EIP7702Marker
		op.Factory = &marker
	}
	return op
}

func (f *fixture) txCount(a common.Address) uint64 {
	f.t.Helper()
	var n hexutil.Uint64
	if err := f.node.CallContext(f.t.Context(), &n, "eth_getTransactionCount", a, "latest"); err != nil {
		f.t.Fatal(err)
	}
	return uint64(n)
}

func (f *fixture) fees() gas.Fees {
	return gas.Fees{MaxFee: *uint256.NewInt(10 * params.GWei), MaxPriority: *uint256.NewInt(params.GWei)}
}

// mine makes an empty block.
func (f *fixture) mine() {
	f.t.Helper()
	if _, err := f.chain.Mine(f.t.Context(), 1); err != nil {
		f.t.Fatal(err)
	}
}

// responsored renews the paymaster's signature after the operation has changed.
func (f *fixture) responsored(op *userop.UserOperation) *userop.UserOperation {
	f.t.Helper()
	limit := op.PaymasterVerificationGasLimit
	validity := op.PaymasterData[:64]
	until, after := new(big.Int).SetBytes(validity[:32]).Uint64(), new(big.Int).SetBytes(validity[32:]).Uint64()
	return f.sponsoredWith(op, until, after, limit)
}

// signHash signs the operation's hash itself, as every version's Simple7702Account asks.
func (f *fixture) signHash(op *userop.UserOperation, key *ecdsa.PrivateKey) *userop.UserOperation {
	f.t.Helper()
	hash := op.Hash(entrypoint.Canonical(op.Version).Address, f.chain.ChainID(), op.Delegate())
	op.Signature = f.rawSign(key, hash[:])
	return op
}
