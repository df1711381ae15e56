package erc7562

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// op041: EXTCODE* and *CALL must not access an address without code. OP-042 excepts the sender in the deployment frame;
// calls of precompiled contracts are OP-062's, all access to the EntryPoint OP-054's.
func op041(j *judgement) {
	for i := range j.r.Codes {
		use := &j.r.Codes[i]
		if use.Size > 0 || use.Address == j.s.EntryPoint || op042(j, use) {
			continue
		}
		if slices.Contains(j.s.Precompiles, use.Address) && !use.Looked {
			continue
		}
		j.breaks("OP-041", int(use.Frame), Verdict{Contract: use.Address}, "accessed %s, which has no code", use.Address)
	}
}

// op042: the factory may access the sender before it has code.
func op042(j *judgement, use *CodeUse) bool {
	return use.Address == j.s.Sender.Address && j.r.Frames[use.Frame].Entity == Factory
}

// op054: the EntryPoint may be called only as OP-052, OP-053 and OP-055 say, and looked at only as OP-051 says.
func op054(j *judgement) {
	for i := range j.r.Codes {
		use := &j.r.Codes[i]
		if use.Address == j.s.EntryPoint && !op051(use) {
			j.breaks("OP-054", int(use.Frame), Verdict{Contract: use.Address}, "looked at the EntryPoint's code")
		}
	}
	for i, f := range j.frames {
		if f.To != j.s.EntryPoint || f.Type == vm.CALL && (op052(j.s, f) || op053(j.s, f) || op055(j.s, f)) {
			continue
		}
		j.breaks("OP-054", i, Verdict{Contract: f.To, Opcode: byte(f.Type)}, "accessed the EntryPoint by %s, method %#x of %d bytes, from %s",
			f.Type, f.Selector, f.Input, f.From)
	}
}

// op051: EXTCODESIZE ISZERO of the EntryPoint is allowed.
func op051(use *CodeUse) bool { return !use.Observed }

// The EntryPoint's functions that validation may call.
const (
	selDepositTo      = "\xb7\x60\xfa\xf9" // depositTo(address)
	selIncrementNonce = "\x0b\xd2\x8e\x3b" // incrementNonce(uint192)
)

// op052: depositTo(sender), with any value, from the sender or the factory.
func op052(s *Subject, f *Frame) bool {
	return f.Input >= 36 && string(f.Selector[:]) == selDepositTo &&
		f.Argument == common.BytesToHash(s.Sender.Address[:]) &&
		(f.From == s.Sender.Address || s.Factory.is(f.From))
}

// op053: the fallback function, with any value, from the sender.
func op053(s *Subject, f *Frame) bool { return f.Input == 0 && f.From == s.Sender.Address }

// op055: incrementNonce, from the sender.
func op055(s *Subject, f *Frame) bool {
	return f.Input >= 4 && string(f.Selector[:]) == selIncrementNonce && f.From == s.Sender.Address
}

// op061: CALL with value is forbidden, except to the EntryPoint. CALLCODE, an older form of it, is held to the same.
func op061(j *judgement) {
	for i, f := range j.frames {
		if f.HasValue && (f.Type == vm.CALL || f.Type == vm.CALLCODE) && f.To != j.s.EntryPoint {
			j.breaks("OP-061", i, Verdict{Contract: f.To, Opcode: byte(f.Type)}, "sent value to %s", f.To)
		}
	}
}

// op062: of the precompiled contracts only the core ones and P256VERIFY may be called.
func op062(j *judgement) {
	for i := range j.r.Codes {
		use := &j.r.Codes[i]
		if use.Called && !AllowedPrecompile(use.Address) && slices.Contains(j.s.Precompiles, use.Address) {
			j.breaks("OP-062", int(use.Frame), Verdict{Contract: use.Address}, "called the precompiled contract %s", use.Address)
		}
	}
}

// AllowedPrecompile reports whether the address is one of the core precompiled contracts 0x1 to 0x11, or P256VERIFY
// (EIP-7951) at 0x100 (OP-062).
func AllowedPrecompile(addr common.Address) bool {
	if [18]byte(addr[:18]) != [18]byte{} {
		return false
	}
	n := uint16(addr[18])<<8 | uint16(addr[19])
	return n >= 0x1 && n <= 0x11 || n == 0x100
}
