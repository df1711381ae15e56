package bundlesender

import "slices"

// Arrow is one arrow of the machine's picture: from a state to a state, with everything that may lead along it.
type Arrow struct {
	From, To State
	Causes   []Cause // in the table's order, each once
}

// States returns all states, in their order.
func States() []State {
	states := make([]State, numStates)
	for i := range states {
		states[i] = State(i)
	}
	return states
}

// Arrows returns the picture of the table: one arrow for each pair of states between which a row leads. A state's arrow to
// itself stands for the rows that keep the machine there.
func Arrows() []Arrow {
	var arrows []Arrow
	for _, from := range States() {
		for _, to := range States() {
			var causes []Cause
			for _, r := range table {
				if r.to == to && slices.Contains(r.in, from) && !slices.Contains(causes, r.on) {
					causes = append(causes, r.on)
				}
			}
			if len(causes) > 0 {
				arrows = append(arrows, Arrow{From: from, To: to, Causes: causes})
			}
		}
	}
	return arrows
}
