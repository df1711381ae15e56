package entrypoint

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// ErrOtherEvent says that a log is not of the event that was asked for.
var ErrOtherEvent = errors.New("log of another event")

// The first topics of the EntryPoints' events, keccak256 of their signatures; a test computes them again and compares
// them with the ABIs. Not to be changed: Go has no constant arrays.
var (
	TopicUserOperationEvent         = common.HexToHash("0x49628fd1471006c1482da88028e9ce4dbb080b815c9b0344d39e5a8e6ec1419f")
	TopicUserOperationRevertReason  = common.HexToHash("0x1c4fada7374c0a9ee8841fc38afe82932dc0f8e69012e927f061a8bae611a201")
	TopicPostOpRevertReason         = common.HexToHash("0xf62676f440ff169a3a9afdbf812e89e7f95975ee8e5c31214ffdef631c5f4792") // v0.7 and later
	TopicUserOperationPrefundTooLow = common.HexToHash("0x67b4fa9642f42120bf031f3051d1824b0fe25627945b27b8a6a65d5761d5482e") // v0.7 and later
	TopicAccountDeployed            = common.HexToHash("0xd51a9c61267aa6196961883ecf5ff2da6619c37dac0fa92122513fb32c032d2d")
	TopicIgnoredInitCode            = common.HexToHash("0xa39bcda08ffd11bafb11c4f170ef24fc6dc1a9d1b0394d90dbd19e0b919050e9") // v0.9
	TopicEIP7702AccountInitialized  = common.HexToHash("0x7c9f9ade6a03a0bba484e52df872467a270e798ffc1adab9dfaa8d0e627f0544") // v0.9
	TopicBeforeExecution            = common.HexToHash("0xbb47ee3e183a558b1a2ff0874b079f3fc5478b7454eacf2bfc5af2ff5878f972")
	TopicSignatureAggregatorChanged = common.HexToHash("0x575ff3acadd5ab348fe1855e217e0f3678f8d767d7494c9f9fefbee2e17cca4d")
	TopicDeposited                  = common.HexToHash("0x2da466a7b24304f47e87fa2e1e5a81b9831ce54fec19055ce277ca2f39ba42c4")
	TopicWithdrawn                  = common.HexToHash("0xd1c19fbcd4551a5edfb66d43d2e337c04837afda3482b42bdf569a8fccdae5fb")
	TopicStakeLocked                = common.HexToHash("0xa5ae833d0bb1dcd632d98a8b70973e8516812898e19bf27b70071ebc8dc52c01")
	TopicStakeUnlocked              = common.HexToHash("0xfa9b3c14cc825c412c9ed81b3ba365a5b459439403f18829e572ed53a4180f0a")
	TopicStakeWithdrawn             = common.HexToHash("0xb7c918e0e249f999e965cafeb6c664271b3f4317d296461500e71da39f0cbda3")
)

// UserOperationEvent is emitted once for each operation, at its end.
type UserOperationEvent struct {
	UserOpHash    common.Hash
	Sender        common.Address
	Paymaster     common.Address // zero: the account paid
	Nonce         uint256.Int
	Success       bool        // false: the operation's call, or postOp, reverted
	ActualGasCost uint256.Int // wei, paid by the account or the paymaster
	ActualGasUsed uint256.Int // gas, with validation and preVerificationGas
}

// OperationRevert is UserOperationRevertReason or PostOpRevertReason: the operation is mined, but its call (or the
// paymaster's postOp) reverted with data.
type OperationRevert struct {
	UserOpHash common.Hash
	Sender     common.Address
	Nonce      uint256.Int
	Reason     []byte // the revert data, at most 2048 bytes
}

// AccountDeployed is emitted during validation when a factory has created the sender.
type AccountDeployed struct {
	UserOpHash common.Hash
	Sender     common.Address
	Factory    common.Address
	Paymaster  common.Address
}

// Deposited is emitted when an account's deposit grows.
type Deposited struct {
	Account      common.Address
	TotalDeposit uint256.Int // wei
}

// Withdrawn is emitted when an account takes from its deposit.
type Withdrawn struct {
	Account common.Address
	To      common.Address
	Amount  uint256.Int // wei
}

// IsEvent reports whether the log is the event with the topic, emitted by the contract at the address.
func IsEvent(log *types.Log, address common.Address, topic common.Hash) bool {
	return log.Address == address && len(log.Topics) > 0 && log.Topics[0] == topic
}

// eventReader checks a log's event and its number of topics.
func eventReader(log *types.Log, name string, topic common.Hash, topics int) (*reader, error) {
	if len(log.Topics) == 0 || log.Topics[0] != topic {
		return nil, fmt.Errorf("%w: want %s", ErrOtherEvent, name)
	}
	if len(log.Topics) != topics {
		return nil, fmt.Errorf("%s: %w: have %d topics, want %d", name, ErrMalformed, len(log.Topics), topics)
	}
	return &reader{data: log.Data}, nil
}

func topicAddress(topic common.Hash) common.Address { return common.Address(topic[12:]) }

// ParseUserOperationEvent decodes the event. A log of another event is [ErrOtherEvent]; who emitted it is not checked
// (see [IsEvent]).
func ParseUserOperationEvent(log *types.Log) (UserOperationEvent, error) {
	const name = "UserOperationEvent"
	r, err := eventReader(log, name, TopicUserOperationEvent, 4)
	if err != nil {
		return UserOperationEvent{}, err
	}
	e := UserOperationEvent{
		UserOpHash:    log.Topics[1],
		Sender:        topicAddress(log.Topics[2]),
		Paymaster:     topicAddress(log.Topics[3]),
		Nonce:         r.uint256(0),
		Success:       r.bool(wordSize),
		ActualGasCost: r.uint256(2 * wordSize),
		ActualGasUsed: r.uint256(3 * wordSize),
	}
	return e, named(name, r.err)
}

// ParseUserOperationRevertReason decodes the event; see [ParseUserOperationEvent] for errors.
func ParseUserOperationRevertReason(log *types.Log) (OperationRevert, error) {
	return parseRevertEvent(log, "UserOperationRevertReason", TopicUserOperationRevertReason)
}

// ParsePostOpRevertReason decodes the event; see [ParseUserOperationEvent] for errors.
func ParsePostOpRevertReason(log *types.Log) (OperationRevert, error) {
	return parseRevertEvent(log, "PostOpRevertReason", TopicPostOpRevertReason)
}

func parseRevertEvent(log *types.Log, name string, topic common.Hash) (OperationRevert, error) {
	r, err := eventReader(log, name, topic, 3)
	if err != nil {
		return OperationRevert{}, err
	}
	e := OperationRevert{
		UserOpHash: log.Topics[1],
		Sender:     topicAddress(log.Topics[2]),
		Nonce:      r.uint256(0),
		Reason:     r.bytes(0, wordSize),
	}
	return e, named(name, r.err)
}

// ParseAccountDeployed decodes the event; see [ParseUserOperationEvent] for errors.
func ParseAccountDeployed(log *types.Log) (AccountDeployed, error) {
	const name = "AccountDeployed"
	r, err := eventReader(log, name, TopicAccountDeployed, 3)
	if err != nil {
		return AccountDeployed{}, err
	}
	e := AccountDeployed{
		UserOpHash: log.Topics[1],
		Sender:     topicAddress(log.Topics[2]),
		Factory:    r.address(0),
		Paymaster:  r.address(wordSize),
	}
	return e, named(name, r.err)
}

// ParseDeposited decodes the event; see [ParseUserOperationEvent] for errors.
func ParseDeposited(log *types.Log) (Deposited, error) {
	const name = "Deposited"
	r, err := eventReader(log, name, TopicDeposited, 2)
	if err != nil {
		return Deposited{}, err
	}
	return Deposited{Account: topicAddress(log.Topics[1]), TotalDeposit: r.uint256(0)}, named(name, r.err)
}

// ParseWithdrawn decodes the event; see [ParseUserOperationEvent] for errors.
func ParseWithdrawn(log *types.Log) (Withdrawn, error) {
	const name = "Withdrawn"
	r, err := eventReader(log, name, TopicWithdrawn, 2)
	if err != nil {
		return Withdrawn{}, err
	}
	e := Withdrawn{Account: topicAddress(log.Topics[1]), To: r.address(0), Amount: r.uint256(wordSize)}
	return e, named(name, r.err)
}

func named(event string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", event, err)
	}
	return nil
}
