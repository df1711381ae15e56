package bundlesender

// row is one line of the transition table: in a state, on a cause, if a condition holds, the machine does something, goes to
// a state and carries on at a pace. Of the rows for a state and a cause the first whose condition holds applies; if none does,
// the cause changes nothing there.
//
// The table drives the machine, and is what doc.go and docs/bundle-sender.md print.
type row struct {
	in   []State
	on   Cause
	when condition
	to   State
	pace pace
	do   action
	says string // what the table's reader should know
}

// condition is a guard with the words that the table prints for it; the zero condition always holds.
type condition struct {
	name  string
	holds func(*Machine) bool
}

// action is what a row does with the words that the table prints for it; the zero action does nothing.
type action struct {
	name string
	run  func(*Machine)
}

// pace is how the machine carries on after a row.
type pace uint8

const (
	waits            pace = iota // for the next trigger
	atOnce                       // begins the state's work now
	atOnceInAuto                 // at once in auto mode, waits in manual mode
	atOnceOrBacksOff             // at once the first time, after a backoff if it repeats without a wait between
	backsOff                     // after a backoff
	answers                      // an answer is awaited
)

var paceNames = [...]string{
	waits: "waits", atOnce: "at once", atOnceInAuto: "at once in auto", atOnceOrBacksOff: "at once, backs off if it repeats",
	backsOff: "backs off", answers: "awaits the answer",
}

var (
	building      = []State{Building}
	pending       = []State{Pending}
	cancelState   = []State{Cancelling}
	cancelPending = []State{CancelPending}
	anyRunning    = []State{Building, Pending, Cancelling, CancelPending}
	notCancelling = []State{Building, Pending}
	notPending    = []State{Building, Cancelling, CancelPending}
)

var table = []row{
	{building, Triggered, condition{}, Building, atOnce, action{}, "new block or interval (auto), manual call"},
	{building, HadNoOperations, nonceBlocks, Cancelling, atOnce, startCancelling, "to cancel costs less than the revert"},
	{building, HadNoOperations, condition{}, Building, waits, action{}, "fee increases and underpriced-since are kept"},
	{building, LeftNoneSimulated, nonceBlocks, Cancelling, atOnce, startCancelling, ""},
	{building, LeftNoneSimulated, condition{}, Building, waits, action{}, "fee increases and underpriced-since are kept"},
	{building, CannotPay, nonceBlocks, Cancelling, atOnce, startCancellingPoor, ""},
	{building, CannotPay, condition{}, Building, waits, askForFunds, "fee increases, underpriced-since and floor are kept"},
	{building, PricedOut, nonceBlocks, Cancelling, atOnce, startCancelling, ""},
	{building, PricedOut, underpricedTooLong, Cancelling, atOnce, startCancelling, ""},
	{building, PricedOut, isUnderpriced, Building, waits, startFeesAfresh, "underpriced-since is kept"},
	{building, PricedOut, feesIncreased, Building, waits, abandon, "its transactions stay tracked"},
	{building, PricedOut, condition{}, Building, waits, action{}, "nothing was at stake"},
	{building, WasUnprofitable, nonceBlocks, Cancelling, atOnce, startCancelling, "like priced out, here and below"},
	{building, WasUnprofitable, underpricedTooLong, Cancelling, atOnce, startCancelling, ""},
	{building, WasUnprofitable, isUnderpriced, Building, waits, startFeesAfresh, "underpriced-since is kept"},
	{building, WasUnprofitable, feesIncreased, Building, waits, abandon, "its transactions stay tracked"},
	{building, WasUnprofitable, condition{}, Building, waits, action{}, "nothing was at stake"},
	{building, ProposalFailed, condition{}, Building, backsOff, action{}, "node trouble: says nothing about operations"},
	{building, BundleWasReady, condition{}, Building, answers, submit, "journal first, then relay"},
	{building, WasSubmitted, condition{}, Pending, waits, startWaiting, "accepted, or already known for our own hash"},
	{building, OutcomeUnknown, condition{}, Pending, waits, startWaiting, "tracked as unknown: it may be mined"},
	{building, FeesRefused, condition{}, Building, waits, increaseRefusedFees, "the refused fees become the new floor; so do those of what waits, if it has to be replaced"},
	{building, WasRejected, condition{}, Building, waits, increaseRejectedFees, "the refused fees become the new floor"},
	{building, NonceWasTooLow, condition{}, Building, atOnceOrBacksOff, readNonce, ""},
	{building, LackedFunds, condition{}, Building, backsOff, askForFunds, ""},
	{building, ConditionFailed, condition{}, Building, atOnceOrBacksOff, action{}, "the proposal checks the conditions again"},
	{building, WasNotSent, condition{}, Building, backsOff, action{}, "it never left: nothing can be mined"},

	{pending, WasDropped, condition{}, Building, atOnce, increaseFees, ""},
	{pending, WasHit, condition{}, Building, atOnce, increaseFees, "it would revert; replaced without what is mined elsewhere"},
	{pending, TimedOut, condition{}, Building, atOnce, increaseFees, "U is reached at a block that was looked at"},

	{notCancelling, CancelAsked, anythingWaits, Cancelling, atOnce, startCancelling, "its budget holds here too"},

	{cancelState, Triggered, condition{}, Cancelling, atOnce, action{}, "next block"},
	{cancelState, CancelWasSubmitted, condition{}, CancelPending, waits, startWaiting, "same nonce, to itself, empty, both fees ≥ floor"},
	{cancelState, CancelUnknown, condition{}, CancelPending, waits, startWaiting, "tracked as unknown: it may be mined"},
	{cancelState, WasSoftCancelled, condition{}, Building, waits, reset, "the withdrawn transactions stay tracked"},
	{cancelState, HadNothingToCancel, condition{}, Building, waits, reset, ""},
	{cancelState, CancelOverBudget, condition{}, Building, waits, cancelTooDear, "it never left; not before the next trigger again"},
	{cancelState, CancelRefused, cancelledEnough, Building, waits, giveUpCancelling, ""},
	{cancelState, CancelRefused, condition{}, Cancelling, waits, increaseCancelFees, "next block"},

	{cancelPending, WasDropped, cancelledEnough, Building, waits, giveUpCancelling, ""},
	{cancelPending, WasDropped, condition{}, Cancelling, atOnce, increaseCancelFees, ""},
	{cancelPending, TimedOut, cancelledEnough, Building, waits, giveUpCancelling, ""},
	{cancelPending, TimedOut, condition{}, Cancelling, atOnce, increaseCancelFees, ""},

	{anyRunning, WasMined, nextNonceWaits, Pending, waits, resetAndWait, "after a reorg: the transaction of the next nonce is next"},
	{anyRunning, WasMined, condition{}, Building, atOnceInAuto, reset, "receipt decoded, operations settled"},
	{anyRunning, NonceTaken, nextNonceWaits, Pending, waits, takenAndWait, "after a reorg: the transaction of the next nonce is next"},
	{pending, NonceTaken, condition{}, Building, atOnce, taken, "operations released"},
	{notPending, NonceTaken, condition{}, Building, atOnceInAuto, taken, "operations released"},
	{anyRunning, ReorgedOut, condition{}, Pending, waits, resetAndWait, "the attempts live again"},
	{anyRunning, NonceWentBack, nextNonceWaits, Pending, waits, wentBackAndWait, ""},
	{anyRunning, NonceWentBack, condition{}, Building, atOnceInAuto, wentBack, "later nonces stay tracked, their operations are not proposed"},
	{anyRunning, LostLease, condition{}, Stopped, waits, stop, "the journal stays for the next holder"},
}

var (
	underpricedTooLong = condition{
		"underpriced for more than max_replacement_underpriced_blocks",
		func(m *Machine) bool {
			return m.underpriced && since(m.head.number, m.underpricedSince) > m.cfg.MaxReplacementUnderpricedBlocks
		},
	}
	isUnderpriced = condition{"underpriced", func(m *Machine) bool { return m.underpriced }}
	feesIncreased = condition{
		"fee increases > 0, or a floor binds",
		func(m *Machine) bool { return m.feeIncreases > 0 || !m.floor().IsZero() },
	}
	cancelledEnough = condition{
		"max_cancellation_fee_increases used up",
		func(m *Machine) bool { return m.cancelIncreases >= m.cfg.MaxCancellationFeeIncreases },
	}
	nonceBlocks = condition{
		"a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block",
		func(m *Machine) bool { return (m.hitWaits() || m.gapWaits()) && m.cancelEnded != m.head.hash },
	}
	anythingWaits  = condition{"a transaction waits at the nonce", (*Machine).waitsAtNonce}
	nextNonceWaits = condition{"a transaction of ours waits at the nonce that is now next", (*Machine).waitsAtNonce}
)

var (
	startCancelling     = action{"cancellation fee increases := 0", func(m *Machine) { m.cancelIncreases = 0 }}
	startCancellingPoor = action{"cancellation fee increases := 0, alert: funding asked for", func(m *Machine) {
		m.cancelIncreases = 0
		m.alert(AlertInsufficientFunds, 0)
	}}
	startFeesAfresh = action{"attempts abandoned, fee increases := 0: fees start afresh", func(m *Machine) {
		m.abandonAttempts()
		m.feeIncreases = 0
	}}
	abandon      = action{"bundle abandoned, counters cleared", (*Machine).reset}
	reset        = action{"counters cleared, attempts abandoned", (*Machine).reset}
	submit       = action{"submit", (*Machine).submit}
	startWaiting = action{"U := block + max_blocks_to_wait_for_mine", (*Machine).startWaiting}
	resetAndWait = action{"counters cleared, U := block + max_blocks_to_wait_for_mine", func(m *Machine) {
		m.clearCounters()
		m.startWaiting()
	}}
	increaseFees = action{"fee increases +1, underpriced-since cleared", func(m *Machine) {
		m.feeIncreases++
		m.underpriced, m.underpricedSince = false, 0
	}}
	increaseRefusedFees  = action{"fee increases +1, underpriced-since := block if unset", (*Machine).increaseRefusedFees}
	increaseRejectedFees = action{"fee increases +1, underpriced-since := block if unset, alert", func(m *Machine) {
		m.increaseRefusedFees()
		m.alert(AlertTransactionRejected, 0)
	}}
	readNonce   = action{"nonce re-read", func(m *Machine) { m.nonceDoubtful = true }}
	askForFunds = action{"alert: funding asked for", func(m *Machine) { m.alert(AlertInsufficientFunds, 0) }}
	taken       = action{"counters cleared, attempts finished, alert", func(m *Machine) {
		m.reset()
		m.alert(AlertNonceTaken, 0)
	}}
	takenAndWait = action{"counters cleared, alert, U := block + max_blocks_to_wait_for_mine", func(m *Machine) {
		m.clearCounters()
		m.alert(AlertNonceTaken, 0)
		m.startWaiting()
	}}
	wentBack = action{"counters cleared, alert", func(m *Machine) {
		m.clearCounters()
		m.alert(AlertNonceWentBack, 0)
	}}
	wentBackAndWait = action{"counters cleared, alert, U := block + max_blocks_to_wait_for_mine", func(m *Machine) {
		m.clearCounters()
		m.alert(AlertNonceWentBack, 0)
		m.startWaiting()
	}}
	increaseCancelFees = action{"cancellation fee increases +1", func(m *Machine) { m.cancelIncreases++ }}
	giveUpCancelling   = action{"counters cleared, attempts abandoned, alert", func(m *Machine) {
		m.reset()
		m.alert(AlertCancellationGaveUp, 0)
	}}
	cancelTooDear = action{"counters cleared, attempts abandoned, alert", func(m *Machine) {
		m.reset()
		m.alert(AlertCancellationTooDear, 0)
	}}
	stop = action{"signs nothing more, manual calls answered", (*Machine).stop}
)
