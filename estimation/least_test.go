package estimation

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestLeastFindsTheThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Uint64Range(1, 20_000_000).Draw(t, "most")
		threshold := rapid.Uint64Range(0, most).Draw(t, "threshold")
		from := rapid.Uint64Range(0, threshold).Draw(t, "from")
		asked := 0
		guess := rapid.Uint64Range(0, most).Draw(t, "guess")
		got, err := least(from, guess, most, func(limit uint64) (bool, error) {
			asked++
			return limit >= threshold, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got < threshold {
			t.Fatalf("%d is not enough", got)
		}
		if got-threshold > threshold/100+2 {
			t.Fatalf("%d is more than one percent over %d", got, threshold)
		}
		if asked > 60 {
			t.Fatalf("asked %d times", asked)
		}
	})
}

// The usual case, a limit a little over what was used, takes few runs.
func TestLeastLooksCloseByFirst(t *testing.T) {
	asked := 0
	if _, err := least(100_000, 101_588, 15_000_000, func(limit uint64) (bool, error) {
		asked++
		return limit >= 100_900, nil
	}); err != nil {
		t.Fatal(err)
	}
	if asked > 3 {
		t.Errorf("asked %d times, want at most 3", asked)
	}
}

func TestLeastPassesErrorsOn(t *testing.T) {
	failed := errors.New("node gone")
	for _, tries := range []int{0, 1, 3} {
		_, err := least(100, 100, 15_000_000, func(limit uint64) (bool, error) {
			if tries == 0 {
				return false, failed
			}
			tries--
			return limit > 1000, nil
		})
		if !errors.Is(err, failed) {
			t.Errorf("have %v, want %v", err, failed)
		}
	}
}
