package main

import (
	"context"
	"time"

	"baler/telemetry"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// traceSettings say where spans go.
type traceSettings struct {
	OTLPEndpoint      string  `help:"URL of an OpenTelemetry collector (OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces) that gets a trace of each operation's way. Empty: no traces." name:"otlp-endpoint" placeholder:"URL" secret:""`
	OTLPAuthorization string  `help:"Authorization header for the collector. Better given as BALER_OTLP_AUTHORIZATION." name:"otlp-authorization" placeholder:"VALUE" secret:""`
	TraceShare        float64 `help:"Share of operations that are traced, from 0 to 1. Which ones depends on their hashes alone." default:"1"`
}

// traceEnd is how long what has not been sent to the collector may take at the end.
const traceEnd = 5 * time.Second

// start begins tracing; nil if it is not asked for.
func (s traceSettings) start(ctx context.Context) (*telemetry.Traces, error) {
	if s.OTLPEndpoint == "" {
		return nil, nil
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(s.OTLPEndpoint)}
	if s.OTLPAuthorization != "" {
		options = append(options, otlptracehttp.WithHeaders(map[string]string{"Authorization": s.OTLPAuthorization}))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, badSetting("--otlp_endpoint: %w", err)
	}
	return telemetry.NewTraces(exporter, s.TraceShare, time.Now), nil
}

func (s traceSettings) check() error {
	if s.TraceShare < 0 || s.TraceShare > 1 {
		return badSetting("--trace_share: have %g, want 0 to 1", s.TraceShare)
	}
	return nil
}

// endTraces ends them once the context has ended. That a collector does not listen stops nobody.
func endTraces(traces *telemetry.Traces) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceEnd)
		defer cancel()
		_ = traces.Shutdown(ending)
		return nil
	}
}
