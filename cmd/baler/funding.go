package main

import (
	"context"

	"baler/node"
	"baler/signer"

	"github.com/holiman/uint256"
)

// fundingSettings say which key keeps the others in funds, and when.
type fundingSettings struct {
	FundingPrivateKey     string `help:"Private key in hex that funds the bundle senders' keys. Better given as BALER_FUNDING_PRIVATE_KEY." placeholder:"KEY" secret:""`
	FundingPrivateKeyFile string `help:"File with that key, that only its owner may read (mode 0600)." placeholder:"FILE"`
	FundingKMSKeyID       string `help:"Key in AWS KMS that funds them, reached as the signer_kms settings say." name:"funding-kms-key-id" placeholder:"KEY"`
	FundBelow             string `help:"Keys with less than this are funded, in wei. Needs a funding key." placeholder:"WEI"`
	FundTo                string `help:"What they are funded to, in wei." placeholder:"WEI"`
	FundCheckBlocks       uint64 `help:"Blocks between looks at the balances. A key that cannot pay is looked at with the next block." default:"10"`
}

// key opens the funding key; nil if none is given.
func (s fundingSettings) key(ctx context.Context, keys keySettings, leased bool) (signer.Signer, error) {
	config := signer.Config{PrivateKeyFile: s.FundingPrivateKeyFile}
	if s.FundingPrivateKey != "" {
		config.PrivateKeys = []signer.Secret{signer.Secret(s.FundingPrivateKey)}
	}
	if s.FundingKMSKeyID != "" {
		config.KMS = keys.kms()
		config.KMS.KeyIDs = []string{s.FundingKMSKeyID}
	}
	if s.FundingPrivateKey == "" && s.FundingPrivateKeyFile == "" && s.FundingKMSKeyID == "" {
		return nil, nil
	}
	if s.FundingKMSKeyID != "" && !leased && !keys.SignerKMSSingleProcess {
		return nil, badSetting("--funding_kms_key_id: has no lease of the key: say --signer_kms_single_process if no other process uses it")
	}
	opened, err := signer.Open(ctx, config)
	if err != nil {
		return nil, badSetting("the funding key: %w", err)
	}
	if len(opened) != 1 {
		return nil, badSetting("the funding key: have %d keys, want one", len(opened))
	}
	return opened[0], nil
}

// levels reads the amounts.
func (s fundingSettings) levels() (below, to uint256.Int, err error) {
	if below, err = wei("--fund_below", s.FundBelow, uint256.Int{}); err != nil {
		return below, to, err
	}
	if to, err = wei("--fund_to", s.FundTo, uint256.Int{}); err != nil {
		return below, to, err
	}
	if below.IsZero() || to.Lt(&below) {
		return below, to, badSetting("--fund_below and --fund_to: have %q and %q, want more than 0 wei, and no less", s.FundBelow, s.FundTo)
	}
	return below, to, nil
}

// open makes the node's funding; the zero value if no key is given.
func (s fundingSettings) open(ctx context.Context, keys keySettings, leased bool) (node.Funding, error) {
	key, err := s.key(ctx, keys, leased)
	switch {
	case err != nil:
		return node.Funding{}, err
	case key == nil && (s.FundBelow != "" || s.FundTo != ""):
		return node.Funding{}, badSetting("--fund_below: needs a funding key: --funding_private_key, _file, or --funding_kms_key_id")
	case key == nil:
		return node.Funding{}, nil
	}
	funds := node.Funding{Key: key, Every: s.FundCheckBlocks}
	funds.Below, funds.To, err = s.levels()
	return funds, err
}
