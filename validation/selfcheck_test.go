package validation_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// plainNode has only methods of the eth namespace, less those it is told to lack, as filtering providers have.
type plainNode struct {
	evm.Node
	mu      sync.Mutex
	lacks   []string
	debug   bool // it has the debug namespace too
	spoil   map[string]func(answer string) string
	failing error
	asked   map[string]int
}

func newPlainNode(inner evm.Node, lacks ...string) *plainNode {
	return &plainNode{Node: inner, lacks: lacks, asked: make(map[string]int)}
}

type methodNotFound struct{ method string }

func (e methodNotFound) Error() string {
	return "the method " + e.method + " does not exist/is not available"
}
func (e methodNotFound) ErrorCode() int { return -32601 }

func (n *plainNode) refuse(method string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[method]++
	if !n.debug && !strings.HasPrefix(method, "eth_") || slices.Contains(n.lacks, method) {
		return methodNotFound{method}
	}
	return nil
}

func (n *plainNode) CallContext(ctx context.Context, result any, method string, args ...any) error {
	if err := n.refuse(method); err != nil {
		return err
	}
	if n.failing != nil {
		return n.failing
	}
	spoil := n.spoil[method]
	if spoil == nil {
		return n.Node.CallContext(ctx, result, method, args...)
	}
	var raw json.RawMessage
	if err := n.Node.CallContext(ctx, &raw, method, args...); err != nil {
		return err
	}
	return json.Unmarshal([]byte(spoil(string(raw))), result)
}

func (n *plainNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	var allowed []rpc.BatchElem
	var at []int
	for i := range batch {
		if batch[i].Error = n.refuse(batch[i].Method); batch[i].Error == nil {
			allowed, at = append(allowed, batch[i]), append(at, i)
		}
	}
	if len(allowed) == 0 {
		return nil
	}
	err := n.Node.BatchCallContext(ctx, allowed)
	for i, elem := range allowed {
		batch[at[i]].Error = elem.Error
	}
	return err
}

// checked returns a validator over the node that compares every operation, and where its disagreements go.
func (f *fixture) checked(node evm.Node, chain *params.ChainConfig, cfg validation.Config) (*validation.Validator, *[]validation.Disagreement) {
	var found []validation.Disagreement
	cfg.SampleEvery = 1
	cfg.OnDisagreement = func(d validation.Disagreement) { found = append(found, d) }
	return validation.New(evm.NewSource(node, chain, evm.Options{}), cfg), &found
}

// Whatever operation is validated, the node says the same of it: return data, gas and logs where it has eth_simulateV1.
func TestSelfCheckAgreesWithTheNode(t *testing.T) {
	f := newFixture(t, validation.Config{})
	for name, lacks := range map[string][]string{
		"eth_simulateV1": nil, "eth_call": {"eth_simulateV1"}, "bare": {"eth_simulateV1", "eth_createAccessList"},
	} {
		t.Run(name, func(t *testing.T) {
			node := newPlainNode(f.node, lacks...)
			v, found := f.checked(node, f.chain.ChainConfig(), validation.Config{})
			for i, version := range userop.Versions() {
				salt := uint64(len(name)*100 + i)
				fresh, plain := f.account(version, salt), f.deployed(version, salt+50)
				f.fund(fresh.address)
				failing := f.op(plain)
				failing.CallData = selector("noSuchFunction()")
				for _, op := range []*userop.UserOperation{
					f.sign(creating(fresh, f.op(fresh))), f.sign(f.op(plain)), f.sign(f.sponsored(f.op(plain), 0, 0)), f.sign(failing),
				} {
					if _, err := v.Validate(t.Context(), f.head(), entrypoint.Canonical(version), op, validation.Options{}); err != nil {
						t.Errorf("%v: %v", version, err)
					}
				}
			}
			key := f.chain.Keys()[9]
			op := f.signHash(f.delegated(userop.V08, key), key)
			if _, err := v.Validate(t.Context(), f.head(), entrypoint.Canonical(userop.V08), op, validation.Options{}); err != nil {
				t.Errorf("delegated: %v", err)
			}
			for _, d := range *found {
				t.Errorf("have a disagreement: %v", d)
			}
			if want := map[bool]int{true: 17, false: 1}[len(lacks) == 0]; node.asked["eth_simulateV1"] != want {
				t.Errorf("have %v: want %d times eth_simulateV1", node.asked, want)
			}
		})
	}
}

// A node whose rules are others, or that lies, is found out by the first operation, and by one in so many later.
func TestSelfCheckFindsDifferences(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	ep := entrypoint.Canonical(userop.V07)
	op := f.sign(f.op(a))
	validate := func(v *validation.Validator) {
		t.Helper()
		if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("another fork", func(t *testing.T) {
		old := *f.chain.ChainConfig()
		old.PragueTime, old.OsakaTime, old.BPO1Time, old.BPO2Time = nil, nil, nil, nil // no EIP-7623, for one
		op := f.op(a)
		op.PreVerificationGas = 400_000
		long := make([]byte, 3_000)
		for i := range long {
			long[i] = 1
		}
		op.CallData = append(append(selector("noSuchFunction()"), long...), long...)
		f.sign(op)
		v, found := f.checked(f.node, &old, validation.Config{})
		if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
		if len(*found) != 1 || (*found)[0].What != "gas used" {
			t.Errorf("have %v, want one disagreement over gas", *found)
		}
	})
	replacing := func(old, text string) func(string) string {
		return func(answer string) string { return strings.Replace(answer, old, text, 1) }
	}
	logOf := `"topics":["` + entrypoint.TopicBeforeExecution.Hex()
	for name, c := range map[string]struct {
		lacks, method string
		spoil         func(string) string
		what          string
	}{
		"nothing":          {"", "eth_simulateV1", replacing("", ""), ""},
		"outcome":          {"", "eth_simulateV1", replacing(`"status":"0x1"`, `"status":"0x0"`), "outcome"},
		"return data":      {"", "eth_simulateV1", replacing(`"returnData":"0x"`, `"returnData":"0x01"`), "return data"},
		"gas":              {"", "eth_simulateV1", moreGas, "gas used"},
		"logs":             {"", "eth_simulateV1", replacing(logOf[:len(logOf)-1], logOf[:len(logOf)-2]+"0"), "logs"},
		"eth_call's data":  {"eth_simulateV1", "eth_call", replacing(`"0x"`, `"0x01"`), "return data"},
		"eth_call, honest": {"eth_simulateV1", "eth_call", replacing("", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			node := newPlainNode(f.node, c.lacks)
			node.spoil = map[string]func(string) string{c.method: c.spoil}
			v, found := f.checked(node, f.chain.ChainConfig(), validation.Config{})
			validate(v)
			if c.what == "" {
				if len(*found) != 0 {
					t.Errorf("have %v, want none", *found)
				}
				return
			}
			if len(*found) != 1 || (*found)[0].What != c.what {
				t.Fatalf("have %v, want %q", *found, c.what)
			}
			d := (*found)[0]
			hash := op.Hash(ep.Address, f.chain.ChainID(), op.Delegate())
			if d.BlockHash != f.head().Hash() || d.EntryPoint != ep.Address || len(d.Ops) != 1 || d.Ops[0] != hash || d.Local == d.Node {
				t.Errorf("have %+v, want the block, the EntryPoint, the operation and both values", d)
			}
		})
	}
	t.Run("the node fails", func(t *testing.T) {
		node := newPlainNode(f.node)
		node.failing = errors.New("connection reset")
		v, found := f.checked(node, f.chain.ChainConfig(), validation.Config{SampleEvery: 1_000_000})
		validate(v)
		node.failing = nil
		f.mine()
		other := f.op(a)
		other.CallGasLimit++
		if _, err := v.Validate(t.Context(), f.head(), ep, f.sign(other), validation.Options{}); err != nil {
			t.Fatal(err)
		}
		if len(*found) != 0 || node.asked["eth_simulateV1"] != 2 {
			t.Errorf("have %v after %d comparisons, want the first one made up for", *found, node.asked["eth_simulateV1"])
		}
	})
}

// moreGas makes the call in an answer of eth_simulateV1 use more gas.
func moreGas(answer string) string {
	before, after, _ := strings.Cut(answer, `"calls":[`)
	return before + `"calls":[` + strings.Replace(after, `"gasUsed":"0x`, `"gasUsed":"0x1`, 1)
}

// On disagreement, validation becomes the node's tracer's, for this operation too, if that is wanted.
func TestDisagreementSwitchesToTracing(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	ep := entrypoint.Canonical(userop.V07)
	for _, tracing := range []validation.Tracing{validation.TracingNever, validation.TracingFallback} {
		op := f.sign(f.op(a))
		node := newPlainNode(f.node)
		node.debug = true
		node.spoil = map[string]func(string) string{"eth_simulateV1": func(s string) string {
			return strings.Replace(s, `"returnData":"0x"`, `"returnData":"0x01"`, 1)
		}}
		v, found := f.checked(node, f.chain.ChainConfig(), validation.Config{Tracing: tracing})
		if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
		want := tracing == validation.TracingFallback
		if len(*found) != 1 || v.Tracing() != want || (node.asked["debug_traceCall"] == 1) != want {
			t.Errorf("mode %d: have %d disagreements, tracing %t, %v", tracing, len(*found), v.Tracing(), node.asked)
		}
		if _, err := v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V07, op)); err != nil {
			t.Errorf("mode %d: bundle: %v", tracing, err)
		}
	}
}
