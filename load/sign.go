package load

import (
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"

	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// ownerKey derives the key of an account's owner from the run's seed.
func ownerKey(seed string, v userop.Version, index int) *ecdsa.PrivateKey {
	material := binary.BigEndian.AppendUint64([]byte("baler load owner\x00"+v.String()+"\x00"+seed+"\x00"), uint64(index))
	for { // a hash that is not a valid scalar comes once in 2^128
		material = crypto.Keccak256(material)
		if key, err := crypto.ToECDSA(material); err == nil {
			return key
		}
	}
}

// signOperation returns the owner's signature as the version's SimpleAccount checks it: v0.6 and v0.7 recover over
// the EIP-191 message of the hash, v0.8 and v0.9 over the hash, which is an EIP-712 hash already.
func signOperation(key *ecdsa.PrivateKey, v userop.Version, hash common.Hash) ([]byte, error) {
	if v >= userop.V08 {
		return sign(key, hash[:])
	}
	return signMessage(key, hash)
}

// signMessage signs the hash as an EIP-191 personal message, as VerifyingPaymaster checks it in every version.
func signMessage(key *ecdsa.PrivateKey, hash common.Hash) ([]byte, error) {
	return sign(key, accounts.TextHash(hash[:]))
}

func sign(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	signature, err := crypto.Sign(digest, key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature[64] += 27 // OpenZeppelin's ECDSA takes v as 27 or 28
	return signature, nil
}

// stubSignature is a well-formed signature of something else: for an estimate, before there is anything to sign.
func stubSignature(key *ecdsa.PrivateKey) ([]byte, error) {
	return sign(key, crypto.Keccak256([]byte("baler load stub")))
}
