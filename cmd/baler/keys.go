package main

import (
	"context"
	"time"

	"baler/signer"
)

// keySettings say where the bundle senders' keys are. One kind of them is given.
type keySettings struct {
	SignerPrivateKeys    []string `help:"Private keys in hex, one bundle sender each. Better given as BALER_SIGNER_PRIVATE_KEYS." placeholder:"KEY" secret:""`
	SignerPrivateKeyFile string   `help:"File of private keys in hex, that only its owner may read (mode 0600)." placeholder:"FILE"`

	SignerMnemonic           string `help:"BIP-39 mnemonic of the keys. Better given as BALER_SIGNER_MNEMONIC." placeholder:"WORDS" secret:""`
	SignerMnemonicFile       string `help:"File with the mnemonic, that only its owner may read (mode 0600)." placeholder:"FILE"`
	SignerMnemonicPassphrase string `help:"BIP-39 passphrase of the mnemonic. Better given as BALER_SIGNER_MNEMONIC_PASSPHRASE." placeholder:"TEXT" secret:""`
	SignerMnemonicPath       string `help:"Derivation path (BIP-32) of the mnemonic's first key; the further ones follow in the last number." default:"m/44'/60'/0'/0/0" placeholder:"PATH"`
	SignerMnemonicKeys       int    `help:"How many keys of the mnemonic are used." default:"1"`

	SignerKeystore             []string `help:"Encrypted key files (Web3 Secret Storage, version 3), one bundle sender each." placeholder:"FILE"`
	SignerKeystorePassword     string   `help:"Password of the key files. Better given as BALER_SIGNER_KEYSTORE_PASSWORD." placeholder:"TEXT" secret:""`
	SignerKeystorePasswordFile string   `help:"File with the password in its first line, that only its owner may read (mode 0600)." placeholder:"FILE"`

	SignerKMSKeyIDs          []string      `help:"Keys in AWS KMS (ECC_SECG_P256K1, for signing): ids, ARNs or aliases, one bundle sender each. Credentials come from where the AWS SDK looks for them." name:"signer-kms-key-ids" placeholder:"KEY"`
	SignerKMSRegion          string        `help:"AWS region of the keys. Default: as the AWS SDK finds it." name:"signer-kms-region" placeholder:"REGION"`
	SignerKMSEndpoint        string        `help:"URL of KMS instead of the region's own." name:"signer-kms-endpoint" placeholder:"URL"`
	SignerKMSProfile         string        `help:"Profile of the AWS configuration to use." name:"signer-kms-profile" placeholder:"NAME"`
	SignerKMSCredentialsFile string        `help:"AWS shared credentials file instead of the AWS SDK's, that only its owner may read (mode 0600)." name:"signer-kms-credentials-file" placeholder:"FILE"`
	SignerKMSTimeout         time.Duration `help:"Time for one attempt at a signature." name:"signer-kms-timeout" default:"2s"`
	SignerKMSAttempts        int           `help:"Attempts at one signature." name:"signer-kms-attempts" default:"5"`
	SignerKMSSingleProcess   bool          `help:"Say that no other process signs with these keys of KMS. Without it, keys in KMS need leases." name:"signer-kms-single-process"`

	SignerRemoteURL           string        `help:"URL, or path of the socket, of a remote signer: Web3Signer or Clef." name:"signer-remote-url" placeholder:"URL" secret:""`
	SignerRemoteAddresses     []string      `help:"Accounts of the remote signer, one bundle sender each." placeholder:"ADDRESS"`
	SignerRemoteMethod        string        `help:"eth_signTransaction (Web3Signer) or account_signTransaction (Clef)." enum:"eth_signTransaction,account_signTransaction" default:"eth_signTransaction"`
	SignerRemoteAuthorization string        `help:"Authorization header for the remote signer. Better given as BALER_SIGNER_REMOTE_AUTHORIZATION." placeholder:"VALUE" secret:""`
	SignerRemoteTimeout       time.Duration `help:"Time for one signature of the remote signer." default:"10s"`
}

// open opens the keys. leased says that keys are leased, so that no two processes sign with one.
func (s keySettings) open(ctx context.Context, leased bool) ([]signer.Signer, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	kind, err := config.Kind()
	switch {
	case err != nil:
		return nil, settingsError{err}
	case kind == signer.KindKMS && !leased && !s.SignerKMSSingleProcess:
		return nil, badSetting("--signer_kms_key_ids: keys in KMS can be shared by processes, and two that sign with one key take each other's nonces: " +
			"lease them through Redis (--redis_url), or say --signer_kms_single_process if this is the only process that uses them")
	}
	keys, err := signer.Open(ctx, config)
	if err != nil {
		return nil, settingsError{err}
	}
	return keys, nil
}

func (s keySettings) config() (signer.Config, error) {
	accounts, err := addresses("--signer_remote_addresses", s.SignerRemoteAddresses)
	if err != nil {
		return signer.Config{}, err
	}
	config := signer.Config{
		PrivateKeyFile: s.SignerPrivateKeyFile,
		Mnemonic: signer.Mnemonic{
			Phrase: signer.Secret(s.SignerMnemonic), File: s.SignerMnemonicFile, Passphrase: signer.Secret(s.SignerMnemonicPassphrase),
			Path: s.SignerMnemonicPath, Count: s.SignerMnemonicKeys,
		},
		Keystore: signer.Keystore{
			Files: s.SignerKeystore, Password: signer.Secret(s.SignerKeystorePassword), PasswordFile: s.SignerKeystorePasswordFile,
		},
		KMS: s.kms(),
		Remote: signer.Remote{
			URL: signer.Secret(s.SignerRemoteURL), Addresses: accounts, Method: s.SignerRemoteMethod,
			Authorization: signer.Secret(s.SignerRemoteAuthorization), Timeout: s.SignerRemoteTimeout,
		},
	}
	for _, key := range s.SignerPrivateKeys {
		config.PrivateKeys = append(config.PrivateKeys, signer.Secret(key))
	}
	return config, nil
}

func (s keySettings) kms() signer.KMS {
	return signer.KMS{
		KeyIDs: s.SignerKMSKeyIDs, Region: s.SignerKMSRegion, Endpoint: s.SignerKMSEndpoint, Profile: s.SignerKMSProfile,
		CredentialsFile: s.SignerKMSCredentialsFile, Timeout: s.SignerKMSTimeout, Attempts: s.SignerKMSAttempts,
	}
}
