package telemetry

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strconv"
)

// OwnerLabel is the label of runtime/pprof that says whose a goroutine is. Goroutines inherit it from the one that starts
// them.
const OwnerLabel = "owner"

// profile is a runtime profile.
type profile interface {
	WriteTo(w io.Writer, debug int) error
}

var (
	profileRow   = regexp.MustCompile(`^(\d+) @`)
	profileOwner = regexp.MustCompile(`^# labels: .*"owner":"([^"]*)"`)
)

// countGoroutines reads a profile of goroutines: how many each owner has. Those without one are the runtime's and main's.
func countGoroutines(p profile) map[string]int {
	var text bytes.Buffer
	if p == nil || p.WriteTo(&text, 1) != nil {
		return nil
	}
	counts := make(map[string]int)
	waiting := 0 // of the row whose labels, if any, are on the next line
	assign := func(owner string) {
		if waiting > 0 {
			counts[owner] += waiting
		}
		waiting = 0
	}
	lines := bufio.NewScanner(&text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if row := profileRow.FindSubmatch(lines.Bytes()); row != nil {
			assign("none")
			waiting, _ = strconv.Atoi(string(row[1])) // digits
		} else if owner := profileOwner.FindSubmatch(lines.Bytes()); owner != nil {
			assign(string(owner[1]))
		}
	}
	assign("none")
	return counts
}
