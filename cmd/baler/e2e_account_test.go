package main

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"testing"

	"baler/aggregator/bls"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// account is a SimpleAccount of one EntryPoint, or a key that delegates to one by EIP-7702.
type account struct {
	w       *world
	ep      entrypoint.EntryPoint
	owner   *ecdsa.PrivateKey
	address common.Address
	factory common.Address // zero: the account is there
	nonce   uint64         // of the next operation, key 0
	rawSign bool           // the hash itself is signed, whatever the version

	bls        *bls.SecretKey // nil: owner signs
	signsAlone bool           // with bls, and not for its aggregator

	program *[]byte // what a RuleAccount does in place of checking a signature; nil: it is none
}

// newOwner returns a key that no account of the test has yet.
func (w *world) newOwner(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	w.mu.Lock()
	n := w.next
	w.next++
	w.mu.Unlock()
	key, err := crypto.ToECDSA(crypto.Keccak256(fmt.Appendf(nil, "account %d of a test", n)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAccounts returns accounts with 10 ETH each, not deployed yet.
func (w *world) newAccounts(t *testing.T, v userop.Version, n int) []*account {
	t.Helper()
	list := make([]*account, n)
	var last common.Hash
	for i := range list {
		list[i] = w.counterfactual(t, v)
		last = w.pay(t, list[i].address, ether(10), nil)
	}
	w.awaitTransaction(t, last)
	return list
}

// counterfactual is an account that has neither code nor money.
func (w *world) counterfactual(t *testing.T, v userop.Version) *account {
	t.Helper()
	a := &account{w: w, ep: entrypoint.Canonical(v), owner: w.newOwner(t), factory: w.chain.Contracts().AccountFactories[v]}
	answer := w.read(t, a.factory, pack(t, "v0.8/SimpleAccountFactory.json", "getAddress", addressOf(a.owner), new(big.Int)))
	a.address = common.BytesToAddress(answer)
	return a
}

// deployedAccounts returns accounts with 10 ETH each, deployed without the bundler.
func (w *world) deployedAccounts(t *testing.T, v userop.Version, n int) []*account {
	t.Helper()
	list := make([]*account, n)
	hashes := make([]common.Hash, n)
	for i := range list {
		a := w.counterfactual(t, v)
		data := a.createAccount(t)
		if v >= userop.V08 { // these factories answer their SenderCreator only
			hashes[i] = w.deployBySelf(t, a)
		} else {
			hashes[i] = w.pay(t, a.factory, new(big.Int), data)
		}
		w.pay(t, a.address, ether(10), nil)
		a.factory = common.Address{}
		list[i] = a
	}
	if len(hashes) > 0 {
		w.awaitTransaction(t, w.pay(t, addressOf(w.funds), new(big.Int), nil))
	}
	for i, hash := range hashes {
		receipt, err := w.eth.TransactionReceipt(t.Context(), hash)
		if err != nil || receipt.Status != types.ReceiptStatusSuccessful {
			t.Fatalf("account %d is not deployed: %v", i, err)
		}
		list[i].nonce = w.chainNonce(t, list[i])
	}
	return list
}

// deployBySelf deploys an account by an operation in a bundle of the funding key's own.
func (w *world) deployBySelf(t *testing.T, a *account) common.Hash {
	t.Helper()
	w.pay(t, a.address, ether(1), nil)
	op := a.op(t, nil)
	return w.pay(t, a.ep.Address, new(big.Int), entrypoint.EncodeHandleOps(a.ep.Version, []*userop.UserOperation{op}, addressOf(w.funds)))
}

// chainNonce is the account's next nonce of key 0, as the EntryPoint has it.
func (w *world) chainNonce(t *testing.T, a *account) uint64 {
	t.Helper()
	nonce, err := entrypoint.DecodeUint256(w.read(t, a.ep.Address, entrypoint.EncodeGetNonce(a.address, uint256.Int{})))
	if err != nil {
		t.Fatal(err)
	}
	return nonce.Uint64()
}

// pack encodes a call of an artifact's contract.
func pack(t *testing.T, artifact, method string, args ...any) []byte {
	t.Helper()
	contract, err := artifacts.Load(artifact)
	if err != nil {
		t.Fatal(err)
	}
	data, err := contract.ABI.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (a *account) createAccount(t *testing.T) []byte {
	t.Helper()
	return pack(t, "v0.8/SimpleAccountFactory.json", "createAccount", addressOf(a.owner), new(big.Int))
}

// execute is the account's call of another contract; its form is the same in all versions.
func execute(t *testing.T, to common.Address, wei *big.Int, data []byte) []byte {
	t.Helper()
	return pack(t, "v0.8/SimpleAccount.json", "execute", to, wei, data)
}

// count is a call of the counter, which leaves an event.
func (w *world) count(t *testing.T) []byte {
	t.Helper()
	return execute(t, w.chain.Contracts().Counter, new(big.Int), pack(t, "shared/Counter.json", "count"))
}

// fail is a call that reverts with the reason.
func (w *world) fail(t *testing.T, reason string) []byte {
	t.Helper()
	return execute(t, w.chain.Contracts().Counter, new(big.Int), pack(t, "shared/Counter.json", "fail", reason))
}

// change alters an operation before it is signed.
type change func(*userop.UserOperation)

// op returns the account's next operation, signed, with limits and fees that are more than enough.
func (a *account) op(t *testing.T, callData []byte, changes ...change) *userop.UserOperation {
	t.Helper()
	op := &userop.UserOperation{
		Version: a.ep.Version, Sender: a.address, Nonce: *uint256.NewInt(a.nonce), CallData: callData,
		CallGasLimit: 200_000, VerificationGasLimit: 150_000, PreVerificationGas: 120_000,
		MaxFeePerGas: *uint256.MustFromBig(gwei(50)), MaxPriorityFeePerGas: *uint256.MustFromBig(gwei(2)),
	}
	if a.factory != (common.Address{}) {
		op.Factory, op.FactoryData = new(a.factory), a.createAccount(t)
		op.VerificationGasLimit = 450_000
	}
	for _, apply := range changes {
		apply(op)
	}
	a.sign(t, op)
	return op
}

// sign signs the operation anew, for its paymaster too.
func (a *account) sign(t *testing.T, op *userop.UserOperation) {
	t.Helper()
	if op.Paymaster != nil && *op.Paymaster == a.w.chain.Contracts().Paymasters[a.ep.Version] {
		name := "getHash((address,uint256,bytes,bytes,uint256,uint256,uint256,uint256,uint256,bytes,bytes),uint48,uint48)"
		if op.Version.Packed() {
			name = "getHash((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes),uint48,uint48)"
		}
		head := crypto.Keccak256([]byte(name))[:4]
		head = append(head, common.LeftPadBytes([]byte{0x60}, 32)...)
		head = append(head, op.PaymasterData[:64]...) // validUntil, validAfter
		hash := a.w.read(t, *op.Paymaster, op.AppendABI(head))
		copy(op.PaymasterData[64:], signature(t, a.w.chain.Contracts().PaymasterSigner, accounts.TextHash(hash)))
	}
	if a.program != nil {
		op.Signature = *a.program
		return
	}
	if a.bls != nil {
		a.signByBLS(t, op)
		return
	}
	hash := a.hash(t, op)
	digest := hash[:]
	if op.Version < userop.V08 && !a.rawSign {
		digest = accounts.TextHash(digest)
	}
	op.Signature = signature(t, a.owner, digest)
}

// hash is the operation's. Its delegate is in its own tuple, or else in its account's code.
func (a *account) hash(t *testing.T, op *userop.UserOperation) common.Hash {
	t.Helper()
	delegate := op.Delegate()
	if op.IsEIP7702() && op.Authorization == nil {
		delegate = a.w.delegateOf(t, op)
	}
	return op.Hash(a.ep.Address, a.w.chain.ChainID(), delegate)
}

func signature(t *testing.T, key *ecdsa.PrivateKey, digest []byte) []byte {
	t.Helper()
	s, err := crypto.Sign(digest, key)
	if err != nil {
		t.Fatal(err)
	}
	s[64] += 27
	return s
}

// sponsored lets the verifying paymaster pay, from validAfter to validUntil (0: for ever).
func (a *account) sponsored(validUntil, validAfter uint64) change {
	return func(op *userop.UserOperation) {
		op.Paymaster = new(a.w.chain.Contracts().Paymasters[a.ep.Version])
		op.PaymasterData = make([]byte, 64+65)
		uint256.NewInt(validUntil).PutUint256(op.PaymasterData[:32])
		uint256.NewInt(validAfter).PutUint256(op.PaymasterData[32:64])
		if a.ep.Version.Packed() {
			op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 100_000, 20_000
		} else {
			op.VerificationGasLimit = min(3*op.VerificationGasLimit, 450_000)
		}
	}
}

// fees sets an operation's fees, in gwei.
func fees(maxFee, maxPriority int64) change {
	return func(op *userop.UserOperation) {
		op.MaxFeePerGas = *uint256.MustFromBig(gwei(maxFee))
		op.MaxPriorityFeePerGas = *uint256.MustFromBig(gwei(maxPriority))
	}
}

// nonce sets an operation's nonce.
func nonce(key, sequence uint64) change {
	return func(op *userop.UserOperation) {
		op.Nonce = *new(uint256.Int).Lsh(uint256.NewInt(key), 64)
		op.Nonce.AddUint64(&op.Nonce, sequence)
	}
}

// send sends an operation that must be accepted under its own hash, and moves on to the next nonce.
func (a *account) send(t *testing.T, op *userop.UserOperation) common.Hash {
	t.Helper()
	var have common.Hash
	a.w.call(t, &have, "eth_sendUserOperation", op, a.ep.Address)
	want := a.w.onChainHash(t, a, op)
	if have != want {
		t.Fatalf("eth_sendUserOperation: have hash %s, want %s", have, want)
	}
	if op.Nonce.Eq(uint256.NewInt(a.nonce)) {
		a.nonce++
	}
	return have
}

// onChainHash asks the EntryPoint for the operation's hash. Of an account whose delegation is in the operation only,
// the contract can tell no hash yet.
func (w *world) onChainHash(t *testing.T, a *account, op *userop.UserOperation) common.Hash {
	t.Helper()
	if op.Authorization != nil {
		return a.hash(t, op)
	}
	return common.BytesToHash(w.read(t, a.ep.Address, entrypoint.EncodeGetUserOpHash(op)))
}

// run sends an operation and waits until it is mined. The account is deployed then.
func (a *account) run(t *testing.T, op *userop.UserOperation) *receipt {
	t.Helper()
	r := a.w.awaitReceipt(t, a.send(t, op))
	a.factory = common.Address{}
	return r
}

// refused sends an operation that must be refused.
func (a *account) refused(t *testing.T, op any) refusal {
	t.Helper()
	return a.w.refused(t, "eth_sendUserOperation", op, a.ep.Address)
}

// quantity writes a JSON quantity.
func quantity(n uint64) string { return hexutil.EncodeUint64(n) }
