package remote

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"testing"

	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/profit"
	"baler/proposer"
	"baler/rejection"
	pb "baler/remote/remotev1"
	"baler/rpc"
	"baler/userop"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// overWire is a message as the other side reads it.
func overWire[M proto.Message](t interface{ Fatal(...any) }, m M) M {
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	read, ok := m.ProtoReflect().New().Interface().(M)
	if !ok {
		t.Fatal("not a message of its own kind")
	}
	if err := proto.Unmarshal(raw, read); err != nil {
		t.Fatal(err)
	}
	return read
}

// same are the differences that nobody can see: an empty list is none.
func same() cmp.Options {
	return cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 })}
}

// everyEvent draws one event of each kind that is told.
func everyEvent(t *rapid.T) []event.Event {
	return []event.Event{
		draw[event.HeadSeen](t), draw[event.OperationReceived](t), draw[event.OperationAdded](t), draw[event.OperationRejected](t),
		draw[event.OperationValidated](t), draw[event.OperationSkipped](t), draw[event.OperationRemoved](t), draw[event.BundleProposed](t),
		draw[event.OperationsReleased](t), draw[event.OperationMined](t), draw[event.OperationRevived](t), draw[event.SenderMoved](t),
		draw[event.BundleSent](t), draw[event.BundleMined](t), draw[event.BundleReverted](t), draw[event.BundleUnmined](t), draw[event.KeyUsed](t), draw[event.LeaseMoved](t),
		draw[event.BalanceSeen](t), draw[event.FundsMoved](t), draw[event.Alert](t),
	}
}

func TestEveryEventArrivesAsItWasTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range everyEvent(t) {
			m := encodeEvent(e)
			if m == nil {
				t.Fatalf("%T is not told", e)
			}
			have, err := decodeEvent(overWire(t, m))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, have, same()); diff != "" {
				t.Fatalf("%T (-told +heard):\n%s", e, diff)
			}
		}
	})
}

func TestEveryKindOfEventIsToldOrIsAboutOneProcess(t *testing.T) {
	kinds := new(pb.Event).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	told := make(map[string]bool)
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range everyEvent(t) {
			told[reflect.TypeOf(e).Name()] = true
		}
	})
	for i := range kinds.Len() {
		if name := string(kinds.Get(i).Message().Name()); !told[name] {
			t.Errorf("the schema has %s, which is no event", name)
		}
	}
	if kinds.Len() != len(told) {
		t.Errorf("have %d kinds in the schema, want the %d that are told", kinds.Len(), len(told))
	}
	for _, e := range []event.Event{event.NodeAsked{}, event.CallServed{}, event.PoolAsked{}} {
		if encodeEvent(e) != nil {
			t.Errorf("%T is told", e)
		}
	}
}

func TestOperationsOfEveryVersionArriveWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, version := range userop.Versions() {
			op := drawOperation(t, version)
			m, err := encodeUserOperation(op)
			if err != nil {
				t.Fatal(err)
			}
			have, err := decodeUserOperation(overWire(t, m))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(op, have, same()); diff != "" {
				t.Fatalf("v%v (-sent +received):\n%s", version, diff)
			}
		}
	})
}

func TestPooledOperationsArriveWithAllThatValidationFoundOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := draw[pool.Operation](t)
		op.EntryPoint.Version = op.Op.Version
		m, err := encodePooled(&op)
		if err != nil {
			t.Fatal(err)
		}
		have, err := decodePooled(overWire(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&op, have, same()); diff != "" {
			t.Fatalf("(-sent +received):\n%s", diff)
		}
	})
}

func TestQueriesAndRemovalsArriveAsTheyWereSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := draw[pool.Query](t)
		if q.Shard.Count > 1 {
			q.Shard.Index %= q.Shard.Count
		}
		query, err := decodeQuery(overWire(t, encodeQuery(q)))
		if err != nil || query != q {
			t.Fatalf("have %+v, %v, want %+v", query, err, q)
		}
		r := draw[proposer.Removal](t)
		removals, err := decodeRemovals([]*pb.Removal{overWire(t, encodeRemoval(r))})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, removals[0]); diff != "" {
			t.Fatalf("(-sent +received):\n%s", diff)
		}
	})
}

// roundTrip checks that values of a type arrive as they were sent.
func roundTrip[T any, M proto.Message](t *testing.T, encode func(*T) (M, error), decode func(M) (*T, error)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		want := draw[T](t)
		m, err := encode(&want)
		if err != nil {
			t.Fatal(err)
		}
		have, err := decode(overWire(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, have, same()); diff != "" {
			t.Fatalf("(-sent +received):\n%s", diff)
		}
	})
}

func TestAnswersToTheEdgeArriveAsTheyWereGiven(t *testing.T) {
	t.Run("operation", func(t *testing.T) { roundTrip(t, encodeInfo, decodeInfo) })
	t.Run("receipt", func(t *testing.T) { roundTrip(t, always(encodeReceipt), decodeReceipt) })
	t.Run("price", func(t *testing.T) { roundTrip(t, always(encodePrice), decodePrice) })
	t.Run("explanation", func(t *testing.T) { roundTrip(t, always(encodeExplanation), decodeExplanation) })
	t.Run("report", func(t *testing.T) { roundTrip(t, always(encodeReport), decodeReport) })
	t.Run("stake", func(t *testing.T) { roundTrip(t, always(encodeStake), decodeStake) })
	t.Run("standing", func(t *testing.T) {
		roundTrip(t, func(s *node.Standing) (*pb.Standing, error) { return encodeStanding(*s), nil }, func(m *pb.Standing) (*node.Standing, error) {
			s, err := decodeStanding(m)
			return &s, err
		})
	})
	t.Run("books", func(t *testing.T) {
		roundTrip(t, func(q *profit.Query) (*pb.ProfitRequest, error) { return encodeProfitQuery(*q), nil }, func(m *pb.ProfitRequest) (*profit.Query, error) {
			q, err := decodeProfitQuery(m)
			return &q, err
		})
	})
	t.Run("reputation", func(t *testing.T) {
		for _, status := range []string{"", "ok", "throttled", "banned"} {
			want := []rpc.Reputation{{OpsSeen: 7, OpsIncluded: 3, Status: status}}
			have, err := decodeReputations(encodeReputations(want))
			if err != nil || !cmp.Equal(want, have) {
				t.Errorf("have %v, %v, want %v", have, err, want)
			}
		}
	})
}

func TestARefusalHasTheSameCodeMessageAndDataAtTheOtherEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := draw[rejection.Rejection](t)
		err := decodeFailure("Admit", overWire(t, encodeFailure(fmt.Errorf("admit: %w", &want))))
		have, ok := errors.AsType[*rejection.Rejection](err)
		if !ok {
			t.Fatalf("have %v, want a refusal", err)
		}
		if diff := cmp.Diff(&want, have); diff != "" {
			t.Fatalf("(-sent +received):\n%s", diff)
		}
	})
}

func TestErrorsThatCallersActOnAreTheSameAtTheOtherEnd(t *testing.T) {
	for _, sentinel := range []error{rpc.ErrInFlight, rpc.ErrNothingToSend, pool.ErrUnknown, node.ErrNotResumed} {
		err := decodeFailure("M", overWire(t, encodeFailure(fmt.Errorf("%w: the particulars", sentinel))))
		if !errors.Is(err, sentinel) || err.Error() != sentinel.Error()+": the particulars" {
			t.Errorf("have %v, want %v with its particulars", err, sentinel)
		}
		if errors.Is(err, node.ErrUnreachable) {
			t.Errorf("%v: the pool has answered, and counts as not reached", err)
		}
	}
	field := &userop.FieldError{Field: "nonce", Reason: "missing"}
	if have, ok := errors.AsType[*userop.FieldError](decodeFailure("M", overWire(t, encodeFailure(field)))); !ok || *have != *field {
		t.Errorf("have %v, want %v", have, field)
	}
	own := decodeFailure("M", overWire(t, encodeFailure(errors.New("disk \xff full"))))
	if e, ok := errors.AsType[*Error](own); !ok || e.Cause != PeerFailed || !e.Sent || errors.Is(own, node.ErrUnreachable) {
		t.Errorf("have %#v, want the pool's own trouble", own)
	}
}

func TestTextThatIsNoUnicodeArrivesAsJSONWouldWriteIt(t *testing.T) {
	want := &rejection.Rejection{Kind: rejection.EntryPointRejected, Message: "AA23 reverted: \xff\xfe!"}
	have, ok := errors.AsType[*rejection.Rejection](decodeFailure("M", overWire(t, encodeFailure(want))))
	if !ok || have.Message != "AA23 reverted: \ufffd\ufffd!" {
		t.Errorf("have %v", have)
	}
}
