package main

import (
	"context"
	"runtime/pprof"
	"time"

	"baler/chain"
	"baler/event"
	"baler/telemetry"
)

// What is told by packages that know no events, as events.

// nodeAsked tells of requests to nodes.
func nodeAsked(sink event.Sink) func(chain.Request) {
	return func(r chain.Request) {
		sink(event.NodeAsked{Endpoint: r.Endpoint, Methods: r.Methods, Took: r.Took, Result: r.Result})
	}
}

// callServed tells of answered JSON-RPC calls.
func callServed(sink event.Sink) func(method string, code int, took time.Duration) {
	return func(method string, code int, took time.Duration) {
		sink(event.CallServed{Method: method, Code: code, Took: took})
	}
}

// owned labels the goroutine that runs a part, and with it all that it starts: metrics count goroutines by owner.
func owned(ctx context.Context, owner string, run func(context.Context) error) func() error {
	return func() (err error) {
		pprof.Do(ctx, pprof.Labels(telemetry.OwnerLabel, owner), func(ctx context.Context) { err = run(ctx) })
		return err
	}
}
