package entrypoint_test

import (
	"bytes"
	"math"
	"math/big"
	"testing"

	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	corevm "github.com/ethereum/go-ethereum/core/vm"
)

// world is an EVM with one real EntryPoint at its canonical address.
type world struct {
	t        rapid.TB
	ep       entrypoint.EntryPoint
	artifact *artifacts.Artifact
	state    *state.StateDB
	chainID  uint64
	block    uint64
	time     uint64
	baseFee  *big.Int

	calls []call // what the EntryPoint and its SenderCreator called in the last transaction
	logs  []*types.Log
}

type call struct {
	from, to common.Address
	input    []byte
}

// deployer is the deterministic deployer: salt ++ init code in, CREATE2.
var deployer = common.HexToAddress("0x4e59b44847b379578588920cA78FbF26c0B4956C")

// salts are those with which the EntryPoints were published; v0.9 exists as runtime code only.
var salts = map[userop.Version]common.Hash{
	userop.V06: {},
	userop.V07: common.HexToHash("0x90d8084deab30c2a37c45e8d47f49f2f7965183cb6990a98943ef94940681de3"),
	userop.V08: common.HexToHash("0x0a59dbff790c23c976a548690c27297883cc66b4c67024f9117b0238995e35e9"),
}

// eoa is who sends the transactions; it has no code.
var eoa = common.HexToAddress("0xe0a")

func load(t rapid.TB, v userop.Version, name string) *artifacts.Artifact {
	t.Helper()
	a, err := artifacts.Load("v" + v.String() + "/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newWorld(t rapid.TB, v userop.Version) *world {
	t.Helper()
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, ep: entrypoint.Canonical(v), artifact: load(t, v, "EntryPoint"), state: db,
		chainID: 1337, block: 1000, time: 1_800_000_000, baseFee: big.NewInt(7),
	}
	db.AddBalance(eoa, new(uint256.Int).Lsh(uint256.NewInt(1), 200), tracing.BalanceChangeUnspecified)
	salt, created := salts[v]
	if !created {
		w.setCode(w.ep.Address, w.artifact.DeployedBytecode)
		w.setCode(entrypoint.SenderCreator(v), load(t, v, "SenderCreator").DeployedBytecode)
		return w
	}
	w.setCode(deployer, common.FromHex("0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"))
	ret, err := w.call(deployer, append(salt.Bytes(), w.artifact.Bytecode...), nil)
	if err != nil {
		t.Fatalf("create EntryPoint v%v: %v", v, err)
	}
	if !bytes.Equal(ret, w.ep.Address[:]) {
		t.Fatalf("EntryPoint v%v: have address %x, want the canonical %s", v, ret, w.ep.Address)
	}
	return w
}

func (w *world) setCode(a common.Address, code []byte) {
	w.state.SetCode(a, code, tracing.CodeChangeUnspecified)
}

func (w *world) config() *runtime.Config {
	zero := uint64(0)
	chain := &params.ChainConfig{
		ChainID:        new(big.Int).SetUint64(w.chainID),
		HomesteadBlock: new(big.Int), EIP150Block: new(big.Int), EIP155Block: new(big.Int), EIP158Block: new(big.Int),
		ByzantiumBlock: new(big.Int), ConstantinopleBlock: new(big.Int), PetersburgBlock: new(big.Int), IstanbulBlock: new(big.Int),
		MuirGlacierBlock: new(big.Int), BerlinBlock: new(big.Int), LondonBlock: new(big.Int),
		TerminalTotalDifficulty: new(big.Int), ShanghaiTime: &zero, CancunTime: &zero, PragueTime: &zero, OsakaTime: &zero,
		BlobScheduleConfig: params.DefaultBlobSchedule,
	}
	creator := entrypoint.SenderCreator(w.ep.Version)
	return &runtime.Config{
		ChainConfig: chain, Origin: eoa, State: w.state, GasLimit: math.MaxInt64,
		BlockNumber: new(big.Int).SetUint64(w.block), Time: w.time, BaseFee: w.baseFee,
		EVMConfig: corevm.Config{Tracer: &tracing.Hooks{
			OnEnter: func(_ int, _ byte, from, to common.Address, input []byte, _ uint64, _ *big.Int) {
				if from == w.ep.Address || from == creator {
					w.calls = append(w.calls, call{from, to, bytes.Clone(input)})
				}
			},
		}},
	}
}

// call runs a transaction from eoa. After a revert the result is the revert data.
func (w *world) call(to common.Address, data []byte, value *big.Int) ([]byte, error) {
	w.calls = nil
	before := len(w.state.Logs())
	cfg := w.config()
	cfg.Value = value
	ret, _, err := runtime.Call(to, data, cfg)
	w.logs = w.state.Logs()[before:]
	return ret, err
}

// entryPoint calls the EntryPoint, which must not revert.
func (w *world) entryPoint(data []byte, value *big.Int) []byte {
	w.t.Helper()
	ret, err := w.call(w.ep.Address, data, value)
	if err != nil {
		w.t.Fatalf("EntryPoint v%v: %v: %s", w.ep.Version, err, entrypoint.RevertReason(ret))
	}
	return ret
}

// pack encodes a call of the EntryPoint by its ABI.
func (w *world) pack(name string, args ...any) []byte {
	w.t.Helper()
	data, err := w.artifact.ABI.Pack(name, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) deposit(account common.Address) {
	w.t.Helper()
	w.entryPoint(entrypoint.EncodeDepositTo(account), new(big.Int).Lsh(big.NewInt(1), 110))
}

// handle runs handleOps; ok is false after a revert, and ret then the revert data.
func (w *world) handle(ops ...*userop.UserOperation) (ret []byte, ok bool) {
	ret, err := w.call(w.ep.Address, entrypoint.EncodeHandleOps(w.ep.Version, ops, eoa), nil)
	return ret, err == nil
}

// operation returns a plain operation of the world's version, with limits that suffice for the stub contracts below.
func (w *world) operation(sender common.Address) *userop.UserOperation {
	return &userop.UserOperation{
		Version: w.ep.Version, Sender: sender, CallGasLimit: 200_000, VerificationGasLimit: 300_000, PreVerificationGas: 50_000,
		MaxFeePerGas: *uint256.NewInt(100), MaxPriorityFeePerGas: *uint256.NewInt(3), Signature: []byte("signature"),
	}
}

func (w *world) hash(op *userop.UserOperation, delegate common.Address) common.Hash {
	return op.Hash(w.ep.Address, w.chainID, delegate)
}

// answering is the code of a contract that returns the data, whoever calls it.
func answering(data []byte) []byte { return ending(0xf3, data) }

// refusing is the code of a contract that reverts with the data.
func refusing(data []byte) []byte { return ending(0xfd, data) }

func ending(opcode byte, data []byte) []byte {
	n := []byte{0x61, byte(len(data) >> 8), byte(len(data))} // PUSH2 length
	code := append(bytes.Clone(n), 0x60, 14, 0x5f, 0x39)     // PUSH1 offset, PUSH0, CODECOPY
	code = append(code, n...)
	code = append(code, 0x5f, opcode, 0, 0) // PUSH0, RETURN or REVERT
	return append(code, data...)
}

// validating is the code of an account: validateUserOp returns the word; any other call ends with the tail, which
// finds its own calldata in memory.
func validating(v userop.Version, word uint256.Int, tail ...byte) []byte {
	selector := entrypoint.EncodeValidateUserOp(&userop.UserOperation{Version: v}, common.Hash{}, new(uint256.Int))[:4]
	code := []byte{0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63} // PUSH0 CALLDATALOAD PUSH1 224 SHR PUSH4
	code = append(code, selector...)
	code = append(code, 0x14, 0x60, byte(18+len(tail)), 0x57) // EQ PUSH1 to JUMPI
	code = append(code, 0x36, 0x5f, 0x5f, 0x37)               // CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY
	code = append(code, tail...)
	code = append(code, 0x5b, 0x7f) // JUMPDEST PUSH32
	b := word.Bytes32()
	code = append(code, b[:]...)
	return append(code, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3) // PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
}

// Tails for [validating].
var (
	logsCall    = []byte{0x36, 0x5f, 0xa0, 0x00} // CALLDATASIZE PUSH0 LOG0 STOP
	revertsWith = []byte{0x36, 0x5f, 0xfd}       // CALLDATASIZE PUSH0 REVERT
)

// paying is the code of a paymaster: validatePaymasterUserOp returns (context, validationData), any other call (postOp)
// reverts if refuse is set and succeeds otherwise.
func paying(v userop.Version, context []byte, word uint256.Int, refuse bool) []byte {
	b := word.Bytes32()
	answer := append(common.LeftPadBytes([]byte{0x40}, 32), b[:]...)
	answer = append(answer, common.LeftPadBytes([]byte{byte(len(context))}, 32)...)
	answer = append(answer, common.RightPadBytes(context, (len(context)+31)/32*32)...)
	selector := entrypoint.EncodeValidatePaymasterUserOp(&userop.UserOperation{Version: v}, common.Hash{}, new(uint256.Int))[:4]
	code := []byte{0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63}
	code = append(code, selector...)
	code = append(code, 0x14, 0x60, 17, 0x57)
	if refuse {
		code = append(code, 0x5f, 0x5f, 0xfd)
	} else {
		code = append(code, 0x5f, 0x5f, 0xf3)
	}
	n := byte(len(answer))
	code = append(code, 0x5b, 0x60, n, 0x60, 17+1+2+2+1+1+2+1+1, 0x5f, 0x39, 0x60, n, 0x5f, 0xf3)
	return append(code, answer...)
}

// account puts an account with a deposit into the world.
func (w *world) account(a common.Address, word uint256.Int, tail ...byte) {
	w.t.Helper()
	w.setCode(a, validating(w.ep.Version, word, tail...))
	w.deposit(a)
}

// eachVersion runs the test in a world of every version.
func eachVersion(t *testing.T, test func(t *testing.T, w *world)) {
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) { test(t, newWorld(t, v)) })
	}
}

func TestSenderCreators(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		v := w.ep.Version
		creator := entrypoint.SenderCreator(v)
		if w.state.GetCodeSize(creator) == 0 {
			t.Fatalf("no code at %s", creator)
		}
		if v <= userop.V07 { // later ones can be asked
			if want := crypto.CreateAddress(w.ep.Address, 1); creator != want {
				t.Errorf("have %s, want %s", creator, want)
			}
			return
		}
		if have := common.BytesToAddress(w.entryPoint(w.pack("senderCreator"), nil)); have != creator {
			t.Errorf("have %s, the EntryPoint says %s", creator, have)
		}
	})
}
