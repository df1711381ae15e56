package main

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/internal/fakekms"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/holiman/uint256"
)

// keyring is a way of giving the program its keys: what it is told, and what must never show.
type keyring struct {
	env, flags []string
	secrets    []string
	accounts   []common.Address
}

// formsOf are all the forms in which a key might show.
func formsOf(key *ecdsa.PrivateKey) []string {
	raw := crypto.FromECDSA(key)
	return []string{fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), new(big.Int).SetBytes(raw).String(), base64.StdEncoding.EncodeToString(raw), string(raw)}
}

// Every kind of key runs a bundler through its life: operations, delegations, a stop. Then all it has written anywhere is
// searched for what must not be there.
func TestKeysOfEveryKindSignAndNeverShow(t *testing.T) {
	t.Parallel()
	const mnemonic = "test test test test test test test test test test test junk"
	for name, make := range map[string]func(t *testing.T, chain *devchain.Chain) keyring{
		"private keys in the environment": func(_ *testing.T, chain *devchain.Chain) keyring {
			env, _ := secrets(chain, 2)
			return keyring{env: []string{env}}
		},
		"private keys by flag": func(_ *testing.T, chain *devchain.Chain) keyring {
			_, keys := secrets(chain, 2)
			return keyring{flags: []string{"--signer-private-keys", strings.Join(keys, ",")}}
		},
		"private keys in a file": func(t *testing.T, chain *devchain.Chain) keyring {
			_, keys := secrets(chain, 2)
			return keyring{flags: []string{"--signer-private-key-file", privateFile(t, strings.Join(keys, "\n"))}}
		},
		"a mnemonic": func(_ *testing.T, _ *devchain.Chain) keyring {
			return keyring{
				env: []string{"BALER_SIGNER_MNEMONIC=" + mnemonic}, flags: []string{"--signer-mnemonic-keys=2"}, secrets: []string{"test test", "test junk"},
				accounts: []common.Address{
					common.HexToAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"), common.HexToAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
				},
			}
		},
		"keystore files": keystoreRing,
		"AWS KMS":        kmsRing,
		"Web3Signer":     remoteRing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := startChain(t, interval())
			ring := make(t, chain)
			for _, key := range chain.Keys()[:2] {
				ring.secrets = append(ring.secrets, formsOf(key)...)
			}
			if ring.accounts == nil {
				ring.accounts = []common.Address{addressOf(chain.Keys()[0]), addressOf(chain.Keys()[1])}
			}
			w := chainOnly(chain)
			dir := t.TempDir()
			p := startProgram(t, ring.env, append([]string{
				"node", "--node-http", chain.HTTPURL(), "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json", "--log-level=debug", "--data-dir", dir,
			}, ring.flags...)...)
			ready := p.logged(t, "baler is running")
			url, _ := ready["rpc"].(string)
			w.reach(t, url)
			for _, account := range ring.accounts {
				w.awaitTransaction(t, w.pay(t, account, ether(10), nil))
			}
			accounts := w.deployedAccounts(t, userop.V07, 3)
			w.checkOnceEach(t, slices.Concat(w.sendOneEach(t, accounts), w.sendOneEach(t, accounts)))
			delegate := w.delegatingAccount(t, userop.V08)
			delegate.run(t, delegate.op(t, w.count(t), delegate.delegating(t, nil, delegate.owner)))
			said := w.askAll(t)
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
			_, replay, complaints := replayed(t, replayCommand{File: dir})
			hidden(t, ring.secrets, map[string]string{
				"the log": p.stderr.String(), "the output": p.stdout.String(), "JSON-RPC": said, "the replay": replay + complaints,
			})
			hidden(t, ring.secrets, contents(t, dir))
		})
	}
}

// askAll asks for all that the server shows about itself.
func (w *world) askAll(t *testing.T) string {
	t.Helper()
	var said strings.Builder
	for _, path := range []string{"/health", "/metrics", "/"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Write(&said); err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	for _, method := range []string{"debug_bundler_dumpMempool", "debug_bundler_dumpReputation"} {
		var answer json.RawMessage
		w.call(t, &answer, method, entrypoint.Canonical(userop.V07).Address)
		said.Write(answer)
	}
	return said.String()
}

// hidden looks for secrets.
func hidden(t *testing.T, secrets []string, places map[string]string) {
	t.Helper()
	for place, text := range places {
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows secret %d", place, i)
			}
		}
	}
}

// contents reads every file in a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("have %d files (%v)", len(files), err)
	}
	return files
}

func privateFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keystoreRing(t *testing.T, chain *devchain.Chain) keyring {
	const password = "correct horse battery"
	ring := keyring{flags: []string{"--signer-keystore-password-file", privateFile(t, password+"\n")}, secrets: []string{password}}
	for _, key := range chain.Keys()[:2] {
		text, err := keystore.EncryptKey(&keystore.Key{PrivateKey: key, Address: addressOf(key)}, password, 1<<4, 1)
		if err != nil {
			t.Fatal(err)
		}
		ring.flags = append(ring.flags, "--signer-keystore", privateFile(t, string(text)))
	}
	return ring
}

func kmsRing(t *testing.T, chain *devchain.Chain) keyring {
	const access, secret = "AKIATESTTESTTESTTEST", "wJalrXUtnFEMI-test-secret"
	kms := fakekms.Start(access, map[string]*ecdsa.PrivateKey{"one": chain.Keys()[0], "two": chain.Keys()[1]})
	t.Cleanup(kms.Close)
	kms.Fail(fakekms.Throttle, fakekms.None, fakekms.Internal, fakekms.Deny, fakekms.OtherKey)
	t.Cleanup(func() {
		if _, signed, high := kms.Counts(); signed == 0 || high == 0 {
			t.Errorf("KMS has made %d signatures, %d of them with a high S, want some of both", signed, high)
		}
	})
	return keyring{
		env: []string{"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_EC2_METADATA_DISABLED=true"},
		flags: []string{
			"--signer-kms-key-ids=one,two", "--signer-kms-region=eu-central-1", "--signer-kms-endpoint", kms.URL, "--signer-kms-timeout=1m",
			"--signer-kms-single-process",
		},
		secrets: []string{secret},
	}
}

// remoteRing is Web3Signer's protocol: the transaction is made anew from the arguments.
func remoteRing(t *testing.T, chain *devchain.Chain) keyring {
	const token = "Bearer token-of-the-remote-signer"
	keys := chain.Keys()[:2]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID     json.RawMessage   `json:"id"`
			Method string            `json:"method"`
			Params []json.RawMessage `json:"params"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || r.Header.Get("Authorization") != token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		var result any = []common.Address{addressOf(keys[0]), addressOf(keys[1])}
		if request.Method == "eth_signTransaction" {
			signed, err := remoteSigned(keys, request.Params[0])
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			result = signed
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": request.ID, "result": result})
	}))
	t.Cleanup(server.Close)
	return keyring{
		env: []string{"BALER_SIGNER_REMOTE_AUTHORIZATION=" + token},
		flags: []string{
			"--signer-remote-url", server.URL + "/path-with-an-api-key", "--signer-remote-addresses", addressOf(keys[0]).Hex() + "," + addressOf(keys[1]).Hex(),
		},
		secrets: []string{"token-of-the-remote-signer", "path-with-an-api-key"},
	}
}

func remoteSigned(keys []*ecdsa.PrivateKey, raw json.RawMessage) (hexutil.Bytes, error) {
	var args apitypes.SendTxArgs
	var more struct {
		Authorizations []types.SetCodeAuthorization `json:"authorizationList"`
	}
	if err := json.Unmarshal(raw, &args); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &more); err != nil {
		return nil, err
	}
	tx, err := args.ToTransaction()
	if err != nil {
		return nil, err
	}
	if len(more.Authorizations) > 0 {
		tx = types.NewTx(&types.SetCodeTx{
			ChainID: uint256.MustFromBig((*big.Int)(args.ChainID)), Nonce: tx.Nonce(), Gas: tx.Gas(), To: *tx.To(), Data: tx.Data(),
			GasFeeCap: uint256.MustFromBig(tx.GasFeeCap()), GasTipCap: uint256.MustFromBig(tx.GasTipCap()),
			Value: uint256.MustFromBig(tx.Value()), AuthList: more.Authorizations,
		})
	}
	for _, key := range keys {
		if addressOf(key) == args.From.Address() {
			if tx, err = types.SignTx(tx, types.LatestSignerForChainID((*big.Int)(args.ChainID)), key); err != nil {
				return nil, err
			}
			return tx.MarshalBinary()
		}
	}
	return nil, errors.New("no such account")
}
