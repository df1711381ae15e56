// Package dashboard is the live page: what the bundler does and why, for an operator who has one look.
//
// In: the events of the bundler, and snapshots of it through [Bundler], which the shell implements. Out: one page over
// HTTP, embedded in the binary, and the calls of operators through [Operator]. The page shows documents: a document is a
// small piece of JSON with a name (one sender, one bundle, the mempool). It loads all of them once, then follows their
// changes as server-sent events; after a lost connection it goes on from the last change it knows, or, when that is
// too long ago, begins with all documents again.
//
// It promises that a page which nobody looks at costs nothing, and that a slow reader holds nobody up: readers wait for
// the documents, never the documents for a reader. Everything that came from outside (operations, nodes' words) is handed
// out as JSON and put on the page as text. It never decides anything, and changes something only when an operator asks
// for it with a proof of who they are; that proof is package edge's.
package dashboard
