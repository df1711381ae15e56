package remote

import (
	"errors"
	"testing"

	"baler/event"
	"baler/proposer"
	pb "baler/remote/remotev1"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// Each decoder gets whatever protobuf reads out of bytes. What it takes, it must be able to write and read again to the same
// value; all else is an error.

// always makes an encoder that never fails one that may.
func always[T, M any](encode func(T) M) func(T) (M, error) {
	return func(v T) (M, error) { return encode(v), nil }
}

// fuzz is the target of one decoder.
func fuzz[M proto.Message, T any](f *testing.F, empty func() M, decode func(M) (T, error), encode func(T) (M, error), seeds ...M) {
	for _, m := range seeds {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Add([]byte{0x0a, 0x01, 0x00})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := empty()
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		v, err := decode(m)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatalf("have %v, want that the message is not understood", err)
			}
			return
		}
		written, err := encode(v)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := decode(overWire(t, written))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(v, again, same()); diff != "" {
			t.Fatalf("(-read +read again):\n%s", diff)
		}
	})
}

func FuzzEvents(f *testing.F) {
	seeds := []*pb.TellRequest{{First: 1}}
	for _, e := range numbered(1, 2) {
		seeds = append(seeds, &pb.TellRequest{First: 1, Events: []*pb.Event{encodeEvent(e)}})
	}
	fuzz(f, func() *pb.TellRequest { return new(pb.TellRequest) },
		func(m *pb.TellRequest) ([]event.Event, error) { return decodeEvents(m.GetEvents()) },
		func(events []event.Event) (*pb.TellRequest, error) {
			return &pb.TellRequest{Events: encodeEvents(events)}, nil
		}, seeds...)
}

func FuzzPooledOperation(f *testing.F) {
	seed, err := encodePooled(pooled(1, 100))
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, func() *pb.PooledOperation { return new(pb.PooledOperation) }, decodePooled, encodePooled, seed)
}

func FuzzUserOperation(f *testing.F) {
	seed, err := encodeUserOperation(pooled(1, 100).Op)
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, func() *pb.UserOperation { return new(pb.UserOperation) }, decodeUserOperation, encodeUserOperation, seed)
}

func FuzzQuery(f *testing.F) {
	fuzz(f, func() *pb.Query { return new(pb.Query) }, decodeQuery, always(encodeQuery),
		&pb.Query{Builder: "b", EntryPoint: make([]byte, 20), BaseFee: []byte{7}, MaxOps: 3, Shard: &pb.Shard{Index: 1, Count: 2}})
}

func FuzzRemovals(f *testing.F) {
	removal := &pb.Removal{
		Hash: make([]byte, 32), Reason: pb.Reason_REASON_VALIDATION_FAILED, Culprit: pb.Entity_ENTITY_PAYMASTER,
		Rejection: &pb.Rejection{Code: -32501, Message: "AA33 reverted", Paymaster: make([]byte, 20)},
	}
	fuzz(f, func() *pb.RemoveRequest { return new(pb.RemoveRequest) },
		func(m *pb.RemoveRequest) ([]proposer.Removal, error) { return decodeRemovals(m.GetRemovals()) },
		func(list []proposer.Removal) (*pb.RemoveRequest, error) {
			m := new(pb.RemoveRequest)
			for _, r := range list {
				m.Removals = append(m.Removals, encodeRemoval(r))
			}
			return m, nil
		}, &pb.RemoveRequest{Removals: []*pb.Removal{removal}})
}

func FuzzExplanation(f *testing.F) {
	fuzz(f, func() *pb.Explanation { return new(pb.Explanation) }, decodeExplanation, always(encodeExplanation),
		&pb.Explanation{
			Status: &pb.OperationStatus{State: pb.OperationState_OPERATION_STATE_PENDING}, Expected: &pb.Expectation{Block: 1},
			Timeline: []*pb.TimelineEntry{{At: 1, Event: "received", Have: []byte{}, Fees: new(pb.Fees)}},
		})
}

func FuzzReceipt(f *testing.F) {
	hash, address := make([]byte, 32), make([]byte, 20)
	fuzz(f, func() *pb.OperationReceipt { return new(pb.OperationReceipt) }, decodeReceipt, always(encodeReceipt),
		&pb.OperationReceipt{
			Hash: hash, EntryPoint: address, Sender: address, Paymaster: address, Receipt: []byte(`{}`),
			Logs: []*pb.Log{{Address: address, Topics: [][]byte{hash}, Transaction: hash, BlockHash: hash}},
		})
}

func FuzzProfit(f *testing.F) {
	hash, address := make([]byte, 32), make([]byte, 20)
	fuzz(f, func() *pb.ProfitReport { return new(pb.ProfitReport) }, decodeReport, always(encodeReport),
		&pb.ProfitReport{
			Total: &pb.ProfitSum{Earned: []byte{1}}, Signers: []*pb.SignerSum{{Signer: address}}, Days: []*pb.DaySum{{Day: 20_000}},
			Entries: []*pb.Entry{{
				Transaction: hash, BlockHash: hash, Signer: address, EntryPoint: address, Kind: pb.EntryKind_ENTRY_KIND_REVERTED,
				Expected: &pb.Signed{Negative: true, Magnitude: []byte{1}},
			}},
		})
}

func FuzzFailure(f *testing.F) {
	f.Add([]byte{0x0a, 0x02, 0x08, 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := new(pb.Failure)
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		if decodeFailure("M", m) == nil {
			t.Fatal("a failure is no error")
		}
	})
}

func FuzzSmallAnswers(f *testing.F) {
	f.Add([]byte{0x0a, 0x01, 0x00}, uint8(0))
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		read := func(m proto.Message, decode func() error) {
			if proto.Unmarshal(raw, m) != nil {
				return
			}
			if err := decode(); err != nil && !errors.Is(err, ErrMessage) {
				t.Fatalf("have %v, want that the message is not understood", err)
			}
		}
		info, price, stake := new(pb.OperationInfo), new(pb.GasPrice), new(pb.StakeStatus)
		standing, order, query, list := new(pb.Standing), new(pb.Order), new(pb.ProfitRequest), new(pb.DumpReputationResponse)
		decoders := []func(){
			func() { read(info, func() error { _, err := decodeInfo(info); return err }) },
			func() { read(price, func() error { _, err := decodePrice(price); return err }) },
			func() { read(stake, func() error { _, err := decodeStake(stake); return err }) },
			func() { read(standing, func() error { _, err := decodeStanding(standing); return err }) },
			func() { read(order, func() error { _, err := decodeOrder(order); return err }) },
			func() { read(query, func() error { _, err := decodeProfitQuery(query); return err }) },
			func() { read(list, func() error { _, err := decodeReputations(list.GetReputations()); return err }) },
		}
		decoders[int(which)%len(decoders)]()
	})
}
