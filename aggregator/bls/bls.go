// Package bls is BLS signatures over the curve BN254 (EIP-196, EIP-197), as contracts/bls checks them: signatures are
// points of G1 (64 bytes), public keys points of G2 (128 bytes), messages are hashed to G1 by the suite
// BN254G1_XMD:SHA-256_SVDW_RO_ of RFC 9380.
//
// In: messages of 32 bytes, keys, signatures. Out: signatures, their sum, and whether a sum is what the keys signed. It
// is pure. Decoding takes one form of each point only and refuses what is not on the curve or not in its group.
//
// It does not make messages distinct, which a sum of signatures needs to be safe: whoever uses it puts the signer's key
// into the message. Its arithmetic takes time that depends on the secret: it is for clients and tests, a bundler has
// no BLS secrets.
package bls

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// Sizes of the encodings, in bytes.
const (
	SignatureSize = 64
	PublicKeySize = 128
	wordSize      = 32
	minSeedSize   = 32
)

// domain is the domain separation tag of contracts/bls/BN254.sol (RFC 9380, section 3.1), seedDomain that of secrets
// made from a seed.
const (
	domain     = "BALER-ERC7766-V01-with-BN254G1_XMD:SHA-256_SVDW_RO_"
	seedDomain = "BALER-ERC7766-V01-SECRET-FROM-SEED"
)

// Errors of decoding and of making keys.
var (
	ErrSignature = errors.New("not a BLS signature")
	ErrPublicKey = errors.New("not a BLS public key")
	ErrSeed      = errors.New("bad seed")
)

// SecretKey signs. It shows nothing of itself when it is printed.
type SecretKey struct{ scalar fr.Element }

// SecretKeyFromSeed derives a key from at least 32 bytes of secret randomness; the same seed gives the same key.
func SecretKeyFromSeed(seed []byte) (SecretKey, error) {
	if len(seed) < minSeedSize {
		return SecretKey{}, fmt.Errorf("%w: have %d bytes, want at least %d", ErrSeed, len(seed), minSeedSize)
	}
	scalars, err := fr.Hash(seed, []byte(seedDomain), 1)
	if err != nil {
		return SecretKey{}, fmt.Errorf("%w: %w", ErrSeed, err)
	}
	if scalars[0].IsZero() {
		return SecretKey{}, fmt.Errorf("%w: it gives the key zero", ErrSeed)
	}
	return SecretKey{scalars[0]}, nil
}

// String implements fmt.Stringer and hides the key.
func (SecretKey) String() string { return "BLS secret key (hidden)" }

// GoString implements fmt.GoStringer and hides the key.
func (k SecretKey) GoString() string { return k.String() }

// PublicKey returns the key that checks this key's signatures.
func (k SecretKey) PublicKey() PublicKey {
	var key PublicKey
	key.point.ScalarMultiplicationBase(k.scalar.BigInt(new(big.Int)))
	return key
}

// Sign signs a message. The same message gives the same signature.
func (k SecretKey) Sign(message [32]byte) Signature {
	var s Signature
	h := HashToG1(message)
	s.point.ScalarMultiplication(&h.point, k.scalar.BigInt(new(big.Int)))
	return s
}

// PublicKey is a point of G2, not infinity.
type PublicKey struct{ point bn254.G2Affine }

// ParsePublicKey reads x and y, the imaginary part of each first (EIP-197). It checks that the point is in its group.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) != PublicKeySize {
		return PublicKey{}, fmt.Errorf("%w: have %d bytes, want %d", ErrPublicKey, len(b), PublicKeySize)
	}
	var key PublicKey
	p := &key.point
	for i, e := range []*fp.Element{&p.X.A1, &p.X.A0, &p.Y.A1, &p.Y.A0} {
		if err := e.SetBytesCanonical(b[i*wordSize : (i+1)*wordSize]); err != nil {
			return PublicKey{}, fmt.Errorf("%w: coordinate %d is no element of the field", ErrPublicKey, i)
		}
	}
	if p.IsInfinity() || !p.IsOnCurve() || !p.IsInSubGroup() {
		return PublicKey{}, fmt.Errorf("%w: the point is not in the group, or is its zero", ErrPublicKey)
	}
	return key, nil
}

// Bytes is the inverse of [ParsePublicKey].
func (k PublicKey) Bytes() [PublicKeySize]byte {
	var b [PublicKeySize]byte
	for i, e := range []*fp.Element{&k.point.X.A1, &k.point.X.A0, &k.point.Y.A1, &k.point.Y.A0} {
		word := e.Bytes()
		copy(b[i*wordSize:], word[:])
	}
	return b
}

// Signature is a point of G1, or a sum of such. The zero value is the sum of no signatures.
type Signature struct{ point bn254.G1Affine }

// ParseSignature reads x and y of a point on the curve; infinity is none. All points of the curve are in G1.
func ParseSignature(b []byte) (Signature, error) {
	if len(b) != SignatureSize {
		return Signature{}, fmt.Errorf("%w: have %d bytes, want %d", ErrSignature, len(b), SignatureSize)
	}
	var s Signature
	if s.point.X.SetBytesCanonical(b[:wordSize]) != nil || s.point.Y.SetBytesCanonical(b[wordSize:]) != nil {
		return Signature{}, fmt.Errorf("%w: a coordinate is no element of the field", ErrSignature)
	}
	if s.point.IsInfinity() || !s.point.IsOnCurve() {
		return Signature{}, fmt.Errorf("%w: the point is not on the curve", ErrSignature)
	}
	return s, nil
}

// Bytes returns x and y; the sum of no signatures is 64 zeros. Else it is the inverse of [ParseSignature].
func (s Signature) Bytes() [SignatureSize]byte {
	x, y := s.point.X.Bytes(), s.point.Y.Bytes()
	return [SignatureSize]byte(append(x[:], y[:]...))
}

// Sum adds signatures up.
func Sum(signatures []Signature) Signature {
	var total bn254.G1Jac
	for i := range signatures {
		total.AddMixed(&signatures[i].point)
	}
	var sum Signature
	sum.point.FromJacobian(&total)
	return sum
}

// HashToG1 is the point a message is hashed to (hash_to_curve of RFC 9380).
func HashToG1(message [32]byte) Signature {
	// The only errors are of tags and outputs that are too long.
	point, err := bn254.HashToG1(message[:], []byte(domain))
	if err != nil {
		return Signature{}
	}
	return Signature{point}
}

// Verify reports whether the signature is the sum of the keys' signatures of the messages, one message for each key:
// Π e(H(mᵢ), keyᵢ) · e(s, −G2) = 1.
func Verify(signature Signature, keys []PublicKey, messages [][32]byte) bool {
	if len(keys) != len(messages) || len(keys) == 0 {
		return false
	}
	left := make([]bn254.G1Affine, 0, len(keys)+1)
	right := make([]bn254.G2Affine, 0, len(keys)+1)
	for i, key := range keys {
		left = append(left, HashToG1(messages[i]).point)
		right = append(right, key.point)
	}
	_, _, _, g2 := bn254.Generators()
	g2.Neg(&g2)
	ok, err := bn254.PairingCheck(append(left, signature.point), append(right, g2))
	return err == nil && ok
}
