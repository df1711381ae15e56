package evm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/params"
)

// configNode answers eth_config with a text, or fails.
type configNode struct {
	evm.Node
	answer string
	err    error
	asked  int
}

type rpcError struct{ code int }

func (e rpcError) Error() string  { return fmt.Sprintf("error %d", e.code) }
func (e rpcError) ErrorCode() int { return e.code }

func (n *configNode) CallContext(_ context.Context, result any, method string, _ ...any) error {
	n.asked++
	if method != "eth_config" || n.err != nil {
		return n.err
	}
	return json.Unmarshal([]byte(n.answer), result)
}

func rulesAt(cfg *params.ChainConfig, time uint64) params.Rules {
	return cfg.Rules(big.NewInt(1), true, time)
}

// What the embedded chain tells are the rules that it has.
func TestDetectedRulesAreTheChains(t *testing.T) {
	chain, client := startLoaderChain(t)
	cfg, err := evm.DetectChainConfig(t.Context(), client, chain.ChainID())
	if err != nil {
		t.Fatal(err)
	}
	now := chain.Head().Time
	if have, want := rulesAt(cfg, now), rulesAt(chain.ChainConfig(), now); have != want {
		t.Errorf("have %+v, want %+v", have, want)
	}
	have, want := evm.AtHeader(cfg, chain.Head()), evm.AtHeader(chain.ChainConfig(), chain.Head())
	if have.BlobBaseFee == nil || have.BlobBaseFee.Cmp(want.BlobBaseFee) != 0 {
		t.Errorf("blob base fee: have %v, want %v", have.BlobBaseFee, want.BlobBaseFee)
	}
	if cfg.ChainID.Uint64() != chain.ChainID() {
		t.Errorf("chain id: have %s, want %d", cfg.ChainID, chain.ChainID())
	}
}

func TestDetectedForks(t *testing.T) {
	const cancun = `"precompiles":{"KZG_POINT_EVALUATION":"0x000000000000000000000000000000000000000a"},"systemContracts":{"BEACON_ROOTS_ADDRESS":"0x000f3df6d732807ef1319fb7b8bb8522d0beac02"}`
	const rollup = `"precompiles":{"P256VERIFY":"0x0000000000000000000000000000000000000100","KZG_POINT_EVALUATION":"0x000000000000000000000000000000000000000a"},"systemContracts":{}`
	const prague = `"precompiles":{"KZG_POINT_EVALUATION":"0x000000000000000000000000000000000000000a","BLS12_G1ADD":"0x000000000000000000000000000000000000000b"},"systemContracts":{"BEACON_ROOTS_ADDRESS":"0x000f3df6d732807ef1319fb7b8bb8522d0beac02"}`
	const osaka = `"precompiles":{"KZG_POINT_EVALUATION":"0x000000000000000000000000000000000000000a","BLS12_G1ADD":"0x000000000000000000000000000000000000000b","P256VERIFY":"0x0000000000000000000000000000000000000100"},"systemContracts":{"BEACON_ROOTS_ADDRESS":"0x000f3df6d732807ef1319fb7b8bb8522d0beac02"}`
	const blobs = `"blobSchedule":{"baseFeeUpdateFraction":3338477,"max":6,"target":3}`
	fork := func(at uint64, rest string) string {
		return fmt.Sprintf(`{"activationTime":%d,"chainId":"0x1267",%s,%s}`, at, blobs, rest)
	}
	for name, c := range map[string]struct {
		answer string
		want   map[uint64]string // the latest fork at a time
	}{
		"shanghai":          {`{"current":{"activationTime":0,"chainId":"0x1267","blobSchedule":null,"precompiles":{},"systemContracts":{}},"next":null,"last":null}`, map[uint64]string{0: "Shanghai", 9e9: "Shanghai"}},
		"cancun":            {`{"current":` + fork(100, cancun) + `,"next":null,"last":null}`, map[uint64]string{0: "Cancun", 9e9: "Cancun"}},
		"P256 of a rollup":  {`{"current":` + fork(100, rollup) + `,"next":null,"last":null}`, map[uint64]string{9e9: "Cancun"}},
		"prague, osaka due": {`{"current":` + fork(100, prague) + `,"next":` + fork(500, osaka) + `,"last":` + fork(500, osaka) + `}`, map[uint64]string{0: "Prague", 499: "Prague", 500: "Osaka"}},
		"two due":           {`{"current":` + fork(100, cancun) + `,"next":` + fork(500, prague) + `,"last":` + fork(700, osaka) + `}`, map[uint64]string{499: "Cancun", 500: "Prague", 700: "Osaka"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := evm.DetectChainConfig(t.Context(), &configNode{answer: c.answer}, 0x1267)
			if err != nil {
				t.Fatal(err)
			}
			for at, want := range c.want {
				rules := rulesAt(cfg, at)
				have := "Shanghai"
				for _, fork := range []struct {
					active bool
					name   string
				}{{rules.IsCancun, "Cancun"}, {rules.IsPrague, "Prague"}, {rules.IsOsaka, "Osaka"}, {rules.IsAmsterdam, "Amsterdam"}} {
					if fork.active {
						have = fork.name
					}
				}
				if have != want || !rules.IsShanghai {
					t.Errorf("at %d: have %s, want %s", at, have, want)
				}
			}
			header := header(1)
			header.Time = 600
			if block := evm.AtHeader(cfg, header); (block.BlobBaseFee != nil) != (name != "shanghai") {
				t.Errorf("blob base fee: have %v", block.BlobBaseFee)
			}
		})
	}
}

func TestNodesWithoutConfig(t *testing.T) {
	want := evm.ChainConfigFor(4711)
	for name, node := range map[string]*configNode{
		"no such method": {err: rpcError{-32601}},
		"null":           {answer: "null"},
	} {
		cfg, err := evm.DetectChainConfig(t.Context(), node, 4711)
		if err != nil || rulesAt(cfg, 1e9) != rulesAt(want, 1e9) || node.asked != 1 {
			t.Errorf("%s: have %v, %v, want the current forks", name, cfg, err)
		}
	}
	broken := errors.New("connection refused")
	if _, err := evm.DetectChainConfig(t.Context(), &configNode{err: broken}, 4711); !errors.Is(err, broken) {
		t.Errorf("a broken node: have %v, want its error", err)
	}
	other := `{"current":{"activationTime":0,"chainId":"0x1","precompiles":{},"systemContracts":{}},"next":null,"last":null}`
	if _, err := evm.DetectChainConfig(t.Context(), &configNode{answer: other}, 4711); err == nil {
		t.Error("another chain: have no error")
	}
	mainnet := &configNode{err: broken}
	if cfg, err := evm.DetectChainConfig(t.Context(), mainnet, 1); err != nil || cfg != params.MainnetChainConfig || mainnet.asked != 0 {
		t.Errorf("mainnet: have %v, %v, want go-ethereum's, without asking", cfg, err)
	}
}
