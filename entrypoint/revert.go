package entrypoint

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Revert is what a contract reverted with: one of the types below.
//
//sumtype:decl
type Revert interface {
	// String describes the revert for a user: bounded in length, without control characters.
	String() string
	isRevert()
}

// FailedOp is the EntryPoint's refusal of one operation of a bundle: "AA" and two digits, then words.
type FailedOp struct {
	OpIndex uint64
	Reason  string
}

// FailedOpWithRevert is [FailedOp] with what the called contract reverted with (v0.7 and later).
type FailedOpWithRevert struct {
	OpIndex uint64
	Reason  string
	Inner   []byte
}

// SignatureValidationFailed says that an aggregator did not accept the signature of its operations.
type SignatureValidationFailed struct{ Aggregator common.Address }

// PostOpReverted says that the paymaster's postOp reverted (v0.7 and later).
type PostOpReverted struct{ ReturnData []byte }

// ErrorString is Solidity's Error(string).
type ErrorString struct{ Message string }

// Panic is Solidity's Panic(uint256).
type Panic struct{ Code uint256.Int }

// SenderAddressResult is how getSenderAddress answers: it always reverts.
type SenderAddressResult struct{ Sender common.Address }

// DelegateAndRevert is how delegateAndRevert answers (v0.7 and later).
type DelegateAndRevert struct {
	Success bool
	Ret     []byte
}

// NamedError is another error of the EntryPoint or its SenderCreator, with its arguments not decoded.
type NamedError struct {
	Name      string
	Arguments []byte
}

// UnknownRevert is anything else, also an empty revert and malformed data.
type UnknownRevert struct{ Data []byte }

func (FailedOp) isRevert()                  {}
func (FailedOpWithRevert) isRevert()        {}
func (SignatureValidationFailed) isRevert() {}
func (PostOpReverted) isRevert()            {}
func (ErrorString) isRevert()               {}
func (Panic) isRevert()                     {}
func (SenderAddressResult) isRevert()       {}
func (DelegateAndRevert) isRevert()         {}
func (NamedError) isRevert()                {}
func (UnknownRevert) isRevert()             {}

// Error selectors; a test compares them with their signatures and, where they are the EntryPoint's, with the ABI.
const (
	errFailedOp                  = "\x22\x02\x66\xb6"
	errFailedOpWithRevert        = "\x65\xc8\xfd\x4d"
	errSignatureValidationFailed = "\x86\xa9\xf7\x50"
	errPostOpReverted            = "\xad\x79\x54\xbc"
	errErrorString               = "\x08\xc3\x79\xa0"
	errPanic                     = "\x4e\x48\x7b\x71"
	errSenderAddressResult       = "\x6c\xa7\xb8\x06"
	errDelegateAndRevert         = "\x99\x41\x05\x54"
)

// namedError returns the name of an error that needs no type of its own.
func namedError(selector string) (string, bool) {
	switch selector {
	case "\x1a\x3b\x45\xfd":
		return "InvalidBeneficiary", true
	case "\x40\x84\x8e\x61":
		return "FailedSendToBeneficiary", true
	case "\xd8\xcc\xb2\x92":
		return "InvalidPaymaster", true
	case "\x12\x0a\xaa\xb5":
		return "InvalidPaymasterData", true
	case "\x07\xb9\xa1\x91":
		return "InvalidPaymasterSignatureLength", true
	case "\x9f\x4e\x4c\xc9":
		return "Eip7702SenderNotDelegate", true
	case "\xe5\x81\x9b\x95":
		return "Eip7702SenderWithoutCode", true
	case "\xab\x14\x3c\x06":
		return "Reentrancy", true
	case "\x3e\xe5\xae\xb5":
		return "ReentrancyGuardReentrantCall", true
	case "\x9f\xbd\xaa\x09":
		return "InternalFunction", true
	case "\xfe\x34\xa6\xd3":
		return "NotFromEntryPoint", true
	default:
		return "", false
	}
}

// DecodeRevert says what revert data means. It never fails: what it does not know, or what is malformed, is an
// [UnknownRevert]. The result shares the memory of data, except for strings.
func DecodeRevert(data []byte) Revert {
	if len(data) < 4 {
		return UnknownRevert{Data: data}
	}
	r := &reader{data: data[4:]}
	var revert Revert
	switch sel := string(data[:4]); sel {
	case errFailedOp:
		revert = FailedOp{OpIndex: r.uint64(0), Reason: string(r.bytes(0, wordSize))}
	case errFailedOpWithRevert:
		revert = FailedOpWithRevert{OpIndex: r.uint64(0), Reason: string(r.bytes(0, wordSize)), Inner: r.bytes(0, 2*wordSize)}
	case errSignatureValidationFailed:
		revert = SignatureValidationFailed{Aggregator: r.address(0)}
	case errPostOpReverted:
		revert = PostOpReverted{ReturnData: r.bytes(0, 0)}
	case errErrorString:
		revert = ErrorString{Message: string(r.bytes(0, 0))}
	case errPanic:
		revert = Panic{Code: r.uint256(0)}
	case errSenderAddressResult:
		revert = SenderAddressResult{Sender: r.address(0)}
	case errDelegateAndRevert:
		revert = DelegateAndRevert{Success: r.bool(0), Ret: r.bytes(0, wordSize)}
	default:
		if name, ok := namedError(sel); ok {
			return NamedError{Name: name, Arguments: data[4:]}
		}
		return UnknownRevert{Data: data}
	}
	if r.err != nil {
		return UnknownRevert{Data: data}
	}
	return revert
}

// RevertReason returns [DecodeRevert]'s text: what to tell a user who sees revert data.
func RevertReason(data []byte) string { return DecodeRevert(data).String() }

// AACode returns the EntryPoint's error code at the beginning of a reason, such as "AA24", or "".
func AACode(reason string) string {
	if len(reason) < 4 || reason[:2] != "AA" || !isDigit(reason[2]) || !isDigit(reason[3]) {
		return ""
	}
	return reason[:4]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Limits of what is shown of data that a contract chose.
const (
	maxReason     = 512 // bytes of text
	maxShownBytes = 64  // bytes shown in hex
	maxNesting    = 4   // reverts inside reverts
)

func (e FailedOp) String() string { return clean(e.Reason) }

func (e FailedOpWithRevert) String() string { return describe(e, maxNesting) }

func (e SignatureValidationFailed) String() string {
	return fmt.Sprintf("signature validation failed in aggregator %s", e.Aggregator)
}

func (e PostOpReverted) String() string { return describe(e, maxNesting) }

func (e ErrorString) String() string { return clean(e.Message) }

func (e Panic) String() string { return fmt.Sprintf("panic %s%s", e.Code.Hex(), panicText(&e.Code)) }

func (e SenderAddressResult) String() string { return fmt.Sprintf("sender address %s", e.Sender) }

func (e DelegateAndRevert) String() string {
	return fmt.Sprintf("delegate call answered: success %t, %s", e.Success, shown(e.Ret))
}

func (e NamedError) String() string {
	if len(e.Arguments) == 0 {
		return e.Name
	}
	return fmt.Sprintf("%s(%s)", e.Name, shown(e.Arguments))
}

func (e UnknownRevert) String() string {
	if len(e.Data) == 0 {
		return "reverted without a reason"
	}
	return "reverted with " + shown(e.Data)
}

// describe follows reverts that carry another one, as deep as depth: data could nest without end.
func describe(revert Revert, depth int) string {
	var outer string
	var inner []byte
	switch e := revert.(type) {
	case FailedOpWithRevert:
		outer, inner = clean(e.Reason), e.Inner
	case PostOpReverted:
		outer, inner = "postOp reverted", e.ReturnData
	default:
		return revert.String()
	}
	if len(inner) == 0 {
		return outer
	}
	if depth == 0 {
		return outer + ": " + shown(inner)
	}
	return clean(outer + ": " + describe(DecodeRevert(inner), depth-1))
}

func shown(data []byte) string {
	if len(data) <= maxShownBytes {
		return fmt.Sprintf("0x%x", data)
	}
	return fmt.Sprintf("0x%x… (%d bytes)", data[:maxShownBytes], len(data))
}

// clean makes a contract's text fit for a log line, a terminal or a page.
func clean(s string) string {
	if len(s) > maxReason {
		cut := maxReason
		for cut > maxReason-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s)
}

// panicText names Solidity's panic codes.
func panicText(code *uint256.Int) string {
	if !code.IsUint64() {
		return ""
	}
	switch code.Uint64() {
	case 0x01:
		return " (assertion failed)"
	case 0x11:
		return " (arithmetic overflow)"
	case 0x12:
		return " (division by zero)"
	case 0x21:
		return " (invalid enum value)"
	case 0x22:
		return " (broken storage byte array)"
	case 0x31:
		return " (pop from an empty array)"
	case 0x32:
		return " (index out of bounds)"
	case 0x41:
		return " (too much memory)"
	case 0x51:
		return " (call of an unset function)"
	default:
		return ""
	}
}
