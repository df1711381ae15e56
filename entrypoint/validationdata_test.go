package entrypoint_test

import (
	"errors"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

const blockFlag = 1 << 47

// validationWord packs what an account returns.
func validationWord(aggregator common.Address, until, after uint64) uint256.Int {
	word := new(uint256.Int).Lsh(uint256.NewInt(after), 48)
	word.Or(word, uint256.NewInt(until))
	word.Lsh(word, 160)
	return *word.Or(word, new(uint256.Int).SetBytes(aggregator[:]))
}

func TestParseValidationData(t *testing.T) {
	contract, failed := common.Address{0xaa}, common.Address{19: 1}
	tests := []struct {
		name    string
		version userop.Version
		word    uint256.Int
		want    entrypoint.ValidationData
	}{
		{"valid", userop.V07, uint256.Int{}, entrypoint.ValidationData{}},
		{"wrong signature", userop.V07, *uint256.NewInt(1), entrypoint.ValidationData{Aggregator: failed}},
		{"aggregator and times", userop.V07, validationWord(contract, 20, 10), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 10, ValidUntil: 20}},
		{"blocks", userop.V09, validationWord(contract, blockFlag|20, blockFlag|10), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 10, ValidUntil: 20, Blocks: true}},
		{"blocks without end", userop.V09, validationWord(contract, 0, blockFlag|10), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 10, Blocks: true}},
		{"blocks from the first", userop.V09, validationWord(contract, blockFlag|20, blockFlag), entrypoint.ValidationData{Aggregator: contract, ValidUntil: 20, Blocks: true}},
		{"never", userop.V09, validationWord(contract, blockFlag, blockFlag), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 1, ValidUntil: 1, Blocks: true}},
		{"blocks before v0.9 are far times", userop.V08, validationWord(contract, blockFlag|20, blockFlag|10), entrypoint.ValidationData{Aggregator: contract, ValidAfter: blockFlag | 10, ValidUntil: blockFlag | 20}},
		{"one flag is a far time", userop.V09, validationWord(contract, blockFlag|20, 10), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 10, ValidUntil: blockFlag | 20}},
		{"the largest", userop.V07, validationWord(contract, 1<<48-1, 1<<48-1), entrypoint.ValidationData{Aggregator: contract, ValidAfter: 1<<48 - 1, ValidUntil: 1<<48 - 1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			have := entrypoint.ParseValidationData(tc.version, tc.word)
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Error(diff)
			}
			if have.SignatureFailed() != (tc.want.Aggregator == failed) || have.HasAggregator() != (tc.want.Aggregator == contract) {
				t.Errorf("have signature failed %t, aggregator %t", have.SignatureFailed(), have.HasAggregator())
			}
		})
	}
}

// bounds draws times and block numbers around now, with and without the block flag.
func bounds(w *world) *rapid.Generator[uint64] {
	around := func(n uint64) *rapid.Generator[uint64] { return rapid.Uint64Range(n-2, n+2) }
	return rapid.OneOf(
		rapid.Just(uint64(0)), rapid.Just(uint64(blockFlag)), rapid.Just(uint64(1<<48-1)),
		around(w.time), around(w.block), around(blockFlag|w.block), around(blockFlag|w.time),
	)
}

// Whether an operation is in its range is the EntryPoint's decision: ours must be the same at every edge, for the
// account's range and for the paymaster's.
func TestRangesAreThoseOfTheContract(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		v := w.ep.Version
		sender, paymaster := common.Address{0xaa}, common.Address{0xbb}
		w.deposit(sender)
		w.deposit(paymaster)
		rapid.Check(t, func(t *rapid.T) {
			snapshot := w.state.Snapshot()
			defer w.state.RevertToSnapshot(snapshot)
			ofAccount := validationWord(common.Address{}, bounds(w).Draw(t, "until"), bounds(w).Draw(t, "after"))
			ofPaymaster := validationWord(common.Address{}, bounds(w).Draw(t, "paymaster until"), bounds(w).Draw(t, "paymaster after"))
			op := w.operation(sender)
			w.setCode(sender, validating(v, ofAccount, logsCall...))
			account, other := entrypoint.ParseValidationData(v, ofAccount), entrypoint.ValidationData{}
			if rapid.Bool().Draw(t, "sponsored") {
				other = entrypoint.ParseValidationData(v, ofPaymaster)
				w.setCode(paymaster, paying(v, nil, ofPaymaster, false))
				op.Paymaster = &paymaster
				if v.Packed() {
					op.PaymasterVerificationGasLimit = 100_000
				}
			}
			want := account.InRange(v, w.block, w.time) && other.InRange(v, w.block, w.time)
			ret, ok := w.handle(op)
			if ok != want {
				t.Fatalf("have in range %t, the contract says %t %s: %+v, %+v", want, ok, entrypoint.RevertReason(ret), account, other)
			}
			both, err := entrypoint.Intersect(account, other)
			if err != nil {
				if account.Blocks == other.Blocks {
					t.Fatal(err)
				}
				return
			}
			if have := both.InRange(v, w.block, w.time); have != want {
				t.Fatalf("%+v and %+v intersect to %+v, which says in range %t, want %t", account, other, both, have, want)
			}
		})
	})
}

func TestIntersect(t *testing.T) {
	contract := common.Address{0xaa}
	type data = entrypoint.ValidationData
	tests := []struct {
		name               string
		account, paymaster data
		want               data
		err                error
	}{
		{"no limits", data{}, data{}, data{}, nil},
		{"the account's aggregator stays", data{Aggregator: contract}, data{Aggregator: common.Address{19: 1}, ValidUntil: 5}, data{Aggregator: contract, ValidUntil: 5}, nil},
		{"narrower paymaster", data{ValidAfter: 1, ValidUntil: 9}, data{ValidAfter: 3, ValidUntil: 5}, data{ValidAfter: 3, ValidUntil: 5}, nil},
		{"narrower account", data{ValidAfter: 3, ValidUntil: 5}, data{ValidAfter: 1, ValidUntil: 9}, data{ValidAfter: 3, ValidUntil: 5}, nil},
		{"zero is without end", data{ValidAfter: 3}, data{ValidAfter: 1, ValidUntil: 9}, data{ValidAfter: 3, ValidUntil: 9}, nil},
		{"zero is without end, the other way", data{ValidAfter: 3, ValidUntil: 9}, data{ValidAfter: 4}, data{ValidAfter: 4, ValidUntil: 9}, nil},
		{"blocks", data{ValidAfter: 3, Blocks: true}, data{ValidAfter: 4, Blocks: true}, data{ValidAfter: 4, Blocks: true}, nil},
		{"blocks and no limit", data{}, data{ValidAfter: 4, Blocks: true}, data{ValidAfter: 4, Blocks: true}, nil},
		{"blocks and times", data{ValidAfter: 3, Blocks: true}, data{ValidUntil: 4}, data{}, entrypoint.ErrMixedRanges},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			have, err := entrypoint.Intersect(tc.account, tc.paymaster)
			if !errors.Is(err, tc.err) {
				t.Fatalf("have error %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}
