package signer

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The names of the settings, as errors name them and as flags spell them.
const (
	SettingPrivateKeys          = "signer_private_keys"
	SettingPrivateKeyFile       = "signer_private_key_file"
	SettingMnemonic             = "signer_mnemonic"
	SettingMnemonicFile         = "signer_mnemonic_file"
	SettingMnemonicPath         = "signer_mnemonic_path"
	SettingMnemonicKeys         = "signer_mnemonic_keys"
	SettingKeystore             = "signer_keystore"
	SettingKeystorePassword     = "signer_keystore_password"
	SettingKeystorePasswordFile = "signer_keystore_password_file"
	SettingKMSKeyIDs            = "signer_kms_key_ids"
	SettingKMSRegion            = "signer_kms_region"
	SettingKMSCredentialsFile   = "signer_kms_credentials_file"
	SettingRemoteURL            = "signer_remote_url"
	SettingRemoteMethod         = "signer_remote_method"
	SettingRemoteAddresses      = "signer_remote_addresses"
)

// Config says where the keys are. Exactly one kind is given: which key comes first, and who may share it, would be
// anybody's guess otherwise.
type Config struct {
	PrivateKeys    []Secret // in hex
	PrivateKeyFile string   // or a file of them, separated by white space or commas, for its owner only
	Mnemonic       Mnemonic
	Keystore       Keystore
	KMS            KMS
	Remote         Remote
}

// SettingError is a setting that is wrong. It never holds a secret.
type SettingError struct {
	Setting string // one of the Setting constants
	Have    string // what was given, where it may be shown
	Err     error
}

// Error implements error.
func (e *SettingError) Error() string {
	if e.Have == "" {
		return fmt.Sprintf("--%s: %v", e.Setting, e.Err)
	}
	return fmt.Sprintf("--%s: %s: %v", e.Setting, e.Have, e.Err)
}

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// Errors about what is given together.
var (
	ErrNoneGiven = errors.New("no signer keys are given")
	ErrMixed     = errors.New("signer keys of more than one kind are given")
)

// Kind returns the kind of keys that is given. None and more than one are errors.
func (c Config) Kind() (Kind, error) {
	kinds := []struct {
		kind    Kind
		setting string
		given   bool
	}{
		{KindPrivateKey, SettingPrivateKeys + " (or _file)", len(c.PrivateKeys) > 0 || c.PrivateKeyFile != ""},
		{KindMnemonic, SettingMnemonic + " (or _file)", c.Mnemonic.given()},
		{KindKeystore, SettingKeystore, c.Keystore.given()},
		{KindKMS, SettingKMSKeyIDs, c.KMS.given()},
		{KindRemote, SettingRemoteURL, c.Remote.given()},
	}
	var kind Kind
	var have, want []string
	for _, k := range kinds {
		want = append(want, "--"+k.setting)
		if k.given {
			kind = k.kind
			have = append(have, "--"+k.setting)
		}
	}
	switch len(have) {
	case 1:
		return kind, nil
	case 0:
		return "", fmt.Errorf("%w: want one of %s", ErrNoneGiven, strings.Join(want, ", "))
	default:
		return "", fmt.Errorf("%w: have %s, want one of them", ErrMixed, strings.Join(have, " and "))
	}
}

// Open makes the signers of a configuration, in the order given. Keys in KMS and at a remote signer are asked for, so that a
// key that is not there, or not to be used, is known before there is anything to sign.
func Open(ctx context.Context, c Config) ([]Signer, error) {
	kind, err := c.Kind()
	if err != nil {
		return nil, err
	}
	var signers []Signer
	switch kind {
	case KindPrivateKey:
		return c.openPrivateKeys()
	case KindMnemonic:
		signers, err = c.Mnemonic.open()
	case KindKeystore:
		signers, err = c.Keystore.open()
	case KindKMS:
		signers, err = c.KMS.open(ctx)
	case KindRemote:
		signers, err = c.Remote.open(ctx)
	}
	if err != nil {
		return nil, err
	}
	return signers, distinct("signer keys", signers)
}

func (c Config) openPrivateKeys() ([]Signer, error) {
	setting, given := SettingPrivateKeys, c.PrivateKeys
	if c.PrivateKeyFile != "" {
		if len(given) > 0 {
			return nil, bothGiven(SettingPrivateKeys, SettingPrivateKeyFile)
		}
		setting = SettingPrivateKeyFile
		text, err := ReadSecretFile(c.PrivateKeyFile)
		if err != nil {
			return nil, &SettingError{setting, "", err}
		}
		given = []Secret{text}
	}
	var keys []string
	for _, text := range given {
		keys = append(keys, strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })...)
	}
	signers, err := ParsePrivateKeys(keys)
	if err != nil {
		return nil, &SettingError{setting, "", err}
	}
	return signers, nil
}

// oneOf returns a secret that is given as a value or as a file.
func oneOf(value Secret, file, valueSetting, fileSetting string) (Secret, error) {
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", bothGiven(valueSetting, fileSetting)
	}
	text, err := ReadSecretFile(file)
	if err != nil {
		return "", &SettingError{fileSetting, "", err}
	}
	return text, nil
}

func bothGiven(one, other string) error {
	return &SettingError{other, "", fmt.Errorf("--%s is given too, want one of the two", one)}
}
