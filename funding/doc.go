// Package funding moves money between the keys of a bundler: to keys that run low, and out of keys that are given up.
//
// In: a key that pays, its journal, the heads of its chain, and a [Plan] that says what is to be paid. Out: transactions, and
// an event for each that is mined. It promises the discipline of bundles, because the same machine (package bundlesender) decides:
// a transaction is in the journal before it leaves, is replaced with higher fees when it is stuck, is tracked until the chain
// says that its nonce is finished, and is resumed after a restart. So a payment is made once: what is not known to have failed is
// replaced at its own nonce, never repeated at another.
//
// It never signs with a key that it may not use at that moment, pays no more than the plan says, and offers no fee over the ceiling.
package funding
