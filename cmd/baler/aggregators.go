package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"baler/aggregator"
	"baler/chain"
	"baler/entrypoint"
	"baler/gas"
	"baler/node"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// aggregatorSettings are the signature aggregators (ERC-7766) that are served.
type aggregatorSettings struct {
	Aggregator                   []string `help:"Signature aggregators to serve (ERC-7766): VERSION:bls:ADDRESS for a BLSAggregator of contracts/bls at the EntryPoint of the version, VERSION:contract:ADDRESS:GROUP_GAS:OPERATION_GAS:SIGNATURE_BYTES for any other, which is asked by eth_call and whose check costs so much." placeholder:"AGGREGATOR"`
	AggregatorExpectedOperations uint64   `help:"How many operations are expected to share an aggregator's check, when it is judged whether one offers enough preVerificationGas. Those that offer no more than that wait until so many are there." default:"1"`
}

// The kinds of aggregator.
const (
	aggregatorBLS      = "bls"
	aggregatorContract = "contract"
)

// serve makes the pipeline serve the aggregators of the settings.
func (s aggregatorSettings) serve(config *node.Config, entryPoints []entrypoint.EntryPoint, client *chain.Client) error {
	if len(s.Aggregator) == 0 {
		return nil
	}
	var list []aggregator.Aggregator
	for _, text := range s.Aggregator {
		a, err := s.parse(text, config.ChainID, entryPoints, client)
		if err != nil {
			return badSetting("--aggregator: %q: %w", text, err)
		}
		list = append(list, a)
	}
	set, err := aggregator.NewSet(list...)
	if err != nil {
		return badSetting("--aggregator: %w", err)
	}
	config.Validation.Aggregators, config.Estimation.Aggregators, config.Proposer.Aggregators = set, set, set
	return nil
}

// parse reads one aggregator.
func (s aggregatorSettings) parse(text string, chainID uint64, entryPoints []entrypoint.EntryPoint, client *chain.Client) (aggregator.Aggregator, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 3 {
		return nil, fmt.Errorf("have %d parts, want VERSION:KIND:ADDRESS", len(parts))
	}
	version, err := userop.ParseVersion(parts[0])
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(entryPoints, func(ep entrypoint.EntryPoint) bool { return ep.Version == version })
	if at < 0 {
		return nil, fmt.Errorf("EntryPoint v%s is not served", version)
	}
	if !common.IsHexAddress(parts[2]) {
		return nil, fmt.Errorf("have %q, want an address", parts[2])
	}
	address := common.HexToAddress(parts[2])
	switch kind := parts[1]; {
	case kind == aggregatorBLS && len(parts) == 3:
		cost := aggregator.BLSGas()
		cost.ExpectedOperations = s.AggregatorExpectedOperations
		domain := aggregator.BLSDomain{Aggregator: address, EntryPoint: entryPoints[at].Address, ChainID: chainID}
		return aggregator.NewBLS(domain, cost, client), nil
	case kind == aggregatorContract && len(parts) == 6:
		cost := gas.Aggregation{ExpectedOperations: s.AggregatorExpectedOperations}
		for i, field := range []*uint64{&cost.GroupGas, &cost.OperationGas, &cost.SignatureBytes} {
			if *field, err = strconv.ParseUint(parts[3+i], 10, 32); err != nil {
				return nil, err
			}
		}
		return aggregator.NewContract(address, version, cost, client), nil
	default:
		return nil, fmt.Errorf("have kind %q with %d parts, want %s with 3 or %s with 6", kind, len(parts), aggregatorBLS, aggregatorContract)
	}
}
