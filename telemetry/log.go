// Package telemetry turns events into what operators read: today structured logs; metrics and traces have their room
// here.
//
// In: events. Out: one log line per decision, with the operation's and the bundle's id. It never decides anything.
package telemetry

import (
	"context"
	"log/slog"

	"baler/event"

	"github.com/ethereum/go-ethereum/common"
)

// Log returns a sink that writes one line per event. What repeats with every block or operation is at debug level.
func Log(log *slog.Logger) event.Sink {
	return func(e event.Event) {
		level := levelOf(e)
		if !log.Enabled(context.Background(), level) { // most are not: what nobody reads is not put into words
			return
		}
		message, attributes := describe(e)
		log.LogAttrs(context.Background(), level, message, attributes...)
	}
}

// levelOf is the level at which an event is told.
func levelOf(e event.Event) slog.Level {
	switch e := e.(type) {
	case event.HeadSeen, event.OperationReceived, event.OperationAdded, event.OperationValidated, event.OperationSkipped, event.BundleProposed,
		event.OperationsReleased, event.OperationMined, event.SenderMoved, event.BalanceSeen, event.NodeAsked, event.CallServed, event.PoolAsked:
		return slog.LevelDebug
	case event.OperationRejected, event.OperationRemoved, event.OperationRevived, event.BundleSent, event.BundleMined, event.BundleUnmined,
		event.LeaseMoved, event.FundsMoved:
		return slog.LevelInfo
	case event.KeyUsed:
		if e.Failed != "" {
			return slog.LevelError
		}
		return slog.LevelDebug
	case event.BundleReverted, event.Alert:
		return slog.LevelWarn
	default:
		return slog.LevelWarn
	}
}

func describe(e event.Event) (string, []slog.Attr) {
	switch e := e.(type) {
	case event.HeadSeen:
		return "head", []slog.Attr{slog.Uint64("block", e.Number), hash("hash", e.Hash), slog.Int("removed", e.Removed)}
	case event.OperationReceived:
		return "operation received", []slog.Attr{
			hash("op", e.Hash), address("entry_point", e.EntryPoint), address("sender", e.Sender), slog.String("nonce", e.Nonce.Hex()),
		}
	case event.OperationAdded:
		attributes := []slog.Attr{hash("op", e.Hash), address("entry_point", e.EntryPoint), address("sender", e.Sender), slog.String("nonce", e.Nonce.Hex())}
		if e.Replaced != nil {
			attributes = append(attributes, hash("replaced", *e.Replaced))
		}
		return "operation added", attributes
	case event.OperationRejected:
		return "operation rejected", []slog.Attr{
			hash("op", e.Hash), address("entry_point", e.EntryPoint), address("sender", e.Sender), slog.Int("code", e.Code), slog.String("reason", e.Message),
		}
	case event.OperationValidated:
		return "operation validated", []slog.Attr{
			hash("op", e.Hash), slog.String("stage", e.Stage), slog.String("result", e.Result), slog.Duration("took", e.Took),
		}
	case event.OperationSkipped:
		return "operation skipped", []slog.Attr{hash("op", e.Hash), address("signer", e.Signer), slog.String("reason", e.Reason)}
	case event.OperationRemoved:
		return "operation removed", []slog.Attr{hash("op", e.Hash), slog.String("reason", e.Reason)}
	case event.BundleProposed:
		return "bundle proposed", []slog.Attr{
			address("signer", e.Signer), address("entry_point", e.EntryPoint), slog.Int("ops", len(e.Hashes)), slog.Uint64("gas_limit", e.GasLimit),
			slog.String("max_fee", e.Fees.MaxFee.Dec()), slog.String("max_priority_fee", e.Fees.MaxPriority.Dec()),
			slog.String("expected_profit_wei", e.ExpectedProfit.Dec()),
		}
	case event.OperationsReleased:
		return "operations released", []slog.Attr{address("signer", e.Signer), slog.Int("ops", len(e.Hashes))}
	case event.OperationMined:
		return "operation mined", []slog.Attr{
			hash("op", e.Hash), hash("tx", e.Tx), slog.Uint64("block", e.Block), slog.Bool("success", e.Success),
			slog.String("gas_used", e.GasUsed.Dec()), slog.String("gas_cost_wei", e.GasCost.Dec()),
		}
	case event.OperationRevived:
		return "operation revived by a reorg", []slog.Attr{hash("op", e.Hash)}
	case event.SenderMoved:
		return "bundle sender moved", []slog.Attr{
			address("signer", e.Signer), slog.String("from", e.From), slog.String("to", e.To), slog.String("cause", e.Cause), slog.Uint64("block", e.Block),
		}
	case event.BundleSent:
		return "bundle sent", []slog.Attr{
			address("signer", e.Signer), address("entry_point", e.EntryPoint), hash("tx", e.Tx), slog.Uint64("nonce", e.Nonce), slog.Int("ops", e.Operations),
			slog.Uint64("gas_limit", e.GasLimit), slog.String("max_fee", e.Fees.MaxFee.Dec()), slog.String("max_priority_fee", e.Fees.MaxPriority.Dec()),
			slog.String("expected_profit_wei", e.ExpectedProfit.Dec()), slog.String("answer", e.Answer), slog.String("text", e.Text), slog.String("route", e.Route),
		}
	case event.BundleMined:
		return "bundle mined", []slog.Attr{
			address("signer", e.Signer), hash("tx", e.Tx), slog.Uint64("block", e.Block), slog.Int("ops", e.Operations), slog.Bool("success", e.Success),
			slog.Uint64("gas_used", e.GasUsed), slog.String("cost_wei", e.Cost.Dec()), slog.String("earned_wei", e.Earned.Dec()),
		}
	case event.BundleUnmined:
		return "bundle un-mined by a reorg", []slog.Attr{address("signer", e.Signer), hash("tx", e.Tx), slog.Uint64("block", e.Block)}
	case event.BundleReverted:
		return "bundle reverted", []slog.Attr{
			address("signer", e.Signer), hash("tx", e.Tx), slog.Uint64("block", e.Block), slog.Int("ops", e.Operations),
			slog.String("cause", e.Cause), slog.Any("culprits", e.Culprits),
		}
	case event.KeyUsed:
		if e.Failed != "" {
			return "key could not sign", []slog.Attr{
				address("signer", e.Signer), slog.String("kind", e.Kind), slog.Duration("took", e.Took), slog.Int("attempts", e.Attempts), slog.String("err", e.Failed),
			}
		}
		return "key signed", []slog.Attr{
			address("signer", e.Signer), slog.String("kind", e.Kind), slog.Duration("took", e.Took), slog.Int("attempts", e.Attempts),
		}
	case event.LeaseMoved:
		return "lease moved", []slog.Attr{
			address("signer", e.Signer), slog.Bool("held", e.Held), slog.Uint64("fence", e.Fence), slog.String("cause", e.Cause),
		}
	case event.BalanceSeen:
		return "balance seen", []slog.Attr{address("signer", e.Signer), slog.String("wei", e.Balance.Dec()), slog.Uint64("block", e.Block)}
	case event.NodeAsked:
		return "node asked", []slog.Attr{
			slog.String("endpoint", e.Endpoint), slog.Any("methods", e.Methods), slog.Duration("took", e.Took), slog.String("result", e.Result),
		}
	case event.CallServed:
		return "call served", []slog.Attr{slog.String("method", e.Method), slog.Int("code", e.Code), slog.Duration("took", e.Took)}
	case event.PoolAsked:
		return "pool asked", []slog.Attr{
			slog.String("side", e.Side), slog.String("method", e.Method), slog.String("result", e.Result), slog.Duration("took", e.Took),
		}
	case event.FundsMoved:
		return "funds moved", []slog.Attr{
			address("payer", e.From), hash("tx", e.Tx), slog.Uint64("block", e.Block), slog.Int("accounts", e.Accounts),
			slog.String("wei", e.Amount.Dec()), slog.String("cost_wei", e.Cost.Dec()), slog.Bool("success", e.Success),
		}
	case event.Alert:
		return e.Text, []slog.Attr{slog.String("alert", e.Kind), address("signer", e.Signer)}
	default:
		return "event without a description", []slog.Attr{slog.Any("event", e)}
	}
}

func hash(key string, value common.Hash) slog.Attr       { return slog.String(key, value.Hex()) }
func address(key string, value common.Address) slog.Attr { return slog.String(key, value.Hex()) }
