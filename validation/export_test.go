package validation

// Forget drops what the validator remembers of operations, so that it runs them again.
func (v *Validator) Forget() { v.memo.forget() }
