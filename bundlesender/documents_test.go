package bundlesender

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDocuments compares the table in doc.go, and the table and the diagram in docs/bundle-sender.md, with the table that drives the
// machine; with -rewrite it prints them there.
func TestDocuments(t *testing.T) {
	const page = "../docs/bundle-sender.md"
	for _, d := range []struct{ file, begin, end, want string }{
		{"doc.go", "// table begins\n", "// table ends\n", goTable()},
		{page, "<!-- table begins -->\n", "<!-- table ends -->\n", markdownTable()},
		{page, "<!-- diagram begins -->\n", "<!-- diagram ends -->\n", diagram()},
	} {
		text, err := os.ReadFile(d.file)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := bytes.Cut(text, []byte(d.begin))
		have, after, ended := bytes.Cut(rest, []byte(d.end))
		if !ok || !ended {
			t.Fatalf("%s: have no %q and %q", d.file, d.begin, d.end)
		}
		if string(have) == d.want {
			continue
		}
		if rewrite := flag.Lookup("rewrite"); rewrite == nil || rewrite.Value.String() != "true" {
			t.Errorf("%s is not what the table says (write it with -rewrite); have\n%swant\n%s", d.file, have, d.want)
			continue
		}
		text = slices.Concat(before, []byte(d.begin+d.want+d.end), after)
		if err := os.WriteFile(d.file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTable checks that no row stands where an earlier one always applies before it, and that every row says where it leads.
func TestTable(t *testing.T) {
	type place struct {
		state State
		cause Cause
	}
	closed := map[place]int{}
	for i, r := range table {
		if len(r.in) == 0 {
			t.Errorf("row %d stands in no state", i)
		}
		for _, s := range r.in {
			at := place{s, r.on}
			if first, ok := closed[at]; ok {
				t.Errorf("row %d (%s on %s) never applies: row %d always does", i, s, r.on, first)
			}
			if r.when.holds == nil {
				closed[at] = i
			}
		}
		if (r.when.holds == nil) != (r.when.name == "") || (r.do.run == nil) != (r.do.name == "") {
			t.Errorf("row %d has a condition or an action without a name", i)
		}
	}
	for c := range Cause(numCauses) {
		if !slices.ContainsFunc(table, func(r row) bool { return r.on == c }) {
			t.Errorf("cause %q has no row", c)
		}
	}
	for s := range State(numStates) {
		if !slices.ContainsFunc(table, func(r row) bool { return r.to == s }) {
			t.Errorf("no row leads to %s", s)
		}
	}
}

// TestNames: each value of each set has a name, and one beyond has none.
func TestNames(t *testing.T) {
	for _, names := range [][]string{
		stateNames[:], causeNames[:], outcomeNames[:], reasonNames[:], kindNames[:], statusNames[:], alertNames[:], paceNames[:],
	} {
		for i, n := range names {
			if n == "" || slices.Index(names, n) != i {
				t.Errorf("name %d of %q is empty or stands twice", i, names)
			}
		}
	}
	if have, want := Outcome(99).String(), "outcome(99)"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
}

func (r row) cells() []string {
	states := make([]string, 0, len(r.in))
	for _, s := range r.in {
		states = append(states, s.String())
	}
	in := strings.Join(states, ", ")
	if len(r.in) == len(anyRunning) {
		in = "any"
	}
	on := r.on.String()
	if r.when.name != "" {
		on += ", " + r.when.name
	}
	var does []string
	for _, text := range []string{r.do.name, r.says} {
		if text != "" {
			does = append(does, text)
		}
	}
	to := r.to.String()
	if r.to != Stopped {
		to += ", " + paceNames[r.pace]
	}
	return []string{in, on, to, strings.Join(does, "; ")}
}

var headings = []string{"in", "on", "goes to", "and"}

// goTable is the table as a list: one block of lines for each set of states.
func goTable() string {
	var out strings.Builder
	out.WriteString("//\n")
	in := ""
	for _, r := range table {
		c := r.cells()
		if c[0] != in {
			in = c[0]
			fmt.Fprintf(&out, "//\tin %s, on\n", in)
		}
		fmt.Fprintf(&out, "//\t  %s\n//\t    -> %s\n", c[1], strings.Trim(c[2]+": "+c[3], ": "))
	}
	out.WriteString("//\n")
	return out.String()
}

func markdownTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(headings, " | "), strings.Repeat("---|", len(headings)))
	for _, r := range table {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.cells(), " | "))
	}
	return b.String()
}

// diagram is the table as a mermaid diagram: one arrow for each pair of states, with all its causes.
func diagram() string {
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> Building\n")
	for _, a := range Arrows() {
		causes := make([]string, len(a.Causes))
		for i, c := range a.Causes {
			causes[i] = c.String()
		}
		fmt.Fprintf(&b, "    %s --> %s : %s\n", a.From, a.To, strings.Join(causes, "<br>"))
	}
	b.WriteString("    Stopped --> [*]\n```\n")
	return b.String()
}
