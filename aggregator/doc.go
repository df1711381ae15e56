// Package aggregator serves signature aggregators (ERC-7766): contracts that check the signatures of many operations at
// once, called by handleAggregatedOps.
//
// In: operations whose accounts named an aggregator, and a block hash on whose state questions are answered. Out: the
// signature that stands in the place of an operation's own, the aggregated signature of a group, whether it holds, and
// if not, which operations are to blame. Two implementations: [BLS] works out everything by itself and asks the node for
// public keys only; [Contract] asks any aggregator contract for all of it by eth_call.
//
// It promises that a wrong or malformed signature is a *rejection.Rejection, and that any other error is the node's
// trouble and counts against no operation. It never decides which operations go into a bundle, and holds no secrets.
package aggregator
