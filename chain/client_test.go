package chain

import (
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

func TestErrorsNeverShowTheURLsPathOrCredentials(t *testing.T) {
	status := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "denied for key sEcReT", http.StatusUnauthorized)
	}))
	defer status.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, base := range map[string]string{"refused": gone.URL, "unauthorized": status.URL} {
		client, err := Dial(t.Context(), strings.Replace(base, "http://", "http://user:sEcReT@", 1)+"/v2/sEcReT", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Balance(t.Context(), [32]byte{}, [20]byte{})
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if strings.Contains(err.Error(), "sEcReT") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
		if Answered(err) {
			t.Errorf("%s: taken for the node's own answer", name)
		}
	}
	for _, bad := range []string{"", "localhost:8545", "ftp://sEcReT.example", "http://%zz/sEcReT"} {
		if _, err := Dial(t.Context(), bad, 0); err == nil || strings.Contains(err.Error(), "sEcReT") {
			t.Errorf("Dial(%q): have error %v, want one without the URL", bad, err)
		}
	}
}

func TestCloseEndsIdleConnections(t *testing.T) {
	closed := make(chan struct{}, 8)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":"0x1"}`))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	client, err := Dial(t.Context(), server.URL, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ChainID(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.Close()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open after Close")
	}
}

func TestPriorityFeeIsTheMedianOfWhatTheMarketPaid(t *testing.T) {
	for name, test := range map[string]struct {
		answer   string
		own      map[uint64]uint64
		min, max uint64
		want     uint64
	}{
		"empty chain": {answer: `{"oldestBlock":"0x1","reward":[["0x0"],["0x0"]],"gasUsedRatio":[0,0]}`, min: 7, want: 7},
		"no blocks":   {answer: `{"oldestBlock":"0x1"}`, min: 7, want: 7},
		"median":      {answer: `{"oldestBlock":"0x1","reward":[["0x64"],["0x1"],["0x32"]],"gasUsedRatio":[0.1,0.9,0.5]}`, min: 7, want: 50},
		"empty blocks are cheap": {
			answer: `{"oldestBlock":"0x1","reward":[["0x64"],["0x0"],["0x0"]],"gasUsedRatio":[0.1,0,0]}`, min: 7, want: 7,
		},
		"one foreign transaction on a quiet chain": {
			answer: `{"oldestBlock":"0x1","reward":[["0x0"],["0x2e90edd000"],["0x0"]],"gasUsedRatio":[0,0.001,0]}`, min: 7, want: 7,
		},
		"a foreign transaction in every block of a quiet chain": {
			answer: `{"oldestBlock":"0x1","reward":[["0x2e90edd000"],["0x2e90edd000"],["0x2e90edd000"]],"gasUsedRatio":[0.001,0.01,0.049]}`,
			min:    7, want: 7,
		},
		"our own bundles say nothing": {
			answer: `{"oldestBlock":"0x1","reward":[["0x64"],["0x65"],["0x66"]],"gasUsedRatio":[0.5,0.5,0.5]}`,
			own:    map[uint64]uint64{1: 400, 2: 250, 3: 499}, min: 7, want: 7,
		},
		"our own bundles among many": {
			answer: `{"oldestBlock":"0x1","reward":[["0x64"],["0x65"],["0x66"]],"gasUsedRatio":[0.5,0.5,0.5]}`,
			own:    map[uint64]uint64{1: 100, 2: 249, 3: 20}, min: 7, want: 0x65,
		},
		"at most the maximum": {answer: `{"oldestBlock":"0x1","reward":[["0x2e90edd000"]],"gasUsedRatio":[0.1]}`, min: 7, max: 9, want: 9},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":` + test.answer + `}`))
		}))
		client, err := Dial(t.Context(), server.URL, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fee, err := client.PriorityFee(t.Context(), &types.Header{Number: big.NewInt(3), GasLimit: 1000}, FeePolicy{
			Minimum: *uint256.NewInt(test.min), Maximum: *uint256.NewInt(test.max),
			OwnGas: func(block uint64) uint64 { return test.own[block] },
		})
		if err != nil || fee.Uint64() != test.want {
			t.Errorf("%s: have %v (%v), want %d", name, fee.Dec(), err, test.want)
		}
		server.Close()
	}
}

// An HTTP status that will be the same later is told from one that passes; of several endpoints all must have one.
func TestMisdirectedRequests(t *testing.T) {
	failed := func(status int) error {
		return &NodeError{Origin: "http://x", Method: "m", Status: status, err: errors.New("x")}
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("refused"), false},
		{failed(0), false},
		{failed(503), false},
		{failed(429), false},
		{fmt.Errorf("asked: %w", failed(404)), true},
		{errors.Join(failed(404), failed(401)), true},
		{fmt.Errorf("none: %w", errors.Join(failed(404), failed(503))), false},
	} {
		if have := Misdirected(test.err); have != test.want {
			t.Errorf("%v: have %t, want %t", test.err, have, test.want)
		}
	}
}
