package devchain

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// Key returns the well-known key number n of every development chain: keccak256("baler devchain key N"). Everyone has
// these keys: never send anything of worth to them on a public chain.
func Key(n int) *ecdsa.PrivateKey { return namedKey(fmt.Sprintf("baler devchain key %d", n)) }

// PaymasterSignerKey returns the key whose signature the verifying paymasters ask for.
func PaymasterSignerKey() *ecdsa.PrivateKey { return namedKey("baler devchain paymaster signer") }

// OwnerKey returns the key that deployed and owns the paymasters. It starts with 10,000 ETH too.
func OwnerKey() *ecdsa.PrivateKey { return namedKey("baler devchain owner") }

// namedKey derives a private key from a text. The hash of a fixed text is outside the curve's order with probability
// 2^-128; the names in this package are not, so the error cannot happen.
func namedKey(name string) *ecdsa.PrivateKey {
	d := crypto.Keccak256([]byte(name))
	key, err := crypto.ToECDSA(d)
	if err != nil {
		panic(fmt.Sprintf("devchain: key of %q: %v", name, err))
	}
	return key
}

// addressOf returns the account of a key.
func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// ether returns n ETH in wei.
func ether(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(params.Ether)) }
