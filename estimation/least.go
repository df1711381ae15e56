package estimation

const (
	firstStep = 64  // steps begin with a 64th, the part that EIP-150 keeps back from each inner call
	minStep   = 200 // gas
	precision = 100 // the result is within one part in so many
)

// least returns the least limit over from that is enough, to within one percent; most is known to be enough. It looks
// around guess first, because enough is expensive.
func least(from, guess, most uint64, enough func(limit uint64) (bool, error)) (uint64, error) {
	low, high := min(from, most), most // low counts as not enough, high is enough
	for probe, step := max(guess, low), max(guess/firstStep, minStep); probe < most; probe, step = probe+step, step*2 {
		ok, err := enough(probe)
		if err != nil {
			return most, err
		}
		if ok {
			high = probe
			break
		}
		low = probe
	}
	for high-low > max(high/precision, 1) {
		middle := low + (high-low)/2
		ok, err := enough(middle)
		if err != nil {
			return most, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	return high, nil
}
