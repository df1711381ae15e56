package dashboard

import (
	"context"
	"maps"
	"slices"
	"time"

	"baler/event"
)

// latencyWeight is the part that one request has in the average of the times: the last ten or so count.
const latencyWeight = 0.1

// traffic is what is known of the requests to one endpoint.
type traffic struct {
	requests, errors uint64
	latencyMS        float64 // moving average
	lastError        string
}

// asked counts a request. The caller has the lock.
func (d *Dashboard) asked(e event.NodeAsked) {
	t := d.traffic[e.Endpoint]
	if t == nil {
		t = &traffic{latencyMS: float64(e.Took) / float64(time.Millisecond)}
		d.traffic[e.Endpoint] = t
	}
	t.requests++
	t.latencyMS += (float64(e.Took)/float64(time.Millisecond) - t.latencyMS) * latencyWeight
	if e.Result != "ok" {
		t.errors++
		t.lastError = e.Result
	}
}

// endpoints are those that the bundler names, and those that only requests name. What was heard of the requests stands where the
// bundler does not count them itself, as it does for several endpoints of the chain.
func (d *Dashboard) endpoints(ctx context.Context) []Endpoint {
	list := append([]Endpoint{}, d.bundler.Endpoints(ctx)...)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.traffic)) {
		at := slices.IndexFunc(list, func(e Endpoint) bool { return e.Name == name })
		if at < 0 {
			at = len(list)
			list = append(list, Endpoint{Name: name, Role: "other endpoint", Status: "ok", Well: true})
		}
		if list[at].Circuit != "" {
			continue
		}
		t := d.traffic[name]
		latency := float64(int64(t.latencyMS*10)) / 10
		list[at].LatencyMS, list[at].Requests, list[at].Errors, list[at].LastError = &latency, t.requests, t.errors, t.lastError
	}
	return list
}
