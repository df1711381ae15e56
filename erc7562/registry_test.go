package erc7562_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"baler/erc7562"
)

// functions returns the names of the package's functions, and of methods as Type.Method and as Method.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			names[f.Name.Name] = true
			if f.Recv == nil {
				continue
			}
			if receiver, ok := f.Recv.List[0].Type.(*ast.Ident); ok {
				names[receiver.Name+"."+f.Name.Name] = true
			}
		}
	}
	return names
}

// Each rule is named once, and what is said to enforce it exists.
func TestRulesAreEnforcedSomewhere(t *testing.T) {
	names, seen := functions(t), make(map[erc7562.Rule]bool)
	form := regexp.MustCompile(`^[A-Z]+-\d{3}$`)
	for _, rule := range erc7562.Rules() {
		if seen[rule.ID] || !form.MatchString(string(rule.ID)) || rule.Title == "" {
			t.Errorf("rule %q: have it twice, badly formed or without title", rule.ID)
		}
		seen[rule.ID] = true
		if rule.Where == "-" {
			continue
		}
		for where := range strings.SplitSeq(rule.Where, ", ") {
			if info, err := os.Stat(filepath.Join("..", where)); !names[where] && (err != nil || !info.IsDir()) {
				t.Errorf("rule %s: have %q, which is no function here and no package", rule.ID, where)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("have %d rules, want all of the ERC", len(seen))
	}
}
