package arch

import (
	"slices"
	"strings"
	"testing"
)

// own returns the imports that are packages of the module, as folders.
func own(imports []string) []string {
	var folders []string
	for _, path := range imports {
		if folder, ok := strings.CutPrefix(path, module+"/"); ok {
			folders = append(folders, folder)
		}
	}
	return folders
}

func TestImportsGoOneWayAlongTheWayOfAnOperation(t *testing.T) {
	pkgs := packages(t)
	rank := make(map[string]int)
	for i, l := range way() {
		named(t, pkgs, l.packages)
		for _, folder := range l.packages {
			if _, twice := rank[folder]; twice {
				t.Errorf("package %s stands twice in the way", folder)
			}
			rank[folder] = i
		}
	}
	for _, p := range pkgs {
		from, known := rank[p.rel()]
		if !known {
			t.Errorf("package %s has no place in the way: give it one in rules_test.go", p.rel())
			continue
		}
		for _, imported := range own(p.Imports) {
			to, known := rank[imported]
			if known && to >= from {
				t.Errorf("%s imports %s, which comes later or beside it on the way (%s)", p.rel(), imported, way()[to].reason)
			}
		}
	}
}

func TestPurePackagesImportNoWorld(t *testing.T) {
	pkgs := packages(t)
	for _, p := range named(t, pkgs, pure()) {
		for _, path := range p.Imports {
			for pattern, reason := range banned() {
				if matches(pattern, path) {
					t.Errorf("%s is pure and imports %s: %s", p.rel(), path, reason)
				}
			}
		}
		for _, imported := range own(p.Imports) {
			if !slices.Contains(pure(), imported) {
				t.Errorf("%s is pure and imports %s, which is not", p.rel(), imported)
			}
		}
	}
	// Who writes the rule for a package that nobody uses any more, notices here.
	everywhere := make(map[string]bool)
	for _, p := range pkgs {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			everywhere[path] = true
		}
	}
	for _, pattern := range []string{"context", "net/...", "os/...", "sync/...", "log/..."} {
		found := false
		for path := range everywhere {
			found = found || matches(pattern, path)
		}
		if !found {
			t.Errorf("the ban on %s matches no import of the whole module: is the pattern right?", pattern)
		}
	}
}

func TestDevchainIsReachedOnlyFromTheCommandAndFromTests(t *testing.T) {
	const devchain = "devchain"
	pkgs := packages(t)
	named(t, pkgs, append(devchainUsers(), devchain))
	used := false
	for _, p := range pkgs {
		if !slices.Contains(own(p.Imports), devchain) {
			continue
		}
		used = true
		if !slices.Contains(devchainUsers(), p.rel()) {
			t.Errorf("%s imports devchain outside its tests: it would link a whole geth into the bundler", p.rel())
		}
	}
	if !used {
		t.Error("nothing imports devchain: the demo must")
	}
}

// What the operators' build leaves out is all that only a chain of one's own needs.
func TestTheOperatorsBuildLinksNoChain(t *testing.T) {
	whole, operators := linked(t), linked(t, "-tags=nodev")
	for _, pattern := range notForOperators() {
		with := slices.IndexFunc(whole, func(path string) bool { return matches(pattern, path) })
		without := slices.IndexFunc(operators, func(path string) bool { return matches(pattern, path) })
		if with < 0 {
			t.Errorf("the whole program does not link %s either: the rule is about nothing", pattern)
		}
		if without >= 0 {
			t.Errorf("the operators' build links %s: files of cmd/baler that need the embedded chain begin with //go:build !nodev", operators[without])
		}
	}
}

func TestMatchesTellsAPackageFromOneThatBeginsAlike(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"net/...", "net", true},
		{"net/...", "net/http", true},
		{"net/...", "netip", false},
		{"context", "context", true},
		{"context", "context/extra", false},
	} {
		if got := matches(c.pattern, c.path); got != c.want {
			t.Errorf("matches(%q, %q): have %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}
