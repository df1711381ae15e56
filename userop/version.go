package userop

import "fmt"

// Version is an EntryPoint version. It decides the shape of an operation (v0.6 is flat, v0.7 and later
// are packed) and how it is hashed (v0.8 and later use EIP-712).
type Version uint8

// The EntryPoint versions Baler serves.
const (
	V06 Version = iota + 1
	V07
	V08
	V09
)

// Versions lists every supported version, oldest first.
func Versions() []Version { return []Version{V06, V07, V08, V09} }

// String returns the version as users write it: "0.6", "0.7", "0.8" or "0.9".
func (v Version) String() string {
	switch v {
	case V06:
		return "0.6"
	case V07:
		return "0.7"
	case V08:
		return "0.8"
	case V09:
		return "0.9"
	default:
		return fmt.Sprintf("unknown(%d)", uint8(v))
	}
}

// ParseVersion is the inverse of [Version.String]; a leading "v" is allowed.
func ParseVersion(s string) (Version, error) {
	for _, v := range Versions() {
		if s == v.String() || s == "v"+v.String() {
			return v, nil
		}
	}
	return 0, fmt.Errorf("entry point version: have %q, want one of 0.6, 0.7, 0.8, 0.9", s)
}

// Packed reports whether operations of this version travel on chain as PackedUserOperation (v0.7 and later).
func (v Version) Packed() bool { return v >= V07 }
