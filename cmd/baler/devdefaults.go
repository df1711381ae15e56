//go:build !nodev

package main

import (
	"crypto/ecdsa"
	"fmt"

	"baler/devchain"
	"baler/edge"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// What the settings of a bundler and of a load are where the chain is the embedded one. Builds with the tag nodev have none: see nodev.go.

// usualOperators is where the commands for operators look for a bundler, and where one for development has its page.
const usualOperators = "127.0.0.1:3001"

// forDevelopment turns the operators' server on, with a token of its own if none is given.
func (s *adminSettings) forDevelopment() {
	if s.AdminAddr == "" {
		s.AdminAddr, s.fallback = usualOperators, "127.0.0.1:0"
	}
	if s.AdminToken == "" {
		s.AdminToken = edge.RandomToken()
	}
}

// ofDevelopment serves the aggregators that the development chain has.
func (s *aggregatorSettings) ofDevelopment(contracts devchain.Contracts, entryPoints []entrypoint.EntryPoint) {
	for _, ep := range entryPoints {
		if address, ok := contracts.BLSAggregators[ep.Version]; ok {
			s.Aggregator = append(s.Aggregator, fmt.Sprintf("%s:%s:%s", ep.Version, aggregatorBLS, address))
		}
	}
}

// developmentFactory is the embedded chain's account factory for an EntryPoint.
func developmentFactory(version userop.Version) (common.Address, error) {
	contracts, err := devchain.DefaultContracts()
	return contracts.AccountFactories[version], err
}

// developmentFundingKey is a key that the embedded chain funds, and that no bundle sender has.
func developmentFundingKey() (*ecdsa.PrivateKey, error) { return devchain.Key(signerKeys), nil }
