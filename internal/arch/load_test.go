package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "baler"

// pkg is what `go list -json` says of a package, as far as the rules ask.
type pkg struct {
	Dir          string
	ImportPath   string
	Name         string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rel is the package's folder in the module: "pool", "cmd/baler".
func (p pkg) rel() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list runs go list once for all tests. Only packages of the module itself are listed.
var list = sync.OnceValues(func() ([]pkg, error) {
	root := exec.Command("go", "list", "-m", "-f", "{{.Dir}}")
	dir, err := root.Output()
	if err != nil {
		return nil, explain(err)
	}
	cmd := exec.Command("go", "list", "-json", "./...")
	cmd.Dir = strings.TrimSpace(string(dir))
	out, err := cmd.Output()
	if err != nil {
		return nil, explain(err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs, nil
		}
		if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
})

// linked returns the import paths of all packages of the program, as it is built with the flags.
func linked(t *testing.T, flags ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"list", "-deps"}, flags, []string{module + "/cmd/baler"})...).Output()
	if err != nil {
		t.Fatal(explain(err))
	}
	return strings.Fields(string(out))
}

// explain adds what go printed to the error.
func explain(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return errors.Join(err, errors.New(string(exit.Stderr)))
	}
	return err
}

func packages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := list()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list names no package: every rule would hold of nothing")
	}
	return pkgs
}

// named returns the packages whose folders are listed, and fails for one that is not there: its rule would be void.
func named(t *testing.T, pkgs []pkg, folders []string) []pkg {
	t.Helper()
	var found []pkg
	for _, folder := range folders {
		i := slices.IndexFunc(pkgs, func(p pkg) bool { return p.rel() == folder })
		if i < 0 {
			t.Errorf("rule names package %s, which does not exist: the rule applies to nothing", folder)
			continue
		}
		found = append(found, pkgs[i])
	}
	return found
}

// file is a parsed file of a package.
type file struct {
	path string // within the module, for messages
	set  *token.FileSet
	*ast.File
}

func (f file) line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

// parse returns the parsed files with the given names.
func parse(t *testing.T, p pkg, names []string) []file {
	t.Helper()
	files := make([]file, 0, len(names))
	for _, name := range names {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{path: p.rel() + "/" + name, set: set, File: parsed})
	}
	return files
}

// sources are the package's files that are part of the program.
func sources(p pkg) []string { return slices.Concat(p.GoFiles, p.CgoFiles) }

// matches reports whether an import path falls under a rule's pattern, "net" or "net/...".
func matches(pattern, path string) bool {
	prefix, below := strings.CutSuffix(pattern, "/...")
	return path == prefix || below && strings.HasPrefix(path, prefix+"/")
}
