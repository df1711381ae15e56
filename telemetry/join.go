package telemetry

import "baler/event"

// Join returns a sink that tells each event to all of the sinks, in order.
func Join(sinks ...event.Sink) event.Sink {
	return func(e event.Event) {
		for _, sink := range sinks {
			sink(e)
		}
	}
}
