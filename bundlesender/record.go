package bundlesender

import (
	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// Kind is what an attempt is for.
type Kind uint8

// The kinds of attempts.
const (
	KindBundle       Kind = iota // a bundle of operations
	KindCancellation             // an empty transaction that frees the nonce
	KindForeign                  // a transaction of this key that we did not make
)

// AttemptStatus is what is known about one transaction.
type AttemptStatus uint8

// The statuses of an attempt.
const (
	StatusSending AttemptStatus = iota // handed to the shell, no answer yet
	StatusSent                         // a node or relay took it
	StatusUnknown                      // it may have been taken
	StatusDropped                      // said to be gone from where it waited; may be mined still
	StatusRefused                      // not taken (its fees may bind the next attempt); cannot be mined
	StatusMined                        // in the canonical chain
)

// Attempt is one transaction of the key.
type Attempt struct {
	ID         AttemptID
	Kind       Kind
	Nonce      uint64
	Hash       common.Hash // zero until signed
	Fees       gas.Fees    // wei per gas
	GasLimit   uint64      // gas
	Block      uint64      // the head when it was made
	Operations []common.Hash
	Status     AttemptStatus
	// Abandoned: its fees no longer bind the next attempt. It stays tracked; it may be mined.
	Abandoned bool
	// Hit: a bundle that would revert if it were mined now, because an operation of it is mined elsewhere.
	Hit        bool
	MinedBlock uint64 // with StatusMined
	MinedHash  common.Hash
	Reverted   bool `json:",omitempty"` // with StatusMined: it did nothing; its operations stay this sender's, as far as they are held
	// Finished is the block at which its nonce was seen used, by it or by another; 0: not yet. A reorg undoes it.
	Finished uint64
}

// Record is all that a machine must keep over a restart. It is a value: changing it changes no machine.
type Record struct {
	State            State
	Auto             bool
	Paused           bool   // by an operator
	Nonce            uint64 // the account's nonce as far as we know: of the next transaction to be mined
	NonceKnown       bool
	NextAttempt      AttemptID
	NextSeq          Seq
	FeeIncreases     uint64
	CancelIncreases  uint64
	Underpriced      bool
	UnderpricedSince uint64        // block, with Underpriced
	Until            uint64        // block, in Pending and CancelPending
	CancelEnded      common.Hash   // head at which cancelling last ended; zero: never
	Attempts         []Attempt     // oldest first
	Held             []common.Hash // operations that are neither released nor settled, in no order; nil: those of the attempts that may be mined
}
