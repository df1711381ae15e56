package bls_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"baler/aggregator/bls"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func key(t *testing.T, n int) bls.SecretKey {
	t.Helper()
	k, err := bls.SecretKeyFromSeed(fmt.Appendf(nil, "seed number %d, long enough for a key", n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func message(n int) (m [32]byte) {
	copy(m[:], fmt.Sprintf("message %d", n))
	return m
}

func TestASignatureIsItsKeysForItsMessageOnly(t *testing.T) {
	k, other := key(t, 1), key(t, 2)
	s := k.Sign(message(1))
	verify := func(s bls.Signature, k bls.SecretKey, m [32]byte) bool {
		return bls.Verify(s, []bls.PublicKey{k.PublicKey()}, [][32]byte{m})
	}
	if !verify(s, k, message(1)) {
		t.Error("a signature is refused")
	}
	for name, ok := range map[string]bool{
		"another message":         verify(s, k, message(2)),
		"another key":             verify(s, other, message(1)),
		"another signature":       verify(other.Sign(message(1)), k, message(1)),
		"the sum of none":         verify(bls.Signature{}, k, message(1)),
		"the message's own point": verify(bls.HashToG1(message(1)), k, message(1)),
	} {
		if ok {
			t.Errorf("%s is taken for a signature", name)
		}
	}
	if bls.Verify(bls.Signature{}, nil, nil) {
		t.Error("nothing signed by nobody is taken for signed")
	}
	if bls.Verify(s, []bls.PublicKey{k.PublicKey()}, nil) {
		t.Error("a key without a message is taken for signed")
	}
}

// TestASumIsWhatAllSigned: the sum of signatures holds for exactly the keys and messages it was made of.
func TestASumIsWhatAllSigned(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(rt, "signers")
		var sums []bls.Signature
		var keys []bls.PublicKey
		var messages [][32]byte
		for i := range n {
			k := key(t, i)
			sums, keys, messages = append(sums, k.Sign(message(i))), append(keys, k.PublicKey()), append(messages, message(i))
		}
		if !bls.Verify(bls.Sum(sums), keys, messages) {
			rt.Fatalf("the sum of %d signatures is refused", n)
		}
		i := rapid.IntRange(0, n-1).Draw(rt, "broken")
		switch rapid.SampledFrom([]string{"missing", "twice", "message", "foreign"}).Draw(rt, "how") {
		case "missing":
			sums = append(sums[:i:i], sums[i+1:]...)
		case "twice":
			sums = append(sums, sums[i])
		case "message":
			messages[i] = message(100)
		case "foreign":
			sums[i] = key(t, 100).Sign(messages[i])
		}
		if bls.Verify(bls.Sum(sums), keys, messages) {
			rt.Fatal("a broken sum is taken")
		}
	})
}

func TestEncodingsAreInverse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 1000).Draw(rt, "n")
		k := key(t, n)
		public := k.PublicKey().Bytes()
		again, err := bls.ParsePublicKey(public[:])
		if err != nil {
			rt.Fatal(err)
		}
		if again.Bytes() != public {
			rt.Fatal("a public key changes on its way")
		}
		s := k.Sign(message(n)).Bytes()
		parsed, err := bls.ParseSignature(s[:])
		if err != nil {
			rt.Fatal(err)
		}
		if parsed.Bytes() != s {
			rt.Fatal("a signature changes on its way")
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const modulus = "30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47"

func TestMalformedPointsAreRefused(t *testing.T) {
	good := key(t, 1).Sign(message(1)).Bytes()
	public := key(t, 1).PublicKey().Bytes()
	changed := func(b []byte, i int) []byte {
		c := bytes.Clone(b)
		c[i] ^= 1
		return c
	}
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"too short":                   good[:63],
		"too long":                    append(good[:], 0),
		"infinity":                    make([]byte, 64),
		"off the curve":               changed(good[:], 63),
		"a coordinate over the field": append(unhex(t, modulus), good[32:]...),
		"flags in the first byte":     changed(bytes.Clone(good[:]), 0),
	} {
		if _, err := bls.ParseSignature(b); !errors.Is(err, bls.ErrSignature) {
			t.Errorf("signature, %s: have %v, want ErrSignature", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"too short":     public[:127],
		"infinity":      make([]byte, 128),
		"off the curve": changed(public[:], 127),
		"real part first": append(append(append(append([]byte{},
			public[32:64]...), public[:32]...), public[96:]...), public[64:96]...),
		"on the twist, outside of the group": outsideOfG2(t),
	} {
		if _, err := bls.ParsePublicKey(b); !errors.Is(err, bls.ErrPublicKey) {
			t.Errorf("public key, %s: have %v, want ErrPublicKey", name, err)
		}
	}
}

func TestSeeds(t *testing.T) {
	if _, err := bls.SecretKeyFromSeed(make([]byte, 31)); !errors.Is(err, bls.ErrSeed) {
		t.Errorf("31 bytes: have %v, want ErrSeed", err)
	}
	k := key(t, 7)
	if diff := cmp.Diff(k.PublicKey().Bytes(), key(t, 7).PublicKey().Bytes()); diff != "" {
		t.Errorf("one seed gives two keys: %s", diff)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); text != "BLS secret key (hidden) BLS secret key (hidden) BLS secret key (hidden) BLS secret key (hidden)" {
		t.Errorf("a secret key shows itself: %s", text)
	}
}

func FuzzParse(f *testing.F) {
	k, err := bls.SecretKeyFromSeed(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	public, signature := k.PublicKey().Bytes(), k.Sign([32]byte{1}).Bytes()
	f.Add(public[:])
	f.Add(signature[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := bls.ParsePublicKey(b); err == nil {
			if have := k.Bytes(); !bytes.Equal(have[:], b) {
				t.Errorf("public key %x was read as %x", b, have)
			}
		}
		if s, err := bls.ParseSignature(b); err == nil {
			if have := s.Bytes(); !bytes.Equal(have[:], b) {
				t.Errorf("signature %x was read as %x", b, have)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			var sums []bls.Signature
			var keys []bls.PublicKey
			var messages [][32]byte
			for i := range n {
				k, err := bls.SecretKeyFromSeed(fmt.Appendf(nil, "seed number %d, long enough for a key", i))
				if err != nil {
					b.Fatal(err)
				}
				sums, keys, messages = append(sums, k.Sign(message(i))), append(keys, k.PublicKey()), append(messages, message(i))
			}
			sum := bls.Sum(sums)
			for b.Loop() {
				if !bls.Verify(sum, keys, messages) {
					b.Fatal("refused")
				}
			}
		})
	}
}
