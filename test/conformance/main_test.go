package main

import (
	"strings"
	"testing"
)

const run = `{"Action":"run","Package":"baler/pool","Test":"TestA"}
{"Action":"pass","Package":"baler/pool","Test":"TestA/OP-011_breaks"}
{"Action":"pass","Package":"baler/pool","Test":"TestB/OP-0110"}
{"Action":"pass","Package":"baler/pool","Test":"TestC/OP-012/account"}
{"Action":"fail","Package":"baler/pool","Test":"TestC/OP-012/factory"}
{"Action":"pass","Package":"baler/rpc","Test":"TestError/-32507_for_a_bad_signature"}
{"Action":"pass","Package":"baler/rpc"}
`

func TestARuleIsShownByPassedTestsThatNameIt(t *testing.T) {
	results, err := readResults(strings.NewReader(run))
	if err != nil {
		t.Fatal(err)
	}
	page, uncovered := report([]section{{"Rules", "About.", []item{
		{id: "OP-011", what: "shown"},
		{id: "OP-012", what: "one of its tests failed"},
		{id: "OP-013", what: "nobody shows it"},
		{id: "-32507", what: "an error"},
		{id: "ALT-010", what: "not ours", why: "no gossip"},
	}}}, results)
	if have, want := strings.Join(uncovered, " "), "OP-012 OP-013"; have != want {
		t.Errorf("have %q uncovered, want %q", have, want)
	}
	for _, line := range []string{
		"| `OP-011` | shown | pool `TestA/OP-011_breaks` |\n",
		"| `OP-012` | one of its tests failed | **failed: pool TestC/OP-012/factory** |\n",
		"| `OP-013` | nobody shows it | **nothing** |\n",
		"| `-32507` | an error | rpc `TestError/-32507_for_a_bad_signature` |\n",
		"| `ALT-010` | not ours | no gossip |\n",
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page has no line %q:\n%s", line, page)
		}
	}
}

func TestNoRuleIsListedTwice(t *testing.T) {
	seen := make(map[string]bool)
	for _, part := range sections() {
		for _, i := range part.items {
			if seen[i.id] {
				t.Errorf("%s is listed twice", i.id)
			}
			seen[i.id] = true
		}
	}
}

func TestWhatIsNotTheOutputOfTestsIsRefused(t *testing.T) {
	if _, err := readResults(strings.NewReader("ok  \tbaler/pool\t0.1s\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("have error %v, want one that names the line", err)
	}
}
