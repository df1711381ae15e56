// Package remote is the room for the way between processes: gRPC between `baler rpc`, `baler pool` and
// `baler builder`, with deadlines and health checks, for a bundler that has outgrown one machine.
//
// Nothing is here yet: `baler node` runs the whole pipeline in one process.
//
// It will carry calls and events between the interfaces the packages of the pipeline declare. It will never add a rule
// of its own, so that one process and many behave alike.
package remote
