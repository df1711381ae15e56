// Package bundlesender decides, for one signing key, when to build a bundle, when to replace it and when to cancel it, so that
// nothing sent is ever forgotten.
//
// In come events (a head with what was observed at it, an answer, a manual call, the end of a wait); out go effects (propose,
// submit, cancel, observe, release, settle, ...). The machine is a value: Step has no clock, no goroutine, no network and no disk, so
// that it can be explored, replayed from its journal and drawn from its own table. Time is a block number or an event.
//
// # What the machine promises
//
//   - One piece of work (a proposal, a submission, a cancellation, an observation) is in flight at a time. What comes back with a stale id
//     changes nothing.
//   - A transaction is submitted only at the account's nonce as the chain last told it. A nonce is finished only when the
//     chain says so. Two nonces of a key are live only after a reorg, and then the lower one is worked on and no operation of the other is proposed.
//   - While they bind, both fees of a replacement are at least those before × (1 + replacement_fee_percent_increase), rounded up. A proposal
//     that is lower is not sent.
//   - An operation once taken for a bundle is released or settled, once. It is released only when no transaction that has it may be mined.
//     A bundle that reverted may be, after a reorg: the sender keeps its operations, and may send them again, until no reorg can reach
//     its block, or it is paused, or cannot pay for a bundle: then nobody else should have to wait.
//   - A transaction that may be mined stays tracked, whatever was thought of it since: refused is not tracked, abandoned, dropped
//     and unknown are.
//   - A bundle that is known to revert is not waited for: at the block that says so it is replaced, or, if there is nothing to replace it
//     with, cancelled. Its operations stay held. A cancelling that ended in vain is not begun again at the same block.
//   - Nothing is begun again without a wait (for a block, an interval, a call) between, except once, and then with a backoff that grows.
//   - From every state but Stopped some sequence of ordinary events leads back to Building. A chain that makes blocks and answers
//     is all that is needed.
//
// # What it asks of its shell
//
//   - Effects are run in their order, and those that are answered are answered exactly once, also when they failed or were aborted.
//   - Submit and Cancel: sign, make the attempt durable in the journal with its hash, step Signed, and only then relay.
//   - Every head is stepped, one by one. While Watch or Settled name transactions (for Settled it is enough to look when the chain has
//     reorged) a head carries an Observation, made at that head's hash for what Watch named, with no event stepped between; nil if it could not be made.
//   - An Observation's Hit is complete, also in the answer to Observe: whose operations are mined elsewhere, the shell knows from the
//     UserOperationEvents of the chain. Mined says from the receipt whether the transaction reverted. A proposal holds no operation that was
//     mined when it was asked for.
//   - What the shell may not spend it does not send: no bundle that loses (WouldLose), no cancellation over its budget (OverBudget).
//   - ProposerError, Unknown and a nil Observation say "not known". The shell never guesses: an unknown outcome is not a refusal.
//   - IntervalElapsed is sent when bundle_max_send_interval_millis have passed since the last Propose.
//   - After a restart it hands the journal to Restore and goes on. The machine asks for the nonce before it begins anything.
//
// What it never does: judge an operation, choose a fee, look at a clock, retry a node call.
//
// # The table
//
// Of the rows for a state and a cause the first whose condition holds applies. A cause without a row changes nothing in that state. The
// rows are those that drive the machine; TestDocuments prints them here (go test ./bundlesender -run Documents -rewrite).
//
// table begins
//
//	in Building, on
//	  triggered
//	    -> Building, at once: new block or interval (auto), manual call
//	  no operations, a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block
//	    -> Cancelling, at once: cancellation fee increases := 0; to cancel costs less than the revert
//	  no operations
//	    -> Building, waits: fee increases and underpriced-since are kept
//	  none left after simulation, a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block
//	    -> Cancelling, at once: cancellation fee increases := 0
//	  none left after simulation
//	    -> Building, waits: fee increases and underpriced-since are kept
//	  signer cannot pay, a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block
//	    -> Cancelling, at once: cancellation fee increases := 0, alert: funding asked for
//	  signer cannot pay
//	    -> Building, waits: alert: funding asked for; fee increases, underpriced-since and floor are kept
//	  none left after the fee filter, a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block
//	    -> Cancelling, at once: cancellation fee increases := 0
//	  none left after the fee filter, underpriced for more than max_replacement_underpriced_blocks
//	    -> Cancelling, at once: cancellation fee increases := 0
//	  none left after the fee filter, underpriced
//	    -> Building, waits: attempts abandoned, fee increases := 0: fees start afresh; underpriced-since is kept
//	  none left after the fee filter, fee increases > 0, or a floor binds
//	    -> Building, waits: bundle abandoned, counters cleared; its transactions stay tracked
//	  none left after the fee filter
//	    -> Building, waits: nothing was at stake
//	  would lose, a bundle of ours that would revert waits, or one waits behind a nonce at which nothing does, no cancelling ended at this block
//	    -> Cancelling, at once: cancellation fee increases := 0; like priced out, here and below
//	  would lose, underpriced for more than max_replacement_underpriced_blocks
//	    -> Cancelling, at once: cancellation fee increases := 0
//	  would lose, underpriced
//	    -> Building, waits: attempts abandoned, fee increases := 0: fees start afresh; underpriced-since is kept
//	  would lose, fee increases > 0, or a floor binds
//	    -> Building, waits: bundle abandoned, counters cleared; its transactions stay tracked
//	  would lose
//	    -> Building, waits: nothing was at stake
//	  proposal failed
//	    -> Building, backs off: node trouble: says nothing about operations
//	  bundle ready
//	    -> Building, awaits the answer: submit; journal first, then relay
//	  submitted
//	    -> Pending, waits: U := block + max_blocks_to_wait_for_mine; accepted, or already known for our own hash
//	  outcome unknown
//	    -> Pending, waits: U := block + max_blocks_to_wait_for_mine; tracked as unknown: it may be mined
//	  underpriced
//	    -> Building, waits: fee increases +1, underpriced-since := block if unset; the refused fees become the new floor; so do those of what waits, if it has to be replaced
//	  rejected
//	    -> Building, waits: fee increases +1, underpriced-since := block if unset, alert; the refused fees become the new floor
//	  nonce too low
//	    -> Building, at once, backs off if it repeats: nonce re-read
//	  insufficient funds
//	    -> Building, backs off: alert: funding asked for
//	  condition not met
//	    -> Building, at once, backs off if it repeats: the proposal checks the conditions again
//	  not sent
//	    -> Building, backs off: it never left: nothing can be mined
//	in Pending, on
//	  dropped
//	    -> Building, at once: fee increases +1, underpriced-since cleared
//	  hit: operations mined elsewhere
//	    -> Building, at once: fee increases +1, underpriced-since cleared; it would revert; replaced without what is mined elsewhere
//	  timed out
//	    -> Building, at once: fee increases +1, underpriced-since cleared; U is reached at a block that was looked at
//	in Building, Pending, on
//	  cancel asked by an operator, a transaction waits at the nonce
//	    -> Cancelling, at once: cancellation fee increases := 0; its budget holds here too
//	in Cancelling, on
//	  triggered
//	    -> Cancelling, at once: next block
//	  hard cancellation submitted
//	    -> CancelPending, waits: U := block + max_blocks_to_wait_for_mine; same nonce, to itself, empty, both fees ≥ floor
//	  cancellation outcome unknown
//	    -> CancelPending, waits: U := block + max_blocks_to_wait_for_mine; tracked as unknown: it may be mined
//	  soft cancellation done
//	    -> Building, waits: counters cleared, attempts abandoned; the withdrawn transactions stay tracked
//	  nothing to cancel
//	    -> Building, waits: counters cleared, attempts abandoned
//	  cancellation over budget
//	    -> Building, waits: counters cleared, attempts abandoned, alert; it never left; not before the next trigger again
//	  cancellation refused, max_cancellation_fee_increases used up
//	    -> Building, waits: counters cleared, attempts abandoned, alert
//	  cancellation refused
//	    -> Cancelling, waits: cancellation fee increases +1; next block
//	in CancelPending, on
//	  dropped, max_cancellation_fee_increases used up
//	    -> Building, waits: counters cleared, attempts abandoned, alert
//	  dropped
//	    -> Cancelling, at once: cancellation fee increases +1
//	  timed out, max_cancellation_fee_increases used up
//	    -> Building, waits: counters cleared, attempts abandoned, alert
//	  timed out
//	    -> Cancelling, at once: cancellation fee increases +1
//	in any, on
//	  mined, a transaction of ours waits at the nonce that is now next
//	    -> Pending, waits: counters cleared, U := block + max_blocks_to_wait_for_mine; after a reorg: the transaction of the next nonce is next
//	  mined
//	    -> Building, at once in auto: counters cleared, attempts abandoned; receipt decoded, operations settled
//	  nonce used by another transaction, a transaction of ours waits at the nonce that is now next
//	    -> Pending, waits: counters cleared, alert, U := block + max_blocks_to_wait_for_mine; after a reorg: the transaction of the next nonce is next
//	in Pending, on
//	  nonce used by another transaction
//	    -> Building, at once: counters cleared, attempts finished, alert; operations released
//	in Building, Cancelling, CancelPending, on
//	  nonce used by another transaction
//	    -> Building, at once in auto: counters cleared, attempts finished, alert; operations released
//	in any, on
//	  reorged out
//	    -> Pending, waits: counters cleared, U := block + max_blocks_to_wait_for_mine; the attempts live again
//	  nonce went back, a transaction of ours waits at the nonce that is now next
//	    -> Pending, waits: counters cleared, alert, U := block + max_blocks_to_wait_for_mine
//	  nonce went back
//	    -> Building, at once in auto: counters cleared, alert; later nonces stay tracked, their operations are not proposed
//	  lease lost
//	    -> Stopped: signs nothing more, manual calls answered; the journal stays for the next holder
//
// table ends
package bundlesender
