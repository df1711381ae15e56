package signer

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	keyOne = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
	keyTwo = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
)

func TestKeysAreReadInOrder(t *testing.T) {
	signers, err := ParsePrivateKeys([]string{keyOne, " " + keyTwo + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	want := []common.Address{
		common.HexToAddress("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"),
		common.HexToAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
	}
	for i, s := range signers {
		if s.Address() != want[i] {
			t.Errorf("key %d: have %s, want %s", i+1, s.Address(), want[i])
		}
	}
}

func TestBadKeysAreRefusedWithoutShowingThem(t *testing.T) {
	for name, keys := range map[string][]string{
		"none":       nil,
		"short":      {keyOne[:62]},
		"not hex":    {strings.Replace(keyOne, "4", "g", 1)},
		"zero":       {strings.Repeat("0", 64)},
		"over curve": {strings.Repeat("f", 64)},
		"twice":      {keyTwo, keyOne, "0x" + keyOne},
	} {
		_, err := ParsePrivateKeys(keys)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, key := range keys {
			if bare := strings.TrimPrefix(key, "0x"); strings.Contains(err.Error(), bare[:8]) {
				t.Errorf("%s: the error shows key material: %v", name, err)
			}
		}
	}
}

func TestPrintingASignerNeverShowsItsKey(t *testing.T) {
	signers, err := ParsePrivateKeys([]string{keyOne})
	if err != nil {
		t.Fatal(err)
	}
	key := signers[0].(*PrivateKey)
	scalar := new(big.Int).SetBytes(crypto.FromECDSA(key.key)).String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		printed := fmt.Sprintf(verb, key)
		if strings.Contains(printed, keyOne[:8]) || strings.Contains(printed, scalar[:8]) {
			t.Errorf("%s prints key material", verb)
		}
	}
}

func TestEveryTransactionTypeIsSignedForItsChain(t *testing.T) {
	signers, err := ParsePrivateKeys([]string{keyOne})
	if err != nil {
		t.Fatal(err)
	}
	checkSigns(t, signers[0])
	checkOtherChain(t, signers[0])
}
