package devchain

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"

	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

const (
	// paymasterDeposit and paymasterStake are in ETH, paymasterUnstakeDelay in seconds (one day).
	paymasterDeposit      = 1000
	paymasterStake        = 10
	paymasterUnstakeDelay = 86_400
	// keyBalance is the balance of each funded key in ETH.
	keyBalance = 10_000
)

// Contracts says what stands where on the chain. The addresses depend on nothing: they are the same on every start.
type Contracts struct {
	// EntryPoints and SenderCreators are the canonical ones.
	EntryPoints    map[userop.Version]common.Address
	SenderCreators map[userop.Version]common.Address
	// AccountFactories make SimpleAccounts: createAccount(owner, salt). Those of v0.6 to v0.8 are where they are on public
	// chains, which is where viem and permissionless.js look for them.
	AccountFactories map[userop.Version]common.Address
	// Paymasters are verifying paymasters with a deposit and a stake; PaymasterSigner signs for them.
	Paymasters      map[userop.Version]common.Address
	PaymasterSigner *ecdsa.PrivateKey
	// Simple7702Accounts are implementations to delegate an account to (EIP-7702); there is none for v0.6. The one of v0.8
	// is where it is on public chains.
	Simple7702Accounts map[userop.Version]common.Address
	// TokenPaymaster is an ERC-20 token that pays for those who hold it (v0.7); OwnerKey may mint.
	TokenPaymaster common.Address
	// Multicall3, Deployer (the deterministic deployer) are at the addresses they have on every chain.
	Multicall3 common.Address
	Deployer   common.Address
	// Counter is a call target: count(), fail(string), failCustom(string), burn(uint256).
	Counter common.Address
	// BLSAggregators check the signatures of the accounts that BLSAccountFactories make (createAccount(salt, key)) in
	// groups (ERC-7766). They are staked, as ERC-7562 asks of every aggregator (EREP-040).
	BLSAggregators      map[userop.Version]common.Address
	BLSAccountFactories map[userop.Version]common.Address
}

// Canonical addresses outside package entrypoint.
var (
	multicall3Address = common.HexToAddress("0xcA11bde05977b3631167028862bE2a173976CA11")
	deployerAddress   = common.HexToAddress("0x4e59b44847b379578588920cA78FbF26c0B4956C")
)

// deployerCode is the runtime code of the deterministic deployer: salt (32 bytes) ++ init code in, CREATE2.
const deployerCode = "0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"

// entryPointSalts are the salts with which the EntryPoints were published. v0.9 has no init code in npm and is not here.
var entryPointSalts = map[userop.Version]common.Hash{
	userop.V06: {},
	userop.V07: common.HexToHash("0x90d8084deab30c2a37c45e8d47f49f2f7965183cb6990a98943ef94940681de3"),
	userop.V08: common.HexToHash("0x0a59dbff790c23c976a548690c27297883cc66b4c67024f9117b0238995e35e9"),
}

// DefaultContracts returns where everything stands, without starting a chain: what a client of a running one needs.
func DefaultContracts() (Contracts, error) {
	contracts, _, err := genesisContracts(ChainConfig(DefaultChainID), 0)
	return contracts, err
}

// genesisContracts puts every contract into the genesis state by really creating it there, so that immutables and
// constructor storage are what they would be on a live chain.
func genesisContracts(cfg *params.ChainConfig, genesisTime uint64) (Contracts, types.GenesisAlloc, error) {
	b, err := newGenesisBuilder(cfg, genesisTime)
	if err != nil {
		return Contracts{}, nil, err
	}
	c := Contracts{
		EntryPoints:         make(map[userop.Version]common.Address),
		SenderCreators:      make(map[userop.Version]common.Address),
		AccountFactories:    make(map[userop.Version]common.Address),
		Paymasters:          make(map[userop.Version]common.Address),
		Simple7702Accounts:  make(map[userop.Version]common.Address),
		BLSAggregators:      make(map[userop.Version]common.Address),
		BLSAccountFactories: make(map[userop.Version]common.Address),
		PaymasterSigner:     PaymasterSignerKey(),
		Multicall3:          multicall3Address,
		Deployer:            deployerAddress,
	}
	b.put(deployerAddress, 1, common.FromHex(deployerCode))
	for _, step := range []func(*genesisBuilder, *Contracts) error{
		putSystemContracts, deployEntryPoints, deployMulticall3, deployAccounts, deployPaymasters, deployCounter, deployBLS,
	} {
		if err := step(b, &c); err != nil {
			return Contracts{}, nil, err
		}
	}
	return c, b.alloc(), nil
}

// putSystemContracts places the contracts that blocks call by themselves: EIP-4788, EIP-2935, EIP-7002 and EIP-7251.
func putSystemContracts(b *genesisBuilder, _ *Contracts) error {
	b.put(params.BeaconRootsAddress, 1, params.BeaconRootsCode)
	b.put(params.HistoryStorageAddress, 1, params.HistoryStorageCode)
	b.put(params.WithdrawalQueueAddress, 1, params.WithdrawalQueueCode)
	b.put(params.ConsolidationQueueAddress, 1, params.ConsolidationQueueCode)
	return nil
}

func deployEntryPoints(b *genesisBuilder, c *Contracts) error {
	for _, v := range userop.Versions() {
		want := entrypoint.Canonical(v).Address
		c.EntryPoints[v], c.SenderCreators[v] = want, entrypoint.SenderCreator(v)
		if v == userop.V09 {
			if err := putEntryPointV09(b, c); err != nil {
				return err
			}
			continue
		}
		have, err := b.create2(artifactName(v, "EntryPoint"), entryPointSalts[v])
		if err != nil {
			return err
		}
		if have != want {
			return fmt.Errorf("devchain: EntryPoint v%v: have address %v, want %v", v, have, want)
		}
		if !b.hasCode(c.SenderCreators[v]) {
			return fmt.Errorf("devchain: EntryPoint v%v: no SenderCreator at %v", v, c.SenderCreators[v])
		}
	}
	return nil
}

// putEntryPointV09 places the published runtime code. The contract's constructor writes no storage (its reentrancy
// guard is transient), so code and nonce are all there is; its nonce is 2 because it created its SenderCreator.
func putEntryPointV09(b *genesisBuilder, c *Contracts) error {
	for name, put := range map[string]struct {
		address common.Address
		nonce   uint64
	}{
		"EntryPoint":    {c.EntryPoints[userop.V09], 2},
		"SenderCreator": {c.SenderCreators[userop.V09], 1},
	} {
		a, err := artifacts.Load(artifactName(userop.V09, name))
		if err != nil {
			return err
		}
		b.put(put.address, put.nonce, a.DeployedBytecode)
	}
	return nil
}

func deployMulticall3(b *genesisBuilder, c *Contracts) error {
	made, err := b.create("shared/Multicall3.json")
	if err != nil {
		return err
	}
	// It has neither immutables nor storage: its runtime code works at any address.
	b.put(c.Multicall3, 1, b.code(made))
	return nil
}

// deployAccounts deploys the account factories and the EIP-7702 implementations through the deterministic deployer with
// salt zero. The v0.6 to v0.8 ones come from the package of their version. The v0.9 ones come from the release candidate
// and take the EntryPoint as an argument; that also gives v0.7 an EIP-7702 account.
func deployAccounts(b *genesisBuilder, c *Contracts) error {
	for _, v := range userop.Versions() {
		factory, err := b.create2(artifactName(v, "SimpleAccountFactory"), common.Hash{}, c.EntryPoints[v])
		if err != nil {
			return err
		}
		c.AccountFactories[v] = factory
	}
	for _, v := range []userop.Version{userop.V07, userop.V09} {
		account, err := b.create2(artifactName(userop.V09, "Simple7702Account"), common.Hash{}, c.EntryPoints[v])
		if err != nil {
			return err
		}
		c.Simple7702Accounts[v] = account
	}
	account, err := b.create2(artifactName(userop.V08, "Simple7702Account"), common.Hash{})
	c.Simple7702Accounts[userop.V08] = account
	return err
}

func deployPaymasters(b *genesisBuilder, c *Contracts) error {
	signer := addressOf(c.PaymasterSigner)
	for _, v := range userop.Versions() {
		name := "shared/VerifyingPaymaster.json"
		if v == userop.V06 || v == userop.V07 {
			name = artifactName(v, "VerifyingPaymaster")
		}
		paymaster, err := b.create(name, c.EntryPoints[v], signer)
		if err != nil {
			return err
		}
		if err := fundPaymaster(b, name, paymaster); err != nil {
			return err
		}
		c.Paymasters[v] = paymaster
	}
	token := artifactName(userop.V07, "LegacyTokenPaymaster")
	paymaster, err := b.create(token, c.AccountFactories[userop.V07], "BALER", c.EntryPoints[userop.V07])
	if err != nil {
		return err
	}
	c.TokenPaymaster = paymaster
	return fundPaymaster(b, token, paymaster)
}

// fundPaymaster gives a paymaster its deposit and its stake. The stake matters: ERC-7562 lets an unstaked paymaster
// write no storage of an account that the same operation creates, which the v0.6 paymaster does.
func fundPaymaster(b *genesisBuilder, name string, paymaster common.Address) error {
	if err := b.call(name, paymaster, ether(paymasterDeposit), "deposit"); err != nil {
		return err
	}
	return b.call(name, paymaster, ether(paymasterStake), "addStake", uint32(paymasterUnstakeDelay))
}

func deployCounter(b *genesisBuilder, c *Contracts) error {
	counter, err := b.create2("shared/Counter.json", common.Hash{})
	c.Counter = counter
	return err
}

// deployBLS deploys the BLS aggregators, with a stake, and the factories of their accounts. Those of v0.7 and later are
// the same code.
func deployBLS(b *genesisBuilder, c *Contracts) error {
	for _, v := range userop.Versions() {
		suffix := ".json"
		if v == userop.V06 {
			suffix = "V06.json"
		}
		name := "shared/BLSAggregator" + suffix
		aggregator, err := b.create(name, c.EntryPoints[v])
		if err != nil {
			return err
		}
		if err := b.call(name, aggregator, ether(paymasterStake), "addStake", uint32(paymasterUnstakeDelay)); err != nil {
			return err
		}
		factory, err := b.create2("shared/BLSAccountFactory"+suffix, common.Hash{}, c.EntryPoints[v], aggregator)
		if err != nil {
			return err
		}
		c.BLSAggregators[v], c.BLSAccountFactories[v] = aggregator, factory
	}
	return nil
}

// artifactName is the file of a version's contract in package artifacts.
func artifactName(v userop.Version, contract string) string {
	return fmt.Sprintf("v%v/%s.json", v, contract)
}

// genesisKeys is the allocation of the funded keys and the owner.
func genesisKeys(n int) ([]*ecdsa.PrivateKey, types.GenesisAlloc) {
	keys := make([]*ecdsa.PrivateKey, n)
	alloc := make(types.GenesisAlloc, n)
	for i := range keys {
		keys[i] = Key(i)
		alloc[addressOf(keys[i])] = types.Account{Balance: ether(keyBalance)}
	}
	return keys, alloc
}

// toUint256 converts an amount that is known to be small enough.
func toUint256(v *big.Int) *uint256.Int { return uint256.MustFromBig(v) }
