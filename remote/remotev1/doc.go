// Package remotev1 is the protocol between Baler's processes as generated code: messages, clients and handlers.
//
// The schema is in remote/proto, and scripts/proto.sh writes this package from it. In and out: bytes. It promises what
// protobuf promises, and never looks at what a message means: package remote checks every value on its way into Go types.
package remotev1
