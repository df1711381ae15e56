package bundlesender

import "fmt"

// The names of the closed sets are their text form too (encoding.TextMarshaler): a journal or an API says "Pending", not 1, so
// that a value put between two others changes the meaning of nothing written before.

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) { return marshalName(stateNames[:], s, "state") }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *State) UnmarshalText(text []byte) error {
	return unmarshalName(stateNames[:], s, text, "state")
}

// MarshalText implements [encoding.TextMarshaler].
func (c Cause) MarshalText() ([]byte, error) { return marshalName(causeNames[:], c, "cause") }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Cause) UnmarshalText(text []byte) error {
	return unmarshalName(causeNames[:], c, text, "cause")
}

// MarshalText implements [encoding.TextMarshaler].
func (o Outcome) MarshalText() ([]byte, error) { return marshalName(outcomeNames[:], o, "outcome") }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *Outcome) UnmarshalText(text []byte) error {
	return unmarshalName(outcomeNames[:], o, text, "outcome")
}

// MarshalText implements [encoding.TextMarshaler].
func (r NothingReason) MarshalText() ([]byte, error) {
	return marshalName(reasonNames[:], r, "reason")
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *NothingReason) UnmarshalText(text []byte) error {
	return unmarshalName(reasonNames[:], r, text, "reason")
}

// MarshalText implements [encoding.TextMarshaler].
func (k Kind) MarshalText() ([]byte, error) { return marshalName(kindNames[:], k, "kind") }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *Kind) UnmarshalText(text []byte) error { return unmarshalName(kindNames[:], k, text, "kind") }

// MarshalText implements [encoding.TextMarshaler].
func (s AttemptStatus) MarshalText() ([]byte, error) {
	return marshalName(statusNames[:], s, "status")
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *AttemptStatus) UnmarshalText(text []byte) error {
	return unmarshalName(statusNames[:], s, text, "status")
}

// MarshalText implements [encoding.TextMarshaler].
func (a AlertKind) MarshalText() ([]byte, error) { return marshalName(alertNames[:], a, "alert") }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *AlertKind) UnmarshalText(text []byte) error {
	return unmarshalName(alertNames[:], a, text, "alert")
}

// marshalName refuses a value without a name: it could not be read back.
func marshalName[T ~uint8](names []string, v T, what string) ([]byte, error) {
	if int(v) >= len(names) || names[v] == "" {
		return nil, fmt.Errorf("%s: have %d, which has no name", what, v)
	}
	return []byte(names[v]), nil
}

func unmarshalName[T ~uint8](names []string, v *T, text []byte, what string) error {
	for i, n := range names {
		if n == string(text) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("%s: have %q, want one of %q", what, text, names)
}
