package signer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Errors of keystore files.
var (
	ErrBadKeystore   = errors.New("not an encrypted key of version 3 (Web3 Secret Storage)")
	ErrWrongPassword = errors.New("the password does not open it")
)

// Keystore is encrypted keys, one file each, as geth and others write them (Web3 Secret Storage, version 3).
type Keystore struct {
	Files        []string
	Password     Secret // of all files
	PasswordFile string // or a file that holds it in its first line, for its owner only
}

func (k Keystore) given() bool { return len(k.Files) > 0 }

func (k Keystore) open() ([]Signer, error) {
	password, err := oneOf(k.Password, k.PasswordFile, SettingKeystorePassword, SettingKeystorePasswordFile)
	if err != nil {
		return nil, err
	}
	if k.PasswordFile != "" { // editors end the line
		first, _, _ := strings.Cut(string(password), "\n")
		password = Secret(strings.TrimSuffix(first, "\r"))
	}
	signers := make([]Signer, 0, len(k.Files))
	for _, path := range k.Files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, &SettingError{SettingKeystore, "", err}
		}
		key, err := openKeystore(text, password)
		if err != nil {
			return nil, &SettingError{SettingKeystore, path, err}
		}
		signers = append(signers, key)
	}
	return signers, nil
}

// openKeystore decrypts one key. What a library says of a broken file is not passed on: it may quote from it.
func openKeystore(text []byte, password Secret) (*PrivateKey, error) {
	var head struct {
		Version int    `json:"version"`
		Address string `json:"address"`
	}
	if err := json.Unmarshal(text, &head); err != nil || head.Version != 3 {
		return nil, ErrBadKeystore
	}
	key, err := keystore.DecryptKey(text, string(password))
	if errors.Is(err, keystore.ErrDecrypt) {
		return nil, ErrWrongPassword
	}
	if err != nil {
		return nil, ErrBadKeystore
	}
	signer, err := privateKeyOf(crypto.FromECDSA(key.PrivateKey), KindKeystore)
	if err != nil {
		return nil, ErrBadKeystore
	}
	// Privacy may leave the address out of the file. If it is there, it is what the operator saw and funded.
	if head.Address != "" && (!common.IsHexAddress(head.Address) || common.HexToAddress(head.Address) != signer.address) {
		return nil, fmt.Errorf("%w: it says that it is of %q, and its key is of %s", ErrBadKeystore, head.Address, signer.address)
	}
	return signer, nil
}

// privateKeyOf makes a signer of 32 bytes, and clears them.
func privateKeyOf(scalar []byte, kind Kind) (*PrivateKey, error) {
	key, err := crypto.ToECDSA(scalar)
	clear(scalar)
	if err != nil {
		return nil, ErrBadKey
	}
	signer := NewPrivateKey(key)
	signer.kind = kind
	return signer, nil
}
