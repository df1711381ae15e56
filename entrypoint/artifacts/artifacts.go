// Package artifacts holds the compiled contracts that Baler knows: the EntryPoints v0.6 to v0.9 and what a development
// chain puts beside them.
//
// In comes the name of a file of this folder ("v0.8/EntryPoint.json"), out comes its ABI and code. The files are written
// by scripts/contracts.mjs from pinned npm packages (README.md lists them) and embedded in the binary. The package only
// parses them; it never runs or fetches anything.
package artifacts

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

//go:embed v0.6/*.json v0.7/*.json v0.8/*.json v0.9/*.json shared/*.json
var files embed.FS

// ErrUnknown says that no artifact has the asked name.
var ErrUnknown = errors.New("artifacts: no such contract")

// Artifact is one compiled contract. A code that its source does not carry is empty: the EntryPoint v0.9 has no creation
// code, Multicall3 no runtime code.
type Artifact struct {
	ContractName     string        `json:"contractName"`
	Source           string        `json:"source"`
	Bytecode         hexutil.Bytes `json:"bytecode"`
	DeployedBytecode hexutil.Bytes `json:"deployedBytecode"`
	ABI              abi.ABI       `json:"abi"`
}

// Load parses the artifact in the file of that name, relative to this folder. A name that does not exist answers
// [ErrUnknown].
func Load(name string) (*Artifact, error) {
	raw, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: have %q, want a file like \"v0.8/EntryPoint.json\"", ErrUnknown, name)
	}
	var a Artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("artifacts: parse %s: %w", name, err)
	}
	return &a, nil
}

// InitCode returns the creation code followed by the ABI-encoded constructor arguments.
func (a *Artifact) InitCode(args ...any) ([]byte, error) {
	if len(a.Bytecode) == 0 {
		return nil, fmt.Errorf("artifacts: %s of %s has no creation code", a.ContractName, a.Source)
	}
	packed, err := a.ABI.Pack("", args...)
	if err != nil {
		return nil, fmt.Errorf("artifacts: constructor of %s: %w", a.ContractName, err)
	}
	return append(append([]byte{}, a.Bytecode...), packed...), nil
}
