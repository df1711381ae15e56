// Package aggregator is the room for signature aggregators (ERC-4337, "Using signature aggregators"): one BLS signature
// for all operations of a bundle that name the same aggregator contract.
//
// Nothing is here yet: an operation whose account names an aggregator is refused at the door (-32506).
//
// It will take operations grouped by aggregator and give back what handleAggregatedOps needs: each operation's
// stripped signature and the group's aggregated one. It will never decide which operations go into a bundle.
package aggregator
