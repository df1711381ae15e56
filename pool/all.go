package pool

import "iter"

// All returns the operations in no order. The pool must not be changed meanwhile.
func (p *Pool) All() iter.Seq[*Operation] {
	return func(yield func(*Operation) bool) {
		for _, e := range p.ops {
			if !yield(e.Operation) {
				return
			}
		}
	}
}
