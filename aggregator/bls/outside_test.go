package bls_test

import (
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
)

// outsideOfG2 is a point of the twist that is not in G2: the first x with a y, for which the chance to be in the group is
// one in 2^254.
func outsideOfG2(t *testing.T) []byte {
	t.Helper()
	_, _, _, g := bn254.Generators()
	// The twist's constant is what the generator's equation leaves: b = y² − x³.
	var b, cube bn254.E2
	b.Square(&g.Y)
	cube.Square(&g.X).Mul(&cube, &g.X)
	b.Sub(&b, &cube)
	for n := uint64(1); n < 100; n++ {
		var p bn254.G2Affine
		p.X.A0.SetUint64(n)
		cube.Square(&p.X).Mul(&cube, &p.X)
		cube.Add(&cube, &b)
		if cube.Legendre() != 1 {
			continue
		}
		p.Y.Sqrt(&cube)
		if !p.IsOnCurve() || p.IsInSubGroup() {
			t.Fatalf("x = %d: the point is not what this test needs", n)
		}
		var out []byte
		for _, e := range []*fp.Element{&p.X.A1, &p.X.A0, &p.Y.A1, &p.Y.A0} {
			word := e.Bytes()
			out = append(out, word[:]...)
		}
		return out
	}
	t.Fatal("no point found")
	return nil
}
