package devchain

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"math/big"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// flatOp and packedOp are the operation as the EntryPoint v0.6 and the later ones take it.
type flatOp struct {
	Sender               common.Address
	Nonce                *big.Int
	InitCode             []byte
	CallData             []byte
	CallGasLimit         *big.Int
	VerificationGasLimit *big.Int
	PreVerificationGas   *big.Int
	MaxFeePerGas         *big.Int
	MaxPriorityFeePerGas *big.Int
	PaymasterAndData     []byte
	Signature            []byte
}

type packedOp struct {
	Sender             common.Address
	Nonce              *big.Int
	InitCode           []byte
	CallData           []byte
	AccountGasLimits   [32]byte
	PreVerificationGas *big.Int
	GasFees            [32]byte
	PaymasterAndData   []byte
	Signature          []byte
}

// testOp is an operation of any version with gas limits large enough for all tests.
type testOp struct {
	version          userop.Version
	sender           common.Address
	nonce            uint64
	initCode         []byte
	callData         []byte
	paymasterAndData []byte
	signature        []byte
}

func halves(high, low int64) (out [32]byte) {
	binary.BigEndian.PutUint64(out[8:16], uint64(high))
	binary.BigEndian.PutUint64(out[24:32], uint64(low))
	return out
}

// abiValue is the operation as the contract's ABI takes it.
func (op testOp) abiValue() any {
	nonce := new(big.Int).SetUint64(op.nonce)
	if op.version == userop.V06 {
		return flatOp{
			op.sender, nonce, op.initCode, op.callData, big.NewInt(200_000), big.NewInt(400_000), big.NewInt(60_000),
			gwei(50), gwei(1), op.paymasterAndData, op.signature,
		}
	}
	return packedOp{
		op.sender, nonce, op.initCode, op.callData, halves(400_000, 200_000), big.NewInt(60_000),
		halves(gwei(1).Int64(), gwei(50).Int64()), op.paymasterAndData, op.signature,
	}
}

// sponsor lets the version's paymaster pay.
func (c *testChain) sponsor(op testOp) testOp {
	c.t.Helper()
	name := "shared/VerifyingPaymaster.json"
	if op.version <= userop.V07 {
		name = artifactName(op.version, "VerifyingPaymaster")
	}
	paymaster := c.Contracts().Paymasters[op.version]
	op.paymasterAndData = paymaster.Bytes()
	if op.version.Packed() {
		gas := halves(100_000, 0)
		op.paymasterAndData = append(op.paymasterAndData, gas[:]...)
	}
	// No time limits, and room for the signature: the v0.6 hash covers the offsets of the encoding, hence this length.
	op.paymasterAndData = append(op.paymasterAndData, make([]byte, 64+65)...)
	hash := c.call(name, paymaster, "getHash", op.abiValue(), new(big.Int), new(big.Int))[0].([32]byte)
	copy(op.paymasterAndData[len(op.paymasterAndData)-65:], signText(c.t, c.Contracts().PaymasterSigner, hash))
	return op
}

// signed signs the operation as the SimpleAccount of its version wants it.
func (c *testChain) signed(op testOp, owner *ecdsa.PrivateKey) testOp {
	c.t.Helper()
	hash := c.call(artifactName(op.version, "EntryPoint"), c.Contracts().EntryPoints[op.version], "getUserOpHash", op.abiValue())[0].([32]byte)
	op.signature = signHash(c.t, owner, hash)
	if op.version <= userop.V07 {
		op.signature = signText(c.t, owner, hash)
	}
	return op
}

func signHash(t *testing.T, key *ecdsa.PrivateKey, hash [32]byte) []byte {
	t.Helper()
	sig, err := crypto.Sign(hash[:], key)
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += 27
	return sig
}

func signText(t *testing.T, key *ecdsa.PrivateKey, hash [32]byte) []byte {
	t.Helper()
	return signHash(t, key, [32]byte(accounts.TextHash(hash[:])))
}

// handleOps mines the operations in one transaction of key 0 and returns its receipt.
func (c *testChain) handleOps(v userop.Version, auth []types.SetCodeAuthorization, ops ...testOp) *types.Receipt {
	c.t.Helper()
	a := c.artifact(artifactName(v, "EntryPoint"))
	values := make([]packedOp, 0, len(ops))
	flat := make([]flatOp, 0, len(ops))
	for _, op := range ops {
		switch x := op.abiValue().(type) {
		case packedOp:
			values = append(values, x)
		case flatOp:
			flat = append(flat, x)
		}
	}
	var list any = values
	if !v.Packed() {
		list = flat
	}
	data, err := a.ABI.Pack("handleOps", list, addressOf(Key(0)))
	if err != nil {
		c.t.Fatal(err)
	}
	nonce, err := c.eth.PendingNonceAt(c.t.Context(), addressOf(Key(0)))
	if err != nil {
		c.t.Fatal(err)
	}
	hash := c.send(tx{key: Key(0), nonce: nonce, to: c.Contracts().EntryPoints[v], data: data, gas: 3_000_000, auth: auth})
	c.mine(1)
	receipt := c.receipt(hash)
	if receipt == nil || receipt.Status != types.ReceiptStatusSuccessful {
		c.t.Fatalf("handleOps of v%v: have receipt %+v, want success", v, receipt)
	}
	return receipt
}

// wantSuccess checks that the bundle emitted n UserOperationEvents that all say success.
func (c *testChain) wantSuccess(v userop.Version, receipt *types.Receipt, n int) {
	c.t.Helper()
	event := c.artifact(artifactName(v, "EntryPoint")).ABI.Events["UserOperationEvent"]
	seen := 0
	for _, log := range receipt.Logs {
		if log.Address != c.Contracts().EntryPoints[v] || log.Topics[0] != event.ID {
			continue
		}
		seen++
		fields, err := event.Inputs.NonIndexed().Unpack(log.Data)
		if err != nil {
			c.t.Fatal(err)
		}
		if success := fields[1].(bool); !success {
			c.t.Errorf("v%v: operation %d failed", v, seen)
		}
	}
	if seen != n {
		c.t.Errorf("v%v: have %d UserOperationEvents, want %d", v, seen, n)
	}
}

// account is the address the version's factory gives to the owner's account, and the initCode that makes it.
func (c *testChain) account(v userop.Version, owner common.Address, salt int64) (common.Address, []byte) {
	c.t.Helper()
	name := artifactName(v, "SimpleAccountFactory")
	factory := c.Contracts().AccountFactories[v]
	sender := c.call(name, factory, "getAddress", owner, big.NewInt(salt))[0].(common.Address)
	create, err := c.artifact(name).ABI.Pack("createAccount", owner, big.NewInt(salt))
	if err != nil {
		c.t.Fatal(err)
	}
	return sender, append(factory.Bytes(), create...)
}

// countCall is the callData of an account that calls Counter.count().
func (c *testChain) countCall(v userop.Version) []byte {
	c.t.Helper()
	count, err := c.artifact("shared/Counter.json").ABI.Pack("count")
	if err != nil {
		c.t.Fatal(err)
	}
	data, err := c.artifact(artifactName(v, "SimpleAccount")).ABI.Pack("execute", c.Contracts().Counter, new(big.Int), count)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c *testChain) counted(who common.Address) int64 {
	c.t.Helper()
	return c.call("shared/Counter.json", c.Contracts().Counter, "counters", who)[0].(*big.Int).Int64()
}

// TestEntryPointsAnswerAtTheirCanonicalAddresses calls each EntryPoint for what depends on its immutables.
func TestEntryPointsAnswerAtTheirCanonicalAddresses(t *testing.T) {
	for _, chainID := range []uint64{DefaultChainID, 1, 777} {
		c := startChain(t, Config{ChainID: chainID, Mining: Manual})
		for _, v := range userop.Versions() {
			name, at := artifactName(v, "EntryPoint"), entrypoint.Canonical(v).Address
			if have := c.Contracts().EntryPoints[v]; have != at {
				t.Errorf("v%v: have EntryPoint at %v, want %v", v, have, at)
			}
			op := testOp{version: v, sender: common.HexToAddress("0xabcd"), nonce: 7, callData: []byte{1, 2, 3}}
			hash := common.Hash(c.call(name, at, "getUserOpHash", op.abiValue())[0].([32]byte))
			other := op
			other.nonce++
			if next := common.Hash(c.call(name, at, "getUserOpHash", other.abiValue())[0].([32]byte)); next == hash || hash == (common.Hash{}) {
				t.Errorf("v%v: hashes of two operations: %v and %v", v, hash, next)
			}
			if v >= userop.V08 {
				domain := common.Hash(c.call(name, at, "getDomainSeparatorV4")[0].([32]byte))
				if want := domainSeparator(chainID, at); domain != want {
					t.Errorf("v%v on chain %d: have domain separator %v, want %v", v, chainID, domain, want)
				}
				creator := c.call(name, at, "senderCreator")[0].(common.Address)
				if want := entrypoint.SenderCreator(v); creator != want {
					t.Errorf("v%v: have sender creator %v, want %v", v, creator, want)
				}
			}
			if v >= userop.V07 {
				erc165 := [4]byte{0x01, 0xff, 0xc9, 0xa7}
				if ok := c.call(name, at, "supportsInterface", erc165)[0].(bool); !ok {
					t.Errorf("v%v: supportsInterface(ERC-165) is false", v)
				}
			}
			if code, err := c.eth.CodeAt(t.Context(), entrypoint.SenderCreator(v), nil); err != nil || len(code) == 0 {
				t.Errorf("v%v: sender creator: have %d bytes of code (%v)", v, len(code), err)
			}
		}
	}
}

// domainSeparator is EIP-712's, with ERC-4337's name and version, computed by hand.
func domainSeparator(chainID uint64, contract common.Address) common.Hash {
	kind := crypto.Keccak256([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"))
	id := uint256.NewInt(chainID).Bytes32()
	return crypto.Keccak256Hash(kind, crypto.Keccak256([]byte("ERC4337")), crypto.Keccak256([]byte("1")), id[:], common.LeftPadBytes(contract.Bytes(), 32))
}

// TestRuntimeCodeIsThePublishedOne compares the v0.7 and v0.8 code that creation gave with the runtime code in npm.
// Immutables differ by chain; all other bytes must be the same.
func TestRuntimeCodeIsThePublishedOne(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	for _, v := range []userop.Version{userop.V06, userop.V07, userop.V08, userop.V09} {
		code, err := c.eth.CodeAt(t.Context(), c.Contracts().EntryPoints[v], nil)
		if err != nil {
			t.Fatal(err)
		}
		published := c.artifact(artifactName(v, "EntryPoint")).DeployedBytecode
		if len(code) != len(published) {
			t.Errorf("v%v: have %d bytes of code, want %d", v, len(code), len(published))
			continue
		}
		// An immutable is a zeroed 32-byte operand in the published code.
		for i := range code {
			if code[i] != published[i] && published[i] != 0 {
				t.Errorf("v%v: code differs at byte %d", v, i)
				break
			}
		}
	}
}

// TestFactoriesDeployAccounts sends each version's first and second operation of a new account: deployment paid by the
// paymaster, then a call paid by the account itself.
func TestFactoriesDeployAccounts(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	owner := Key(3)
	for _, v := range userop.Versions() {
		sender, initCode := c.account(v, addressOf(owner), 5)
		deposit := func(who common.Address) *big.Int {
			return c.call(artifactName(v, "EntryPoint"), c.Contracts().EntryPoints[v], "balanceOf", who)[0].(*big.Int)
		}
		before := deposit(c.Contracts().Paymasters[v])
		if want := ether(paymasterDeposit); before.Cmp(want) != 0 {
			t.Errorf("v%v: paymaster: have deposit %v, want %v", v, before, want)
		}

		first := c.signed(c.sponsor(testOp{version: v, sender: sender, initCode: initCode, callData: c.countCall(v)}), owner)
		c.wantSuccess(v, c.handleOps(v, nil, first), 1)
		if have := c.counted(sender); have != 1 {
			t.Errorf("v%v: after the first operation: have count %d, want 1", v, have)
		}
		if after := deposit(c.Contracts().Paymasters[v]); after.Cmp(before) >= 0 {
			t.Errorf("v%v: the paymaster paid nothing: %v before, %v after", v, before, after)
		}

		nonce, err := c.eth.PendingNonceAt(t.Context(), addressOf(Key(1)))
		if err != nil {
			t.Fatal(err)
		}
		c.send(tx{key: Key(1), nonce: nonce, to: sender, value: ether(1), gas: 60_000})
		c.mine(1)
		second := c.signed(testOp{version: v, sender: sender, nonce: 1, callData: c.countCall(v)}, owner)
		c.wantSuccess(v, c.handleOps(v, nil, second), 1)
		if have := c.counted(sender); have != 2 {
			t.Errorf("v%v: after the second operation: have count %d, want 2", v, have)
		}
	}
}

// TestPaymasterRefusesAForeignSignature: the v0.8 and v0.9 paymasters are our own Solidity; a signature by someone else
// must fail the operation (AA34), as with the published ones.
func TestPaymasterRefusesAForeignSignature(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	for _, v := range userop.Versions() {
		sender, initCode := c.account(v, addressOf(Key(3)), 6)
		op := c.sponsor(testOp{version: v, sender: sender, initCode: initCode, callData: c.countCall(v)})
		op.paymasterAndData = bytes.Clone(op.paymasterAndData)
		at := len(op.paymasterAndData) - 65
		copy(op.paymasterAndData[at:], signText(t, Key(9), common.Hash{1}))
		op = c.signed(op, Key(3))
		var list any = []any{op.abiValue()}
		switch x := op.abiValue().(type) {
		case flatOp:
			list = []flatOp{x}
		case packedOp:
			list = []packedOp{x}
		}
		_, err := c.tryCall(artifactName(v, "EntryPoint"), c.Contracts().EntryPoints[v], "handleOps", list, addressOf(Key(0)))
		if reason := revertText(err); !bytes.Contains(reason, []byte("AA34 signature error")) {
			t.Errorf("v%v: have revert %q, want AA34 signature error", v, reason)
		}
	}
}

// revertText is the raw revert data of a failed eth_call.
func revertText(err error) []byte {
	var answer rpc.DataError
	if !errors.As(err, &answer) {
		return nil
	}
	text, _ := answer.ErrorData().(string)
	return common.FromHex(text)
}

// TestDelegatedAccounts runs an operation of an EIP-7702 account for each version that has an implementation; the
// authorisation travels in the same transaction.
func TestDelegatedAccounts(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	for i, v := range []userop.Version{userop.V07, userop.V08, userop.V09} {
		owner := Key(5 + i)
		auth, err := types.SignSetCode(owner, types.SetCodeAuthorization{
			ChainID: *uint256.NewInt(c.ChainID()), Address: c.Contracts().Simple7702Accounts[v],
		})
		if err != nil {
			t.Fatal(err)
		}
		op := testOp{version: v, sender: addressOf(owner), callData: c.countCall(v)}
		hash := c.call(artifactName(v, "EntryPoint"), c.Contracts().EntryPoints[v], "getUserOpHash", op.abiValue())[0].([32]byte)
		op.signature = signHash(t, owner, hash)
		c.wantSuccess(v, c.handleOps(v, []types.SetCodeAuthorization{auth}, op), 1)
		if have := c.counted(op.sender); have != 1 {
			t.Errorf("v%v: have count %d, want 1", v, have)
		}
	}
}

// TestHelpersStandWhereContractsSay calls the contracts around the EntryPoints once each.
func TestHelpersStandWhereContractsSay(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	at := c.Contracts()
	if want := common.HexToAddress("0xcA11bde05977b3631167028862bE2a173976CA11"); at.Multicall3 != want {
		t.Errorf("Multicall3: have %v, want %v", at.Multicall3, want)
	}
	balance := c.call("shared/Multicall3.json", at.Multicall3, "getEthBalance", addressOf(Key(9)))[0].(*big.Int)
	if want := ether(keyBalance); balance.Cmp(want) != 0 {
		t.Errorf("Multicall3.getEthBalance of key 9: have %v, want %v", balance, want)
	}
	_, err := c.tryCall("shared/Counter.json", at.Counter, "fail", "out of order")
	if err == nil || !bytes.Contains(revertText(err), []byte("out of order")) {
		t.Errorf("Counter.fail: have %v, want a revert with its reason", err)
	}
	// The addresses that viem 2 and permissionless.js have built in.
	for name, pair := range map[string][2]common.Address{
		"v0.6 factory":      {at.AccountFactories[userop.V06], common.HexToAddress("0x9406Cc6185a346906296840746125a0E44976454")},
		"v0.7 factory":      {at.AccountFactories[userop.V07], common.HexToAddress("0x91E60e0613810449d098b0b5Ec8b51A0FE8c8985")},
		"v0.8 factory":      {at.AccountFactories[userop.V08], common.HexToAddress("0x13E9ed32155810FDbd067D4522C492D6f68E5944")},
		"v0.8 7702 account": {at.Simple7702Accounts[userop.V08], common.HexToAddress("0xe6Cae83BdE06E4c305530e199D7217f42808555B")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: have %v, want %v", name, pair[0], pair[1])
		}
	}
	// The deterministic deployer, with code that returns its own first byte as runtime code.
	init := common.FromHex("0x600160005360016000f3")
	hash := c.send(tx{key: Key(0), to: at.Deployer, data: append(make([]byte, 32), init...), gas: 200_000})
	c.mine(1)
	made := crypto.CreateAddress2(at.Deployer, [32]byte{}, crypto.Keccak256(init))
	code, err := c.eth.CodeAt(t.Context(), made, nil)
	if err != nil || !bytes.Equal(code, []byte{1}) || c.receipt(hash).Status != 1 {
		t.Errorf("deterministic deployer: have code %x (%v), want 01", code, err)
	}
}

// TestTokenPaymasterIsPaidInTokens runs an operation whose gas the sender pays in the paymaster's own token.
func TestTokenPaymasterIsPaidInTokens(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	const v = userop.V07
	name, paymaster := "v0.7/LegacyTokenPaymaster.json", c.Contracts().TokenPaymaster
	sender, initCode := c.account(v, addressOf(Key(3)), 1)
	mint, err := c.artifact(name).ABI.Pack("mintTokens", sender, ether(1000))
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := c.eth.PendingNonceAt(t.Context(), addressOf(OwnerKey()))
	if err != nil {
		t.Fatal(err)
	}
	c.send(tx{key: OwnerKey(), nonce: nonce, to: paymaster, data: mint, gas: 100_000})
	c.mine(1)

	gas := halves(100_000, 60_000)
	op := testOp{version: v, sender: sender, initCode: initCode, callData: c.countCall(v)}
	op.paymasterAndData = append(paymaster.Bytes(), gas[:]...)
	c.wantSuccess(v, c.handleOps(v, nil, c.signed(op, Key(3))), 1)
	if left := c.call(name, paymaster, "balanceOf", sender)[0].(*big.Int); left.Cmp(ether(1000)) >= 0 || left.Sign() <= 0 {
		t.Errorf("have %v tokens left, want less than were minted", left)
	}
}
