package signer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/btcsuite/btcd/btcutil/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/ethereum/go-ethereum/accounts"
	"github.com/tyler-smith/go-bip39"
	"golang.org/x/text/unicode/norm"
)

// Errors of mnemonics. They hold no word of them.
var (
	ErrBadMnemonic = errors.New("not a BIP-39 mnemonic: want 12 to 24 English words with the right checksum")
	ErrBadPath     = errors.New("not a derivation path such as m/44'/60'/0'/0/0")
)

// DefaultPath is the derivation path of the first Ethereum account (BIP-44, coin type 60).
const DefaultPath = "m/44'/60'/0'/0/0"

// Mnemonic derives keys from a BIP-39 mnemonic: the first at Path, each further one with the last number of the path one
// higher.
type Mnemonic struct {
	Phrase     Secret // the words
	File       string // or a file that holds them, for its owner only
	Passphrase Secret // BIP-39's optional one
	Path       string // BIP-32; empty: DefaultPath
	Count      int    // how many keys; 0: one
}

func (m Mnemonic) given() bool { return m.Phrase != "" || m.File != "" }

// open derives the keys.
func (m Mnemonic) open() ([]Signer, error) {
	phrase, err := oneOf(m.Phrase, m.File, SettingMnemonic, SettingMnemonicFile)
	if err != nil {
		return nil, err
	}
	text := m.Path
	if text == "" {
		text = DefaultPath
	}
	path, err := accounts.ParseDerivationPath(text)
	if err != nil || len(path) == 0 || !strings.HasPrefix(strings.TrimSpace(text), "m") {
		return nil, &SettingError{SettingMnemonicPath, fmt.Sprintf("%q", text), ErrBadPath}
	}
	count := max(m.Count, 1)
	if last := path[len(path)-1] &^ hardened; m.Count < 0 || uint64(last)+uint64(count) > uint64(hardened) {
		return nil, &SettingError{SettingMnemonicKeys, fmt.Sprint(m.Count), fmt.Errorf("want 1 or more, and indices below 2^31 on path %s", path)}
	}
	// BIP-39: words are separated by single spaces, and words and passphrase are in Unicode's form NFKD.
	words := norm.NFKD.String(strings.Join(strings.Fields(strings.ToLower(string(phrase))), " "))
	seed, err := bip39.NewSeedWithErrorChecking(words, norm.NFKD.String(string(m.Passphrase)))
	if err != nil {
		return nil, &SettingError{SettingMnemonic, "", ErrBadMnemonic} // the library's error may quote a word
	}
	master, err := hdkeychain.NewMaster(seed, &chaincfg.MainNetParams) // the net is for text forms only, which are never made
	clear(seed)
	if err != nil {
		return nil, &SettingError{SettingMnemonic, "", ErrBadMnemonic}
	}
	defer master.Zero()
	signers := make([]Signer, 0, count)
	for i := range count {
		at := append(accounts.DerivationPath(nil), path...)
		at[len(at)-1] += uint32(i)
		key, err := derive(master, at)
		if err != nil {
			return nil, &SettingError{SettingMnemonicPath, at.String(), errors.New("no key there; want another path")}
		}
		signers = append(signers, key)
	}
	return signers, nil
}

// hardened is the bit of a path's number that asks for hardened derivation.
const hardened = uint32(math.MaxInt32 + 1)

// derive walks down a BIP-32 path.
func derive(master *hdkeychain.ExtendedKey, path accounts.DerivationPath) (*PrivateKey, error) {
	key := master
	for _, index := range path {
		child, err := key.Derive(index)
		if key != master {
			key.Zero()
		}
		if err != nil {
			return nil, err
		}
		key = child
	}
	private, err := key.ECPrivKey()
	if err != nil {
		return nil, err
	}
	return privateKeyOf(private.Serialize(), KindMnemonic)
}
