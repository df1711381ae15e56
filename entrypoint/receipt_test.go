package entrypoint_test

import (
	"errors"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// A bundle of the real contract: deployed account, plain call, revert, and a paymaster whose postOp reverts.
func TestSplitLogsOfARealBundle(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		ops := w.mixedBundle(t)
		if ret, ok := w.handle(ops...); !ok {
			t.Fatal(entrypoint.RevertReason(ret))
		}
		w.checkSplit(t, ops)
	})
}

func TestSplitLogsOfARealAggregatedBundle(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		ops := w.mixedBundle(t)
		groups := []entrypoint.OpsPerAggregator{{Ops: ops[:2]}, {Ops: ops[2:]}}
		w.entryPoint(entrypoint.EncodeHandleAggregatedOps(w.ep.Version, groups, eoa), nil)
		w.checkSplit(t, ops)
	})
}

func (w *world) mixedBundle(t *testing.T) []*userop.UserOperation {
	t.Helper()
	v := w.ep.Version
	plain, reverting, third := common.Address{0xa1}, common.Address{0xa2}, common.Address{0xa3}
	paymaster := common.Address{0xbb}
	w.account(plain, uint256.Int{}, logsCall...)
	w.account(reverting, uint256.Int{}, revertsWith...)
	w.account(third, uint256.Int{}, logsCall...)
	w.setCode(paymaster, paying(v, []byte("context"), uint256.Int{}, v.Packed()))
	w.deposit(paymaster)

	first := w.operation(plain)
	first.CallData = []byte("first")
	second := w.operation(reverting)
	second.CallData = []byte("second, which reverts")
	sponsored := w.operation(third)
	sponsored.CallData = []byte("sponsored")
	sponsored.Paymaster = &paymaster
	if v.Packed() {
		sponsored.PaymasterVerificationGasLimit, sponsored.PaymasterPostOpGasLimit = 100_000, 100_000
	}
	// An account that its operation creates: AccountDeployed belongs to the validation.
	factory := common.Address{0xfa}
	w.setCode(factory, creating(validating(v, uint256.Int{}, logsCall...)))
	created := w.operation(common.HexToAddress("0x0"))
	created.Factory, created.CallData = &factory, []byte("created")
	ret, _ := w.call(w.ep.Address, w.pack("getSenderAddress", factory[:]), nil)
	result, ok := entrypoint.DecodeRevert(ret).(entrypoint.SenderAddressResult)
	if !ok {
		t.Fatalf("getSenderAddress: %s", entrypoint.RevertReason(ret))
	}
	created.Sender = result.Sender
	w.deposit(created.Sender)
	return []*userop.UserOperation{first, second, sponsored, created}
}

func (w *world) checkSplit(t *testing.T, ops []*userop.UserOperation) {
	t.Helper()
	packed := w.ep.Version.Packed()
	split := entrypoint.SplitLogs(w.logs, w.ep.Address)
	if len(split) != len(ops) {
		t.Fatalf("have logs of %d operations, want %d", len(split), len(ops))
	}
	want := []struct {
		success bool
		log     string // the account's own log
		logs    int    // with those of the EntryPoint
	}{
		{true, "first", 2},
		{false, "", 2}, // UserOperationRevertReason and UserOperationEvent
		{!packed, "sponsored", 2},
		{true, "created", 2},
	}
	if packed {
		want[2].log = "" // a reverting postOp takes the call with it
	}
	for i, have := range split {
		op, event := ops[i], have.Event
		paymaster := common.Address{}
		if op.Paymaster != nil {
			paymaster = *op.Paymaster
		}
		if event.UserOpHash != w.hash(op, common.Address{}) || event.Sender != op.Sender || event.Paymaster != paymaster ||
			!event.Nonce.Eq(&op.Nonce) || event.Success != want[i].success {
			t.Errorf("operation %d: have %+v", i, event)
		}
		price := uint256.NewInt(w.baseFee.Uint64())
		priority := op.EffectivePriorityFee(price)
		price.Add(price, &priority)
		if cost := price.Mul(price, &event.ActualGasUsed); !cost.Eq(&event.ActualGasCost) {
			t.Errorf("operation %d: have cost %s, want %s", i, &event.ActualGasCost, cost)
		}
		if len(have.Logs) != want[i].logs {
			t.Errorf("operation %d: have %d logs, want %d", i, len(have.Logs), want[i].logs)
		}
		own := slices.ContainsFunc(have.Logs, func(l *types.Log) bool { return l.Address == op.Sender && string(l.Data) == want[i].log })
		if own != (want[i].log != "") {
			t.Errorf("operation %d: have the account's own log %t", i, own)
		}
	}
	if have := string(split[1].Reason()); have != "second, which reverts" {
		t.Errorf("have reason %q", have)
	}
	if packed && (split[2].RevertReason != nil || len(split[2].PostOpRevertReason) == 0) {
		t.Errorf("have reasons %x and %x, want that of postOp alone", split[2].RevertReason, split[2].PostOpRevertReason)
	}
	if packed {
		if _, ok := entrypoint.DecodeRevert(split[2].Reason()).(entrypoint.PostOpReverted); !ok {
			t.Errorf("have %s, want PostOpReverted", entrypoint.RevertReason(split[2].Reason()))
		}
	}
	w.checkDeployed(t, ops[3])
}

func (w *world) checkDeployed(t *testing.T, op *userop.UserOperation) {
	t.Helper()
	for _, log := range w.logs {
		if !entrypoint.IsEvent(log, w.ep.Address, entrypoint.TopicAccountDeployed) {
			continue
		}
		want := entrypoint.AccountDeployed{UserOpHash: w.hash(op, common.Address{}), Sender: op.Sender, Factory: *op.Factory}
		have, err := entrypoint.ParseAccountDeployed(log)
		if diff := cmp.Diff(want, have); err != nil || diff != "" {
			t.Errorf("AccountDeployed: %v\n%s", err, diff)
		}
		return
	}
	t.Error("have no AccountDeployed")
}

// A receipt may hold anything beside the bundle: other contracts' logs that look like the EntryPoint's, two bundles,
// malformed events.
func TestSplitLogsBelievesTheEntryPointOnly(t *testing.T) {
	ep, other := common.Address{1}, common.Address{2}
	event := func(from common.Address, hash byte) *types.Log {
		return &types.Log{Address: from, Topics: []common.Hash{entrypoint.TopicUserOperationEvent, {hash}, {}, {}}, Data: make([]byte, 128)}
	}
	before := &types.Log{Address: ep, Topics: []common.Hash{entrypoint.TopicBeforeExecution}}
	plain := &types.Log{Address: other}
	malformed := event(ep, 9)
	malformed.Data = malformed.Data[:100]
	tests := []struct {
		name string
		logs []*types.Log
		want map[byte]int // hash to number of logs
	}{
		{"none", nil, nil},
		{"no bundle", []*types.Log{plain}, nil},
		{"validation logs belong to nobody", []*types.Log{plain, plain, before, plain, event(ep, 1)}, map[byte]int{1: 2}},
		{"an imitation is a log like any other", []*types.Log{before, event(other, 7), event(ep, 1)}, map[byte]int{1: 2}},
		{"two bundles in one transaction", []*types.Log{before, event(ep, 1), plain, before, plain, event(ep, 2)}, map[byte]int{1: 1, 2: 2}},
		{"logs after the last operation", []*types.Log{before, event(ep, 1), plain}, map[byte]int{1: 1}},
		{"malformed", []*types.Log{before, malformed, event(ep, 1)}, map[byte]int{1: 2}},
		{"without topics", []*types.Log{before, {Address: ep}, event(ep, 1)}, map[byte]int{1: 2}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			have := map[byte]int{}
			for _, o := range entrypoint.SplitLogs(tc.logs, ep) {
				have[o.Event.UserOpHash[0]] = len(o.Logs)
			}
			if tc.want == nil {
				tc.want = map[byte]int{}
			}
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParsingEventsOfDeposits(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		account := common.Address{0xaa}
		w.deposit(account)
		deposited, err := entrypoint.ParseDeposited(w.logs[0])
		want := entrypoint.Deposited{Account: account, TotalDeposit: *new(uint256.Int).Lsh(uint256.NewInt(1), 110)}
		if diff := cmp.Diff(want, deposited); err != nil || diff != "" {
			t.Errorf("Deposited: %v\n%s", err, diff)
		}
		w.deposit(eoa)
		w.entryPoint(w.pack("withdrawTo", account, uint256.NewInt(5).ToBig()), nil)
		withdrawn, err := entrypoint.ParseWithdrawn(w.logs[0])
		if diff := cmp.Diff(entrypoint.Withdrawn{Account: eoa, To: account, Amount: *uint256.NewInt(5)}, withdrawn); err != nil || diff != "" {
			t.Errorf("Withdrawn: %v\n%s", err, diff)
		}
	})
}

func TestParsingEventsRefuses(t *testing.T) {
	parse := map[common.Hash]func(*types.Log) error{
		entrypoint.TopicUserOperationEvent:        func(l *types.Log) error { _, err := entrypoint.ParseUserOperationEvent(l); return err },
		entrypoint.TopicUserOperationRevertReason: func(l *types.Log) error { _, err := entrypoint.ParseUserOperationRevertReason(l); return err },
		entrypoint.TopicPostOpRevertReason:        func(l *types.Log) error { _, err := entrypoint.ParsePostOpRevertReason(l); return err },
		entrypoint.TopicAccountDeployed:           func(l *types.Log) error { _, err := entrypoint.ParseAccountDeployed(l); return err },
		entrypoint.TopicDeposited:                 func(l *types.Log) error { _, err := entrypoint.ParseDeposited(l); return err },
		entrypoint.TopicWithdrawn:                 func(l *types.Log) error { _, err := entrypoint.ParseWithdrawn(l); return err },
	}
	topics := map[common.Hash]int{
		entrypoint.TopicUserOperationEvent: 4, entrypoint.TopicDeposited: 2, entrypoint.TopicWithdrawn: 2,
		entrypoint.TopicUserOperationRevertReason: 3, entrypoint.TopicPostOpRevertReason: 3, entrypoint.TopicAccountDeployed: 3,
	}
	for topic, parse := range parse {
		all := make([]common.Hash, topics[topic])
		all[0] = topic
		for name, tc := range map[string]struct {
			log  types.Log
			want error
		}{
			"no topics":      {types.Log{}, entrypoint.ErrOtherEvent},
			"another event":  {types.Log{Topics: []common.Hash{entrypoint.TopicBeforeExecution}}, entrypoint.ErrOtherEvent},
			"too few topics": {types.Log{Topics: all[:1]}, entrypoint.ErrMalformed},
			"no data":        {types.Log{Topics: all}, entrypoint.ErrMalformed},
		} {
			if err := parse(&tc.log); !errors.Is(err, tc.want) {
				t.Errorf("%s, %s: have error %v, want %v", topic, name, err, tc.want)
			}
		}
	}
}

func TestSplitLogsNeverPanics(t *testing.T) {
	topics := []common.Hash{
		entrypoint.TopicBeforeExecution, entrypoint.TopicUserOperationEvent, entrypoint.TopicUserOperationRevertReason,
		entrypoint.TopicPostOpRevertReason, entrypoint.TopicSignatureAggregatorChanged,
		{1},
	}
	ep := common.Address{1}
	rapid.Check(t, func(t *rapid.T) {
		logs := rapid.SliceOf(rapid.Custom(func(t *rapid.T) *types.Log {
			return &types.Log{
				Address: common.Address{rapid.ByteRange(1, 2).Draw(t, "address")},
				Topics:  rapid.SliceOfN(rapid.SampledFrom(topics), 0, 4).Draw(t, "topics"),
				Data:    rapid.SliceOfN(rapid.ByteRange(0, 1), 0, 160).Draw(t, "data"),
			}
		})).Draw(t, "logs")
		total := 0
		for _, o := range entrypoint.SplitLogs(logs, ep) {
			total += len(o.Logs)
			if last := o.Logs[len(o.Logs)-1]; !entrypoint.IsEvent(last, ep, entrypoint.TopicUserOperationEvent) {
				t.Fatal("the last log of an operation is not its UserOperationEvent")
			}
		}
		if total > len(logs) {
			t.Fatalf("have %d logs of operations, out of %d", total, len(logs))
		}
	})
}

// The constants of this package are those of the contracts' ABIs.
func TestTopicsAndErrorsAreThoseOfTheABIs(t *testing.T) {
	topics := map[string]common.Hash{
		"UserOperationEvent":         entrypoint.TopicUserOperationEvent,
		"UserOperationRevertReason":  entrypoint.TopicUserOperationRevertReason,
		"PostOpRevertReason":         entrypoint.TopicPostOpRevertReason,
		"UserOperationPrefundTooLow": entrypoint.TopicUserOperationPrefundTooLow,
		"AccountDeployed":            entrypoint.TopicAccountDeployed,
		"IgnoredInitCode":            entrypoint.TopicIgnoredInitCode,
		"EIP7702AccountInitialized":  entrypoint.TopicEIP7702AccountInitialized,
		"BeforeExecution":            entrypoint.TopicBeforeExecution,
		"SignatureAggregatorChanged": entrypoint.TopicSignatureAggregatorChanged,
		"Deposited":                  entrypoint.TopicDeposited,
		"Withdrawn":                  entrypoint.TopicWithdrawn,
		"StakeLocked":                entrypoint.TopicStakeLocked,
		"StakeUnlocked":              entrypoint.TopicStakeUnlocked,
		"StakeWithdrawn":             entrypoint.TopicStakeWithdrawn,
	}
	// Errors of calls that Baler never makes, or that cannot happen in them.
	ignored := []string{
		"ExecutionResult", "ValidationResult", "ValidationResultWithAggregation", "InvalidShortString", "StringTooLong",
		"DepositWithdrawalFailed", "InsufficientDeposit", "InvalidStake", "InvalidUnstakeDelay", "NotStaked",
		"StakeNotUnlocked", "StakeWithdrawalFailed", "WithdrawalNotDue",
	}
	seen := map[string]bool{}
	for _, v := range userop.Versions() {
		for _, contract := range []string{"EntryPoint", "SenderCreator"} {
			artifact := load(t, v, contract)
			for name, event := range artifact.ABI.Events {
				seen[name] = true
				if want, ok := topics[name]; name != "EIP712DomainChanged" && (!ok || event.ID != want) {
					t.Errorf("v%v %s: have topic %s, the ABI says %s", v, name, want, event.ID)
				}
			}
			for name, e := range artifact.ABI.Errors {
				revert := entrypoint.DecodeRevert(append(e.ID[:4:4], make([]byte, 320)...))
				if named, ok := revert.(entrypoint.NamedError); ok && named.Name != name {
					t.Errorf("v%v %s: have %s", v, name, named.Name)
				}
				_, unknown := revert.(entrypoint.UnknownRevert)
				if unknown != slices.Contains(ignored, name) {
					t.Errorf("v%v: error %s decodes to %T", v, name, revert)
				}
			}
		}
	}
	for name := range topics {
		if !seen[name] {
			t.Errorf("no EntryPoint has event %s", name)
		}
	}
}
