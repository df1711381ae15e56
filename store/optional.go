package store

// Optional is a value that may be absent, as records in RLP have it: a list of none or one. RLP has no other way to tell zero from
// nothing.
type Optional[T any] []T

// OptionalOf returns what a pointer points to; nil: it is absent.
func OptionalOf[T any](v *T) Optional[T] {
	if v == nil {
		return nil
	}
	return Optional[T]{*v}
}

// Pointer is the inverse of [OptionalOf].
func (o Optional[T]) Pointer() *T {
	if len(o) == 0 {
		return nil
	}
	return &o[0]
}
