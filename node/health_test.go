package node

import (
	"strings"
	"testing"

	"baler/bundlesender"
)

func TestASenderIsStalledWhenTheChainHasLeftItBehind(t *testing.T) {
	for name, test := range map[string]struct {
		status bundlesender.Status
		want   string // in the reason; empty: it is well
	}{
		"new":                       {bundlesender.Status{State: bundlesender.Building}, ""},
		"at the head":               {bundlesender.Status{State: bundlesender.Building, Head: 100}, ""},
		"a little late":             {bundlesender.Status{State: bundlesender.Building, Head: 90}, ""},
		"late":                      {bundlesender.Status{State: bundlesender.Building, Head: 89}, "acted on block 89"},
		"waiting":                   {bundlesender.Status{State: bundlesender.Pending, Head: 100, Until: 101}, ""},
		"waiting for the past":      {bundlesender.Status{State: bundlesender.Pending, Head: 100, Until: 89}, "waits for block 89"},
		"cancelling for the past":   {bundlesender.Status{State: bundlesender.CancelPending, Head: 100, Until: 89}, "CancelPending"},
		"building waits for nobody": {bundlesender.Status{State: bundlesender.Building, Head: 100, Until: 5}, ""},
		"stopped":                   {bundlesender.Status{State: bundlesender.Stopped, Head: 3}, ""},
	} {
		have := stalled(test.status, 100)
		if test.want == "" && have != "" || !strings.Contains(have, test.want) {
			t.Errorf("%s: have %q, want %q", name, have, test.want)
		}
	}
}
