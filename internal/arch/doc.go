// Package arch holds no code: its tests check that the source still has the shape docs/architecture.md describes.
//
// They read the module's own packages (go list, go/ast) and check which package imports which, what pure packages
// never import, who may start goroutines and read the clock, how packages are named, that each has a package comment,
// and how long a file may be. Each rule carries its reason, and a rule that no longer applies to any package fails:
// a rule about nothing looks like a rule that holds.
package arch
