//go:build nodev

package main

import (
	"crypto/ecdsa"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// The operators' build (go build -tags=nodev): everything but the embedded chain, which is a whole geth and half of the program's file.

// errNoChain is what the commands that need the embedded chain say.
var errNoChain = badSetting("this build has no embedded chain (it was built with -tags=nodev): 'make build' makes one that has")

// noChain takes any arguments, so that whoever types a command with flags learns why there is none.
type noChain struct {
	Arguments []string `arg:"" optional:"" passthrough:"" hidden:"" help:"Not looked at."`
}

// Run says that there is no chain.
func (noChain) Run() error { return errNoChain }

// Help is shown with the flags.
func (noChain) Help() string {
	return "Not in this build, which has no embedded chain: it was built with -tags=nodev."
}

type (
	devCommand  struct{ noChain }
	demoCommand struct{ noChain }
)

func developmentFactory(userop.Version) (common.Address, error) {
	return common.Address{}, badSetting("--factory is missing: this build has no embedded chain whose factory would be the default")
}

func developmentFundingKey() (*ecdsa.PrivateKey, error) {
	return nil, badSetting("--funding_key is missing: this build has no embedded chain whose key would be the default")
}
