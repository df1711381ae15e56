package signer

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// testMnemonic is the mnemonic of Hardhat's and Anvil's accounts, known to everybody.
const testMnemonic = "test test test test test test test test test test test junk"

func testAccounts() []common.Address {
	return []common.Address{
		common.HexToAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
		common.HexToAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
		common.HexToAddress("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
	}
}

// written writes a file with the mode, and returns its path.
func written(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// opened opens a configuration, and checks the accounts and that nothing prints a secret.
func opened(t *testing.T, c Config, want []common.Address, secrets ...string) []Signer {
	t.Helper()
	signers, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(signers) != len(want) {
		t.Fatalf("have %d signers, want %d", len(signers), len(want))
	}
	for i, s := range signers {
		if s.Address() != want[i] {
			t.Errorf("signer %d: have %s, want %s", i+1, s.Address(), want[i])
		}
	}
	checkHidden(t, "the configuration", c, secrets...)
	checkHidden(t, "the signers", signers, secrets...)
	checkSigns(t, signers[0])
	checkOtherChain(t, signers[0])
	checkTold(t, c, signers[0])
	return signers
}

// checkTold: each signature is told with the kind of the key and the time it took.
func checkTold(t *testing.T, c Config, s Signer) {
	t.Helper()
	kind, err := c.Kind()
	if err != nil {
		t.Fatal(err)
	}
	var calls []Call
	ctx := WithObserver(t.Context(), func(c Call) { calls = append(calls, c) })
	tx := transactions(t)["1559"]
	if _, err := s.SignTx(ctx, tx, testChain); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignTx(ctx, tx, common.Big1); err == nil {
		t.Error("signed for another chain")
	}
	if len(calls) != 2 {
		t.Fatalf("have %d calls told, want 2", len(calls))
	}
	for i, failure := range []Failure{"", Refused} {
		if call := calls[i]; call.Kind != kind || call.Failure != failure || call.Signer != s.Address() || call.Took <= 0 {
			t.Errorf("call %d: have %+v, want kind %s and failure %q", i+1, call, kind, failure)
		}
	}
}

func TestPrivateKeysComeFromAFileForItsOwnerOnly(t *testing.T) {
	text := keyOne + "\n" + keyTwo + "\r\n"
	want := []common.Address{common.HexToAddress("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"), testAccounts()[1]}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		opened(t, Config{PrivateKeyFile: written(t, text, mode)}, want, keyOne[:8], keyTwo[2:10])
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620, 0o601} {
		_, err := Open(t.Context(), Config{PrivateKeyFile: written(t, text, mode)})
		if !errors.Is(err, ErrOpenToOthers) {
			t.Errorf("mode %o: have error %v, want %v", mode, err, ErrOpenToOthers)
		}
	}
}

// Kubernetes and systemd hand files of root to a service's user by rights of the group.
func TestAFileThatRootHandsOverMayBeReadByItsGroup(t *testing.T) {
	const root, service, other = 0, 65532, 1000
	for _, c := range []struct {
		mode           os.FileMode
		owner, process int
		private        bool
	}{
		{0o440, root, service, true},
		{0o640, root, service, true},
		{0o400, root, service, true},
		{0o444, root, service, false},
		{0o460, root, service, false},
		{0o450, root, service, false},
		{0o440, root, root, false},
		{0o440, service, service, false},
		{0o440, other, service, false},
		{0o600, service, service, true},
	} {
		if err := checkPrivate(c.mode, c.owner, c.process); (err == nil) != c.private || err != nil && !errors.Is(err, ErrOpenToOthers) {
			t.Errorf("mode %o of user %d for a process of %d: have %v, want private %v", c.mode, c.owner, c.process, err, c.private)
		}
	}
}

func TestAMnemonicGivesTheAccountsOfItsPath(t *testing.T) {
	accounts := testAccounts()
	opened(t, Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Count: 3}}, accounts, "test", "junk", keyTwo[2:10])
	opened(t, Config{Mnemonic: Mnemonic{Phrase: testMnemonic}}, accounts[:1], "junk")
	opened(t, Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Path: "m/44'/60'/0'/0/1", Count: 2}}, accounts[1:], "junk")
	opened(t, Config{Mnemonic: Mnemonic{File: written(t, "  "+strings.ReplaceAll(testMnemonic, " ", "\n ")+"\n", 0o600), Count: 2}}, accounts[:2], "junk")

	// BIP-39's own vector: this mnemonic with the passphrase TREZOR has the seed c55257c3...; without, Ethereum's first account
	// is the one every wallet shows.
	abandon := Secret(strings.Repeat("abandon ", 11) + "about")
	opened(t, Config{Mnemonic: Mnemonic{Phrase: abandon}}, []common.Address{common.HexToAddress("0x9858EfFD232B4033E47d90003D41EC34EcaEda94")}, "abandon")
	plain, err := Mnemonic{Phrase: abandon}.open()
	if err != nil {
		t.Fatal(err)
	}
	with, err := Mnemonic{Phrase: abandon, Passphrase: "TREZOR"}.open()
	if err != nil {
		t.Fatal(err)
	}
	if plain[0].Address() == with[0].Address() {
		t.Error("the passphrase makes no difference")
	}
	// One passphrase in Unicode's composed and decomposed form is one passphrase (BIP-39: NFKD).
	composed, err := Mnemonic{Phrase: abandon, Passphrase: "caf\u00e9"}.open()
	if err != nil {
		t.Fatal(err)
	}
	decomposed, err := Mnemonic{Phrase: abandon, Passphrase: "cafe\u0301"}.open()
	if err != nil {
		t.Fatal(err)
	}
	if composed[0].Address() != decomposed[0].Address() {
		t.Error("two spellings of one passphrase give two accounts")
	}
}

// The test vector of the Web3 Secret Storage definition, with PBKDF2.
const keystoreVector = `{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,
"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`

const (
	vectorKey      = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
	vectorPassword = "testpassword"
)

// keystoreFile encrypts a key as geth does, with parameters that are quick.
func keystoreFile(t *testing.T, hexKey, password string) string {
	t.Helper()
	private, err := crypto.HexToECDSA(strings.TrimPrefix(hexKey, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := keystore.EncryptKey(&keystore.Key{PrivateKey: private, Address: crypto.PubkeyToAddress(private.PublicKey)}, password, 1<<4, 1)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, string(text), 0o600)
}

func TestKeystoreFilesAreOpenedWithTheirPassword(t *testing.T) {
	vector, err := crypto.HexToECDSA(vectorKey)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{written(t, keystoreVector, 0o600), keystoreFile(t, keyTwo, vectorPassword)}
	want := []common.Address{crypto.PubkeyToAddress(vector.PublicKey), testAccounts()[1]}
	hidden := []string{vectorPassword, vectorKey[:8], keyTwo[2:10]}
	opened(t, Config{Keystore: Keystore{Files: files, Password: vectorPassword}}, want, hidden...)
	opened(t, Config{Keystore: Keystore{Files: files, PasswordFile: written(t, vectorPassword+"\r\nsecond line\n", 0o600)}}, want, hidden...)
}

func TestWrongKeysAreRefusedWithAReasonAndNoSecret(t *testing.T) {
	private := keyOne
	other := keystoreFile(t, keyTwo, vectorPassword)
	var fields map[string]any
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	fields["address"] = testAccounts()[0].Hex()
	misnamed, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config Config
		want   error
		text   string
	}{
		"nothing":            {Config{}, ErrNoneGiven, "--signer_kms_key_ids"},
		"two kinds":          {Config{PrivateKeys: []Secret{Secret(private)}, KMS: KMS{KeyIDs: []string{"k"}}}, ErrMixed, "--signer_private_keys (or _file) and --signer_kms_key_ids"},
		"three kinds":        {Config{PrivateKeyFile: "f", Mnemonic: Mnemonic{Phrase: testMnemonic}, Remote: Remote{URL: "http://h"}}, ErrMixed, "--signer_mnemonic (or _file) and --signer_remote_url"},
		"keys and file":      {Config{PrivateKeys: []Secret{Secret(private)}, PrivateKeyFile: written(t, keyTwo, 0o600)}, nil, "--signer_private_keys is given too"},
		"words and file":     {Config{Mnemonic: Mnemonic{Phrase: testMnemonic, File: written(t, testMnemonic, 0o600)}}, nil, "--signer_mnemonic is given too"},
		"no key file":        {Config{PrivateKeyFile: "/nowhere/key"}, os.ErrNotExist, "--signer_private_key_file"},
		"folder":             {Config{PrivateKeyFile: t.TempDir()}, nil, "want a file"},
		"empty file":         {Config{PrivateKeyFile: written(t, " \n", 0o600)}, ErrNoKeys, "--signer_private_key_file"},
		"half a key in file": {Config{PrivateKeyFile: written(t, private[:40], 0o600)}, ErrBadKey, "signer private key 1"},
		"long file":          {Config{PrivateKeyFile: written(t, strings.Repeat(private+"\n", 20_000), 0o600)}, nil, "more than"},
		"wrong checksum":     {Config{Mnemonic: Mnemonic{Phrase: Secret(strings.Repeat("abandon ", 11) + "abandon")}}, ErrBadMnemonic, ""},
		"no word":            {Config{Mnemonic: Mnemonic{Phrase: Secret(strings.Repeat("abandon ", 11) + "secretword")}}, ErrBadMnemonic, ""},
		"five words":         {Config{Mnemonic: Mnemonic{Phrase: "abandon abandon abandon abandon about"}}, ErrBadMnemonic, ""},
		"path of no sort":    {Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Path: "m/44'/x"}}, ErrBadPath, "--signer_mnemonic_path"},
		"relative path":      {Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Path: "0/1"}}, ErrBadPath, "--signer_mnemonic_path"},
		"indices run out":    {Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Path: "m/2147483647", Count: 2}}, nil, "--signer_mnemonic_keys"},
		"hardened run out":   {Config{Mnemonic: Mnemonic{Phrase: testMnemonic, Path: "m/2147483647'", Count: 2}}, nil, "--signer_mnemonic_keys"},
		"mnemonic file open": {Config{Mnemonic: Mnemonic{File: written(t, testMnemonic, 0o644)}}, ErrOpenToOthers, "--signer_mnemonic_file"},
		"wrong password":     {Config{Keystore: Keystore{Files: []string{other}, Password: "wrongpassword"}}, ErrWrongPassword, "--signer_keystore"},
		"password file open": {Config{Keystore: Keystore{Files: []string{other}, PasswordFile: written(t, vectorPassword, 0o644)}}, ErrOpenToOthers, "--signer_keystore_password_file"},
		"version 1":          {Config{Keystore: Keystore{Files: []string{written(t, `{"version":"1"}`, 0o600)}, Password: vectorPassword}}, ErrBadKeystore, ""},
		"no keystore":        {Config{Keystore: Keystore{Files: []string{written(t, private, 0o600)}, Password: vectorPassword}}, ErrBadKeystore, ""},
		"another's address":  {Config{Keystore: Keystore{Files: []string{written(t, string(misnamed), 0o600)}, Password: vectorPassword}}, ErrBadKeystore, testAccounts()[0].Hex()},
		"keystore twice":     {Config{Keystore: Keystore{Files: []string{other, other}, Password: vectorPassword}}, ErrDuplicateKey, "1 and 2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), test.config)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("have error %v, want %v with %q in it", err, test.want, test.text)
			}
			for _, secret := range []string{private[:8], keyTwo[2:10], "abandon", "secretword", "junk", vectorPassword, "wrongpassword"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %q: %v", secret, err)
				}
			}
		})
	}
}
