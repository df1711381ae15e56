package erc7562_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// sample is what geth answers for an operation of v0.7 with factory and paymaster; the paymaster reads the time, and reads
// and writes storage of another contract. Long calldata is cut.
func sample(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "trace.json"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// record replays a frame and those within it as one entity's.
func record(tracer *erc7562.Tracer, entity erc7562.Entity, c *erc7562.Call) {
	tracer.Enter(entity, byte(c.Type), c.From, c.To, c.Input, c.Value)
	tracer.Observe(c, func(common.Address) bool { return true })
	for _, inner := range c.Calls {
		record(tracer, entity, inner)
	}
	tracer.Exit(c.Err)
}

func TestDecodeTrace(t *testing.T) {
	root, err := erc7562.DecodeTrace(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if root.Type != vm.CALL || root.To != common.HexToAddress("0x0000000071727De22E5E9d8BAf0edAc6f37da032") || root.Err != nil || len(root.Keccak) == 0 {
		t.Errorf("have %v of %s, error %v, %d preimages; want the call of the EntryPoint", root.Type, root.To, root.Err, len(root.Keccak))
	}
	// createSender, validateUserOp, validatePaymasterUserOp, innerHandleOp, and the payment to the beneficiary.
	if len(root.Calls) != 5 {
		t.Fatalf("have %d calls of the EntryPoint, want 5", len(root.Calls))
	}
	validation := root.Calls[2]
	tracer := new(erc7562.Tracer)
	tracer.Reset(nil, validation.To)
	record(tracer, erc7562.Paymaster, validation)
	subject := subjectOf(account)
	subject.Paymaster = erc7562.Party{Address: validation.To}
	var rules []string
	for _, v := range erc7562.Judge(&tracer.Record, subject).Verdicts {
		rules = append(rules, string(v.Rule))
	}
	// The sender's hash counts only for the operation's sender, which account is not.
	if want := []string{"OP-011", "STO-033", "STO-033"}; !slices.Equal(rules, want) {
		t.Errorf("have %v, want %v", rules, want)
	}
}

// An answer that lacks what the rules need must not pass for a validation that did nothing.
func TestDecodeTraceWantsEverything(t *testing.T) {
	complete := string(sample(t))
	for name, text := range map[string]string{
		"nothing":               ``,
		"null":                  `null`,
		"a string":              `"0x"`,
		"an empty object":       `{}`,
		"callTracer's":          `{"type":"CALL","from":"0x0000000000000000000000000000000000000000","gas":"0x1","gasUsed":"0x1","input":"0x"}`,
		"no accessedSlots":      strings.Replace(complete, `"accessedSlots"`, `"slots"`, 2),
		"no usedOpcodes":        strings.Replace(complete, `"usedOpcodes"`, `"opcodes"`, 3),
		"no contractSize":       strings.Replace(complete, `"contractSize": {`, `"sizes": {`, 1),
		"an opcode over a byte": strings.Replace(complete, `"usedOpcodes": {`, `"usedOpcodes": {"0x100": 1,`, 1),
		"an unknown frame type": strings.Replace(complete, `"type": "CALL"`, `"type": "JUMP7"`, 1),
		"a null frame":          strings.Replace(complete, `"calls": [`, `"calls": [null,`, 1),
		"too deep":              deep(1_100),
	} {
		t.Run(name, func(t *testing.T) {
			if call, err := erc7562.DecodeTrace([]byte(text)); !errors.Is(err, erc7562.ErrTrace) {
				t.Errorf("have %v and error %v, want %v", call, err, erc7562.ErrTrace)
			}
		})
	}
}

// deep nests empty frames.
func deep(n int) string {
	const frame = `{"type":"CALL","from":"0x0000000000000000000000000000000000000000","gas":"0x1","gasUsed":"0x1","input":"0x",` +
		`"accessedSlots":{},"usedOpcodes":{},"contractSize":{},"calls":[`
	return strings.Repeat(frame, n) + strings.Repeat("]}", n)
}

// Whatever a node answers, it is an error or a record that can be judged.
func FuzzDecodeTrace(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte(deep(3)))
	f.Add([]byte(`{"type":"CREATE2","from":"0x00000000000000000000000000000000000000aa","gas":"0x1","gasUsed":"0x1","input":"0x","value":"0x1",` +
		`"error":"out of gas","outOfGas":true,"accessedSlots":{"reads":null,"writes":{"0x0000000000000000000000000000000000000000000000000000000000000001":1}},` +
		`"extCodeAccessInfo":["0x00000000000000000000000000000000000000bb"],"usedOpcodes":{"0x5a":1,"0xfe":2},` +
		`"contractSize":{"0x00000000000000000000000000000000000000bb":{"contractSize":23,"opcode":59}},"keccak":["0x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := erc7562.DecodeTrace(data)
		if err != nil {
			if !errors.Is(err, erc7562.ErrTrace) {
				t.Fatalf("have %v, want it to wrap %v", err, erc7562.ErrTrace)
			}
			return
		}
		tracer := new(erc7562.Tracer)
		tracer.Reset(nil, root.From, root.To)
		record(tracer, erc7562.Sender, root)
		tracer.Hashed(root.Keccak)
		if tracer.Open() {
			t.Fatal("a frame is open after the replay")
		}
		root.Delegations()
		root.Slots()
		for _, v := range erc7562.Judge(&tracer.Record, subjectOf(root.To)).Verdicts {
			if v.Rule == "" || v.Detail == "" || v.Entity == erc7562.NoEntity {
				t.Errorf("have an incomplete verdict %+v", v)
			}
		}
	})
}
