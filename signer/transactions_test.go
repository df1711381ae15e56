package signer

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/holiman/uint256"
)

var testChain = big.NewInt(1337)

// testSidecar is an empty blob with its proofs, which take long to make.
var testSidecar = sync.OnceValue(func() *types.BlobTxSidecar {
	var blob kzg4844.Blob
	commitment, err := kzg4844.BlobToCommitment(&blob)
	if err != nil {
		panic(err)
	}
	proofs, err := kzg4844.ComputeCellProofs(&blob)
	if err != nil {
		panic(err)
	}
	return types.NewBlobTxSidecar(types.BlobSidecarVersion1, []kzg4844.Blob{blob}, []kzg4844.Commitment{commitment}, proofs)
})

// transactions is one transaction of each type, unsigned, for testChain.
func transactions(t testing.TB) map[string]*types.Transaction {
	t.Helper()
	id, to := uint256.MustFromBig(testChain), common.Address{1}
	data := bytes.Repeat([]byte{7}, 36)
	list := types.AccessList{{Address: to, StorageKeys: []common.Hash{{1}}}}
	delegator, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	authorization, err := types.SignSetCode(delegator, types.SetCodeAuthorization{ChainID: *id, Address: to, Nonce: 5})
	if err != nil {
		t.Fatal(err)
	}
	sidecar := testSidecar()
	return map[string]*types.Transaction{
		"legacy": types.NewTx(&types.LegacyTx{Nonce: 3, To: &to, Gas: 30000, GasPrice: big.NewInt(1), Data: data, Value: big.NewInt(9)}),
		"create": types.NewTx(&types.DynamicFeeTx{ChainID: testChain, Gas: 90000, GasFeeCap: big.NewInt(2), GasTipCap: big.NewInt(1), Data: data}),
		"access list": types.NewTx(&types.AccessListTx{
			ChainID: testChain, To: &to, Gas: 30000, GasPrice: big.NewInt(1), AccessList: list, Data: data,
		}),
		"1559": types.NewTx(&types.DynamicFeeTx{
			ChainID: testChain, Nonce: 1 << 40, To: &to, Gas: 30000, GasFeeCap: big.NewInt(2), GasTipCap: big.NewInt(1), AccessList: list,
		}),
		"4844": types.NewTx(&types.BlobTx{
			ChainID: id, To: to, Gas: 30000, GasFeeCap: uint256.NewInt(2), GasTipCap: uint256.NewInt(1), Value: new(uint256.Int),
			BlobFeeCap: uint256.NewInt(3), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
		}),
		"7702": types.NewTx(&types.SetCodeTx{
			ChainID: id, To: to, Gas: 60000, GasFeeCap: uint256.NewInt(2), GasTipCap: uint256.NewInt(1), Value: new(uint256.Int), Data: data,
			AuthList: []types.SetCodeAuthorization{authorization},
		}),
	}
}

// checkSigns signs every type of transaction, and checks that nothing but the signature has changed.
func checkSigns(t *testing.T, s Signer) {
	t.Helper()
	for name, tx := range transactions(t) {
		signed, err := s.SignTx(t.Context(), tx, testChain)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkSigned(t, name, s, tx, signed)
	}
}

func checkSigned(t *testing.T, name string, s Signer, tx, signed *types.Transaction) {
	t.Helper()
	rules := types.LatestSignerForChainID(testChain)
	if from, err := types.Sender(rules, signed); err != nil || from != s.Address() {
		t.Errorf("%s: recovered %s (%v), want %s", name, from, err, s.Address())
	}
	if signed.Type() != tx.Type() || rules.Hash(signed) != rules.Hash(tx) {
		t.Errorf("%s: the signed transaction is another one", name)
	}
	if _, _, v := signed.RawSignatureValues(); v.Cmp(new(big.Int).Rsh(crypto.S256().Params().N, 1)) > 0 {
		t.Errorf("%s: S is in the upper half of the order", name)
	}
	if (tx.BlobTxSidecar() == nil) != (signed.BlobTxSidecar() == nil) {
		t.Errorf("%s: the sidecar was lost", name)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	var again types.Transaction
	if err := again.UnmarshalBinary(raw); err != nil || again.Hash() != signed.Hash() {
		t.Errorf("%s: its bytes do not decode to it (%v)", name, err)
	}
}

// checkOtherChain: a transaction that names another chain is never signed.
func checkOtherChain(t *testing.T, s Signer) {
	t.Helper()
	for name, tx := range transactions(t) {
		if tx.Type() == types.LegacyTxType {
			continue // names no chain before it is signed
		}
		if _, err := s.SignTx(context.Background(), tx, big.NewInt(1)); err == nil {
			t.Errorf("%s: signed for chain 1, though it says chain 1337", name)
		}
	}
}

// checkHidden prints a value in every way and looks for parts of secrets.
func checkHidden(t *testing.T, what string, value any, secrets ...string) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		printed := fmt.Sprintf(verb, value)
		for _, secret := range secrets {
			if strings.Contains(printed, secret) {
				t.Errorf("%s printed by %s shows a secret", what, verb)
			}
		}
	}
}
