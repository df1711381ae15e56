package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// errNoSection says that the page has no place for a section.
var errNoSection = errors.New("no such section")

// mark is how a section begins and ends in the page; what is between is written by the report.
func mark(end, name string) string {
	return "<!-- " + end + " of what `make report` writes: " + name + " -->\n"
}

// replaceSection returns the page with another text in a section.
func replaceSection(page, name, text string) (string, error) {
	before, rest, ok := strings.Cut(page, mark("begin", name))
	if !ok {
		return "", fmt.Errorf("%w: have no line %q", errNoSection, strings.TrimSpace(mark("begin", name)))
	}
	_, after, ok := strings.Cut(rest, mark("end", name))
	if !ok {
		return "", fmt.Errorf("%w: have no line %q", errNoSection, strings.TrimSpace(mark("end", name)))
	}
	return before + mark("begin", name) + "\n" + strings.Trim(text, "\n") + "\n\n" + mark("end", name) + after, nil
}

func writeSection(file, name, text string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := replaceSection(string(page), name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}

// checkSections reports a page that lacks one of the sections.
func checkSections(file string, names []string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := replaceSection(string(page), name, ""); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}
