// Package edge is what stands between the network and Baler's HTTP handlers: which hosts and origins are spoken to, how
// many connections and requests one address may have, who may use what, and the listener for operators.
//
// In: connections from anybody. Out: requests that may be answered, handed to the handler that is mounted for them.
//
// It promises that a name which was rebound to a loopback address reaches nothing ([Hosts]), that a page of another
// origin changes nothing, that a token is compared in constant time and tried only so often, and that what it remembers of
// its peers is bounded. It never decides anything about operations, and knows none of Baler's other packages.
package edge
