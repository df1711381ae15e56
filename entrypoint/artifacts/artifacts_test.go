package artifacts

import (
	"errors"
	"io/fs"
	"path"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// TestEveryFileIsAContract: each embedded file parses, is the contract its name says, and carries code.
func TestEveryFileIsAContract(t *testing.T) {
	seen := 0
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		seen++
		a, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		if want := path.Base(name); a.ContractName+".json" != want {
			t.Errorf("%s: have contract %q", name, a.ContractName)
		}
		if len(a.Bytecode)+len(a.DeployedBytecode) == 0 || len(a.ABI.Methods) == 0 || a.Source == "" {
			t.Errorf("%s: have %d bytes of creation code, %d of runtime code, %d methods, source %q; want some of each",
				name, len(a.Bytecode), len(a.DeployedBytecode), len(a.ABI.Methods), a.Source)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("have %d artifacts, want at least 20", seen)
	}
}

func TestLoadAndInitCodeRefuse(t *testing.T) {
	for _, name := range []string{"", "v0.5/EntryPoint.json", "../artifacts.go", "/etc/hosts", "README.md"} {
		if _, err := Load(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("Load(%q): have %v, want ErrUnknown", name, err)
		}
	}
	entryPoint, err := Load("v0.9/EntryPoint.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entryPoint.InitCode(); err == nil {
		t.Error("InitCode of a contract without creation code: have no error")
	}
	factory, err := Load("v0.8/SimpleAccountFactory.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factory.InitCode(); err == nil {
		t.Error("InitCode without the constructor's argument: have no error")
	}
	init, err := factory.InitCode(common.Address{1})
	if err != nil || len(init) != len(factory.Bytecode)+32 {
		t.Errorf("have %d bytes (%v), want creation code and one word", len(init), err)
	}
}
