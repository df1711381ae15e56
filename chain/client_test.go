package chain

import (
	"math/big"
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

func TestPriorityFeeIsTheMedianOfBlocksThatPaidWithinItsBounds(t *testing.T) {
	for name, test := range map[string]struct {
		answer       string
		minimum, max uint64
		want         uint64
	}{
		"empty chain":         {`{"reward":[["0x0"],["0x0"]],"gasUsedRatio":[0,0]}`, 7, 0, 7},
		"no reward at all":    {`{"gasUsedRatio":[0]}`, 7, 0, 7},
		"median of the full":  {`{"reward":[["0x64"],["0x0"],["0x1"],["0x32"]],"gasUsedRatio":[0.1,0,0.9,0.5]}`, 7, 0, 50},
		"at least minimum":    {`{"reward":[["0x1"]],"gasUsedRatio":[0.1]}`, 7, 0, 7},
		"at most the maximum": {`{"reward":[["0x2e90edd000"]],"gasUsedRatio":[0.1]}`, 7, 9, 9},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":` + test.answer + `}`))
		}))
		client, err := Dial(t.Context(), server.URL, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fee, err := client.PriorityFee(t.Context(), &types.Header{Number: big.NewInt(1)}, *uint256.NewInt(test.minimum), *uint256.NewInt(test.max))
		if err != nil || fee.Uint64() != test.want {
			t.Errorf("%s: have %v (%v), want %d", name, fee.Dec(), err, test.want)
		}
		server.Close()
	}
}
