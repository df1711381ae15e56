package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyShellsStartGoroutinesAndReadTheClock(t *testing.T) {
	pkgs := packages(t)
	named(t, pkgs, shells())
	seen := make(map[string]bool) // what kind of use the shells have: the search must find it at all
	for _, p := range pkgs {
		shell := slices.Contains(shells(), p.rel())
		for _, f := range parse(t, p, sources(p)) {
			for _, use := range worldly(f) {
				if shell {
					seen[use.kind] = true
					continue
				}
				t.Errorf("%s:%d: %s in a package that is no shell", f.path, use.line, use.what)
			}
		}
	}
	for _, kind := range []string{"goroutine", "clock"} {
		if !seen[kind] {
			t.Errorf("no shell has a %s: the search finds nothing, or the rule is about nothing", kind)
		}
	}
}

type use struct {
	kind, what string
	line       int
}

// worldly finds what starts goroutines (go statements, Go methods of wait groups and error groups) and uses (calls and function values) of the clock in a file.
func worldly(f file) []use {
	var uses []use
	clock := importName(f, "time")
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			uses = append(uses, use{"goroutine", "go statement", f.line(n)})
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "Go" {
				uses = append(uses, use{"goroutine", "call of a Go method", f.line(n)})
			}
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && clock != "" && id.Name == clock && slices.Contains(clockReads(), n.Sel.Name) {
				uses = append(uses, use{"clock", "time." + n.Sel.Name, f.line(n)})
			}
		}
		return true
	})
	return uses
}

func TestWorldlyFindsGoroutinesAndTheClockUnderAnyName(t *testing.T) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, "sample.go", `package sample

import clock "time"

var d = 3 * clock.Second // no reading

func f(time other, group *sync.WaitGroup) {
	go f()
	group.Go(f)
	x := clock.Now
	time.Sleep()
	clock.Sleep(d)
}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, use := range worldly(file{path: "sample.go", set: set, File: parsed}) {
		have = append(have, fmt.Sprintf("%d %s", use.line, use.what))
	}
	want := []string{"8 go statement", "9 call of a Go method", "10 time.Now", "12 time.Sleep"}
	if !slices.Equal(have, want) {
		t.Errorf("worldly: have %q, want %q", have, want)
	}
}

// importName returns the name a file knows a package of the standard library by, or "" if it does not import it.
func importName(f file, path string) string {
	for _, spec := range f.Imports {
		if got, err := strconv.Unquote(spec.Path.Value); err != nil || got != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return filepath.Base(path)
	}
	return ""
}

func TestEveryRoomExistsAndSaysWhatItIs(t *testing.T) {
	pkgs := packages(t)
	named(t, pkgs, rooms())
	for _, p := range pkgs {
		var comment string
		for _, f := range parse(t, p, sources(p)) {
			if f.Doc == nil {
				continue
			}
			if comment != "" {
				t.Errorf("package %s has two package comments", p.rel())
			}
			comment = f.Doc.Text()
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(comment, want) {
			t.Errorf("package %s: have comment %.40q, want one that begins with %q", p.rel(), comment, want)
		}
	}
}

func TestNamesSayWhatIsInside(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(noNames(), p.Name) || slices.Contains(noNames(), filepath.Base(p.ImportPath)) {
			t.Errorf("package %s: the name says nothing of what is inside", p.rel())
		}
		if p.Name != "main" && p.Name != filepath.Base(p.ImportPath) {
			t.Errorf("package %s is called %s: folder and name must agree", p.rel(), p.Name)
		}
	}
}

func TestFilesHoldOneSubject(t *testing.T) {
	counted := 0
	for _, p := range packages(t) {
		names := slices.Concat(sources(p), p.TestGoFiles, p.XTestGoFiles)
		for _, f := range parse(t, p, names) {
			if ast.IsGenerated(f.File) {
				continue
			}
			counted++
			if lines := f.set.File(f.Pos()).LineCount(); lines > maxLines {
				t.Errorf("%s: have %d lines, want at most %d: it holds more than one subject", f.path, lines, maxLines)
			}
		}
	}
	if counted == 0 {
		t.Error("no file was counted")
	}
}

// TestNoSleepInTests: a test that sleeps is slow when it passes and flaky when it doesn't.
func TestNoSleepInTests(t *testing.T) {
	counted := 0
	for _, p := range packages(t) {
		for _, f := range parse(t, p, slices.Concat(p.TestGoFiles, p.XTestGoFiles)) {
			counted++
			for _, use := range worldly(f) {
				if use.what == "time.Sleep" {
					t.Errorf("%s:%d: wait for what must happen, not for time to pass", f.path, use.line)
				}
			}
		}
	}
	if counted == 0 {
		t.Error("no test file was read")
	}
}

// TestDocumentsPointAtWhatExists: a link in a Markdown file to another file of the repository leads somewhere.
func TestDocumentsPointAtWhatExists(t *testing.T) {
	root := filepath.Join(named(t, packages(t), []string{"internal/arch"})[0].Dir, "..", "..")
	checked := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "*/*/README.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range links(text) {
				checked++
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
					t.Errorf("%s links to %s: %v", filepath.Base(path), target, err)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no link was checked")
	}
}

// links returns the targets of a Markdown text's links to files, without anchors; web addresses are left out.
func links(text []byte) []string {
	var targets []string
	for _, part := range bytes.Split(text, []byte("]("))[1:] {
		target, _, ok := strings.Cut(string(part), ")")
		if !ok || strings.Contains(target, "://") || strings.HasPrefix(target, "#") || strings.ContainsAny(target, " \n") {
			continue
		}
		target, _, _ = strings.Cut(target, "#")
		targets = append(targets, target)
	}
	return targets
}

func TestLinksFindsFilesOnly(t *testing.T) {
	text := "see [a](docs/a.md#part), [web](https://example.org/x.md), [here](#top), [b](../b.md)"
	if have, want := fmt.Sprint(links([]byte(text))), "[docs/a.md ../b.md]"; have != want {
		t.Errorf("links: have %s, want %s", have, want)
	}
}
