// Command conformance says which test shows each rule of ERC-7562 and each method and error of ERC-7769.
//
// In: what `go test -json` printed of a whole run. Out: a page with a line for each rule and the tests that name it. A rule
// is shown by a test that has its id in its name, or in the name of a subtest, and that has passed. It fails for a rule that
// no such test shows, and for one whose test has failed: a page of claims that nobody has run is worth nothing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type cli struct {
	Tests string `arg:"" help:"What go test -json printed." type:"existingfile"`
	Out   string `help:"Where the page goes; empty: standard output." placeholder:"FILE"`
}

func main() {
	var line cli
	parsed := kong.Parse(&line, kong.Name("conformance"), kong.Description("Say which test shows each rule."))
	parsed.FatalIfErrorf(line.run())
}

func (c *cli) run() error {
	file, err := os.Open(c.Tests)
	if err != nil {
		return err
	}
	defer file.Close()
	results, err := readResults(file)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Tests, err)
	}
	page, uncovered := report(sections(), results)
	if c.Out == "" {
		_, err = io.WriteString(os.Stdout, page)
	} else {
		err = os.WriteFile(c.Out, []byte(page), 0o644)
	}
	if err != nil {
		return err
	}
	if len(uncovered) > 0 {
		return fmt.Errorf("no passing test shows %s", strings.Join(uncovered, ", "))
	}
	return nil
}

// result is a test that has ended.
type result struct {
	pkg, name string
	passed    bool
}

// readResults reads the tests' ends from the lines of `go test -json`.
func readResults(r io.Reader) ([]result, error) {
	var results []result
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for number := 1; lines.Scan(); number++ {
		var event struct{ Action, Package, Test string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if event.Test != "" && (event.Action == "pass" || event.Action == "fail") {
			results = append(results, result{strings.TrimPrefix(event.Package, "baler/"), event.Test, event.Action == "pass"})
		}
	}
	return results, lines.Err()
}

// maxLine is more than a line of `go test -json` has: it cuts what tests print.
const maxLine = 16 << 20

// mostNamed is how many tests a line of the page names.
const mostNamed = 3

// report makes the page, and lists what no test shows.
func report(parts []section, results []result) (page string, uncovered []string) {
	var b strings.Builder
	b.WriteString("# Conformance\n\n*Written by `make conformance` from the names of the tests that passed; don't edit.*\n")
	for _, part := range parts {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| | what | shown by |\n|---|---|---|\n", part.title, part.about)
		for _, item := range part.items {
			shown := item.why
			if shown == "" {
				var ok bool
				if shown, ok = item.shownBy(results); !ok {
					uncovered = append(uncovered, item.id)
				}
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", item.id, item.what, shown)
		}
	}
	return b.String(), uncovered
}

// shownBy names tests that show the item; false: none does, or one of them has failed.
func (i item) shownBy(results []result) (text string, ok bool) {
	var names []string
	for _, r := range results {
		if !i.namedIn(r.name) {
			continue
		}
		if !r.passed {
			return fmt.Sprintf("**failed: %s %s**", r.pkg, r.name), false
		}
		names = append(names, fmt.Sprintf("%s `%s`", r.pkg, r.name))
	}
	if len(names) == 0 {
		return "**nothing**", false
	}
	// The shortest names are the ones that say most: those of the cases below them only say which case.
	slices.SortFunc(names, func(a, b string) int {
		if by := len(a) - len(b); by != 0 {
			return by
		}
		return strings.Compare(a, b)
	})
	names = slices.Compact(names)
	text = strings.Join(names[:min(mostNamed, len(names))], "<br>")
	if more := len(names) - mostNamed; more > 0 {
		text += fmt.Sprintf("<br>and %d more", more)
	}
	return text, true
}

// namedIn reports whether a test's name holds the item's id as a word of its own.
func (i item) namedIn(test string) bool {
	for rest := test; ; {
		at := strings.Index(rest, i.id)
		if at < 0 {
			return false
		}
		end := at + len(i.id)
		if (at == 0 || !isWord(rest[at-1])) && (end == len(rest) || !isWord(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

// isWord reports whether a byte belongs to an id. Underscores do not: the testing package puts them where spaces were.
func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
