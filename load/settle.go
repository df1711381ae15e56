package load

import (
	"cmp"
	"context"
	"maps"
	"math/big"
	"slices"

	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// settle reads all bundles from the node and makes the report of them.
func (r *run) settle(ctx context.Context) (*Report, error) {
	bundles := make([]map[common.Hash]*types.Receipt, len(r.cfg.Targets))
	for i := range r.tally.targets {
		distinct := make(map[common.Hash]bool)
		for _, op := range r.tally.targets[i].mined {
			distinct[op.tx] = true
		}
		hashes := slices.Collect(maps.Keys(distinct))
		receipts, err := r.node.transactionReceipts(ctx, hashes)
		if err != nil {
			return nil, err
		}
		bundles[i] = make(map[common.Hash]*types.Receipt, len(hashes))
		for j, hash := range hashes {
			if receipts[j] != nil {
				bundles[i][hash] = receipts[j]
			}
		}
	}
	return r.tally.report(r.cfg.Targets, bundles), nil
}

// report compares what the bundler said with the bundles the node has, by transaction hash per target.
func (t *tally) report(targets []Target, bundles []map[common.Hash]*types.Receipt) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	report := &Report{EntryPoints: make([]EntryPointReport, 0, len(targets))}
	for i, target := range targets {
		e := t.reportTarget(i, target, bundles[i])
		report.EntryPoints = append(report.EntryPoints, e)
		report.Totals.Accepted += e.Accepted
		report.Totals.Included += e.Included
		report.Totals.Failed += e.Failed
		report.Totals.Bundles += e.Bundles
	}
	for reason, count := range t.failures {
		report.Failures = append(report.Failures, Failure{reason, count})
	}
	slices.SortFunc(report.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return report
}

func (t *tally) reportTarget(index int, target Target, bundles map[common.Hash]*types.Receipt) EntryPointReport {
	counted := &t.targets[index]
	ops := make(map[common.Hash]settled) // of all operations in the bundles, other people's too
	cost, gasUsed := new(big.Int), uint64(0)
	e := EntryPointReport{
		Version: target.EntryPoint.Version, VersionText: target.EntryPoint.Version.String(),
		Accepted: counted.accepted, Bundles: len(bundles),
		AcceptMS: percentiles(counted.accept), InclusionMS: percentiles(counted.inclusion),
	}
	for _, receipt := range bundles {
		gasUsed += receipt.GasUsed
		if receipt.EffectiveGasPrice != nil {
			fee := new(big.Int).SetUint64(receipt.GasUsed)
			cost.Add(cost, fee.Mul(fee, receipt.EffectiveGasPrice))
		}
		for _, op := range entrypoint.SplitLogs(receipt.Logs, target.EntryPoint.Address) {
			ops[op.Event.UserOpHash] = settled{op, receipt.TxHash}
			e.Profit.Add(&e.Profit.Int, op.Event.ActualGasCost.ToBig())
		}
	}
	e.Profit.Sub(&e.Profit.Int, cost)
	for _, op := range counted.mined {
		switch found, ok := ops[op.hash]; {
		case !ok || found.tx != op.tx:
			t.fail(counted, "the bundler calls it mined, the node does not have it")
		case !found.Event.Success:
			e.Included++
			t.fail(counted, "mined, but reverted: "+entrypoint.RevertReason(found.Reason()))
		default:
			e.Included++
		}
	}
	e.Failed = counted.failed
	if len(ops) > 0 {
		e.GasPerOp = gasUsed / uint64(len(ops))
		e.OpsPerBundle = float64(len(ops)) / float64(len(bundles))
	}
	return e
}

func (t *tally) fail(counted *targetTally, reason string) {
	counted.failed++
	t.failures[reason]++
}

// settled is an operation in a bundle, and the bundle's transaction.
type settled struct {
	entrypoint.OperationLogs

	tx common.Hash
}
