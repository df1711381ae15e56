package journal

import (
	"fmt"
	"strings"

	"github.com/holiman/uint256"

	"baler/bundlesender"
	"baler/gas"
)

// eventText is an event in words.
func eventText(e bundlesender.Event) string {
	switch e := e.(type) {
	case bundlesender.Head:
		text := fmt.Sprintf("block %d", e.Number)
		if e.Observation != nil {
			text += ": " + observationText(*e.Observation)
		}
		return text
	case bundlesender.Observed:
		if e.Failed {
			return "the nonce could not be read"
		}
		return fmt.Sprintf("read at block %d: %s", e.Number, observationText(e.Observation))
	case bundlesender.IntervalElapsed:
		return "bundle_max_send_interval_millis passed"
	case bundlesender.SendNow:
		return fmt.Sprintf("manual call %d", e.Call)
	case bundlesender.ModeSet:
		return "mode set to " + modeText(e.Auto)
	case bundlesender.PauseSet:
		if e.Paused {
			return "an operator paused the sender"
		}
		return "an operator let the sender go on"
	case bundlesender.CancelNow:
		return "an operator asked to cancel what waits"
	case bundlesender.Retry:
		return "the wait is over"
	case bundlesender.BundleReady:
		return fmt.Sprintf("bundle ready: %s, %d gas, %s", count(len(e.Operations), "operation"), e.GasLimit, feesText(e.Fees))
	case bundlesender.NothingToSend:
		return "nothing to send: " + e.Reason.String()
	case bundlesender.Signed:
		return fmt.Sprintf("attempt %d signed and durable: %s, %s", e.Attempt, e.Hash, feesText(e.Fees))
	case bundlesender.Submitted:
		return fmt.Sprintf("attempt %d relayed: %s", e.Attempt, e.Outcome)
	case bundlesender.CancelSubmitted:
		return fmt.Sprintf("cancellation, attempt %d, relayed with %s: %s", e.Attempt, feesText(e.Fees), e.Outcome)
	case bundlesender.SoftCancelled:
		return fmt.Sprintf("attempt %d: the relay withdrew our transactions", e.Attempt)
	case bundlesender.NothingToCancel:
		return fmt.Sprintf("attempt %d: nothing waits at the nonce", e.Attempt)
	case bundlesender.ForeignPending:
		return fmt.Sprintf("a transaction that is not ours waits at nonce %d: %s, %s", e.Nonce, e.Hash, feesText(e.Fees))
	case bundlesender.LeaseLost:
		return "the lease of the key is lost"
	default:
		return fmt.Sprintf("%T", e)
	}
}

func observationText(o bundlesender.Observation) string {
	parts := []string{fmt.Sprintf("account nonce %d", o.Nonce)}
	for _, mined := range o.Mined {
		parts = append(parts, fmt.Sprintf("attempt %d mined in block %d", mined.Attempt, mined.Block))
	}
	for _, list := range []struct {
		attempts []bundlesender.AttemptID
		what     string
	}{{o.Dropped, "gone from where it waited"}, {o.Reorged, "reorged out"}, {o.Hit, "would revert"}} {
		for _, id := range list.attempts {
			parts = append(parts, fmt.Sprintf("attempt %d %s", id, list.what))
		}
	}
	return strings.Join(parts, ", ")
}

// effectText is an effect in words.
func effectText(e bundlesender.Effect) string {
	switch e := e.(type) {
	case bundlesender.Propose:
		text := fmt.Sprintf("proposes a bundle at nonce %d", e.Nonce)
		if !e.Floor.IsZero() {
			text += ", at least " + feesText(e.Floor)
		}
		if len(e.Exclude) > 0 {
			text += ", without " + count(len(e.Exclude), "operation")
		}
		return text
	case bundlesender.Abort:
		return "gives up the proposal under way"
	case bundlesender.Submit:
		return "submits " + attemptText(e.Attempt)
	case bundlesender.Cancel:
		return fmt.Sprintf("cancels nonce %d by attempt %d, at least %s, over %s", e.Nonce, e.Attempt, feesText(e.Floor), count(len(e.Waiting), "transaction"))
	case bundlesender.Observe:
		return "reads the account's nonce"
	case bundlesender.Release:
		return fmt.Sprintf("releases %s%s", count(len(e.Operations), "operation"), ofAttempt(e.Attempt))
	case bundlesender.Settle:
		return fmt.Sprintf("settles attempt %d (%s, %s): %s in block %d", e.Attempt, e.Kind, count(len(e.Operations), "operation"), e.Hash, e.Block)
	case bundlesender.Revive:
		return fmt.Sprintf("takes attempt %d back into flight: %s", e.Attempt, e.Hash)
	case bundlesender.Forget:
		return "forgets " + attemptsText(e.Attempts)
	case bundlesender.Backoff:
		return fmt.Sprintf("waits before the next try (%d in a row)", e.Attempt)
	case bundlesender.Alert:
		return "ALERT: " + e.Kind.String() + ofAttempt(e.Attempt)
	case bundlesender.Moved:
		return fmt.Sprintf("%s -> %s, because: %s", e.From, e.To, e.Cause)
	case bundlesender.ManualDone:
		if e.Err != nil {
			return fmt.Sprintf("answers manual call %d: %s", e.Call, oneLine(e.Err.Error()))
		}
		return fmt.Sprintf("answers manual call %d: %s", e.Call, e.Hash)
	default:
		return fmt.Sprintf("%T", e)
	}
}

func attemptText(a bundlesender.Attempt) string {
	return fmt.Sprintf("attempt %d (%s): nonce %d, %s, %d gas, %s", a.ID, a.Kind, a.Nonce, count(len(a.Operations), "operation"), a.GasLimit, feesText(a.Fees))
}

func attemptsText(ids []bundlesender.AttemptID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = fmt.Sprint(id)
	}
	if len(ids) == 1 {
		return "attempt " + parts[0]
	}
	return "attempts " + strings.Join(parts, ", ")
}

func ofAttempt(id bundlesender.AttemptID) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf(", attempt %d", id)
}

func feesText(f gas.Fees) string {
	if f.IsZero() {
		return "no fees"
	}
	return fmt.Sprintf("max fee %s, priority fee %s gwei", gwei(f.MaxFee), gwei(f.MaxPriority))
}

// gwei prints an amount of wei in gwei, exactly.
func gwei(wei uint256.Int) string {
	var whole, rest uint256.Int
	whole.DivMod(&wei, uint256.NewInt(1e9), &rest)
	if rest.IsZero() {
		return whole.Dec()
	}
	return whole.Dec() + "." + strings.TrimRight(fmt.Sprintf("%09d", rest.Uint64()), "0")
}
