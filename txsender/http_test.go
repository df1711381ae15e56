package txsender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

func someTx() *types.Transaction {
	return types.NewTx(&types.DynamicFeeTx{Nonce: 7, Gas: 21_000, Data: []byte{1}})
}

// everyKind returns a sender of each kind that submits to the URL.
func everyKind(t *testing.T, url Secret, log *slog.Logger) map[Kind]Sender {
	node := &fakeNode{}
	senders := make(map[Kind]Sender)
	for _, kind := range Kinds() {
		config := Config{Kind: kind, ChainID: 1, Node: node, URLs: []Secret{url}, Authorization: "Basic bm90LWZvci15b3Vy", FlashbotsAuthKey: authKey, Log: log}
		if kind == KindBloxroute {
			config.ChainID = 137
		}
		if kind == KindFlashbots {
			config.FlashbotsStatusURL = url
		}
		senders[kind] = mustNew(t, config)
	}
	return senders
}

// conditioned makes every kind of sender go to its endpoint.
func conditioned() Hints { return Hints{TimeMax: 9, BlockMax: 9, MaxBlock: 9} }

// Whatever an endpoint does, credentials stay out of answers and logs.
func TestNoAnswerAndNoLogHoldsASecret(t *testing.T) {
	secrets := []string{"Basic bm90LWZvci15b3Vy", "bm90LWZvci15b3Vy", "k3y-in-the-path", "t0ken-in-query", "passw0rd", string(authKey[2:])}
	behaviours := map[string]func(exchange) (int, string){
		"echo as an error": func(x exchange) (int, string) {
			text, _ := json.Marshal(fmt.Sprint("bad request ", x.Path, x.Header))
			return 200, `{"error":{"code":-32600,"message":` + string(text) + `}}`
		},
		"echo as a text": func(x exchange) (int, string) {
			return 401, `{"error":"` + x.Header.Get("Authorization") + x.Path + `"}`
		},
		"echo as a page":   func(x exchange) (int, string) { return 404, "<html>" + x.Path + x.Header.Get("Authorization") },
		"echo as a result": func(x exchange) (int, string) { return 200, `{"result":"` + x.Path + `"}` },
		"cut":              func(exchange) (int, string) { return 0, "" },
		"status 502":       func(exchange) (int, string) { return 502, "" },
	}
	for name, behaviour := range behaviours {
		relay := newRelay(t, behaviour)
		withSecrets := Secret(strings.Replace(relay.URL, "http://", "http://user:passw0rd@", 1) + "/v3/k3y-in-the-path?auth=t0ken-in-query")
		var log bytes.Buffer
		for kind, sender := range everyKind(t, withSecrets, slog.New(slog.NewTextHandler(&log, nil))) {
			answer := Send(t.Context(), sender, someTx(), conditioned())
			if answer.Class != Unknown {
				t.Errorf("%s, %s: have %+v, want unknown", name, kind, answer)
			}
			shown := fmt.Sprintf("%+v", answer)
			if reporter, ok := sender.(StatusReporter); ok {
				_, err := reporter.Status(t.Context(), common.Hash{1})
				shown += fmt.Sprint(err)
			}
			if canceller, ok := sender.(Canceller); ok {
				_, err := canceller.Cancel(t.Context(), []common.Hash{{1}})
				shown += fmt.Sprint(err)
			}
			for _, secret := range secrets {
				if strings.Contains(shown, secret) || strings.Contains(log.String(), secret) {
					t.Errorf("%s, %s: %q is shown in %s or in the log:\n%s", name, kind, secret, shown, &log)
				}
			}
		}
		if strings.HasPrefix(name, "echo as a ") && !strings.Contains(log.String(), "level=WARN") && name != "echo as a result" {
			t.Errorf("%s: nothing was logged", name)
		}
	}
}

func TestAConfigShowsNoSecret(t *testing.T) {
	config := Config{URLs: []Secret{"https://host/k3y-in-the-path"}, Authorization: "t0ken", FlashbotsAuthKey: authKey, FlashbotsStatusURL: "https://host/k3y-in-the-path"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "auth", config.Authorization, "urls", config.URLs)
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(config), fmt.Sprintf("%+v", config), fmt.Sprintf("%#v", config), string(text), log.String()} {
		if strings.Contains(shown, "k3y") || strings.Contains(shown, "t0ken") || strings.Contains(shown, string(authKey[2:])) {
			t.Errorf("shown: %s", shown)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	thief := newRelay(t, func(exchange) (int, string) { return 200, `{"result":true}` })
	redirecting := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirecting.Close)
	for kind, sender := range everyKind(t, Secret(redirecting.URL), nil) {
		if answer := Send(t.Context(), sender, someTx(), conditioned()); answer.Class != Unknown || answer.Text != "HTTP status 307" {
			t.Errorf("%s: have %+v", kind, answer)
		}
	}
	if asked := thief.requests(); len(asked) > 0 {
		t.Errorf("the transaction was sent on: %+v", asked)
	}
}

func TestAnEndlessAnswerIsCut(t *testing.T) {
	long := `{"result":"` + someTx().Hash().Hex() + `"}` + strings.Repeat(" ", maxResponse) // what is before the cut is fine
	relay := newRelay(t, func(exchange) (int, string) { return 200, long })
	for kind, sender := range everyKind(t, Secret(relay.URL), nil) {
		if answer := Send(t.Context(), sender, someTx(), conditioned()); answer.Class != Unknown || answer.Reach != NoAnswer {
			t.Errorf("%s: have %+v, want unknown", kind, answer)
		}
	}
}

func TestAHostThatIsNotThereWasNotSentAnything(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for kind, sender := range everyKind(t, Secret(gone.URL), nil) {
		if answer := Send(t.Context(), sender, someTx(), conditioned()); answer.Class != Unknown || answer.Reach != NotSent || answer.Text == "" {
			t.Errorf("%s: have %+v, want unknown, not sent", kind, answer)
		}
	}
}

// silence takes a request and never answers it.
type silence struct{}

func (silence) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}

func TestEveryRequestEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := newEndpoint(SettingURLs, "https://silent.example", 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		e.client.Transport = silence{}
		start := time.Now()
		answer := NewRaw(e).Send(t.Context(), someTx())
		if answer.Class != Unknown || answer.Reach != NoAnswer {
			t.Errorf("have %+v, want unknown", answer)
		}
		if have := time.Since(start); have != 3*time.Second {
			t.Errorf("have %v, want 3s", have)
		}
	})
}

func TestAnErrorIsReadInAnyForm(t *testing.T) {
	for body, want := range map[string]callError{
		`{"error":{"code":-32000,"message":"nonce too low"}}`:                                    {-32000, "nonce too low"},
		`{"error":"nonce too low"}`:                                                              {0, "nonce too low"},
		`{"result":null,"error":{"code":7,"message":"","data":1}}`:                               {7, `{"code":7,"message":"","data":1}`},
		`{"jsonrpc":"2.0","id":1,"result":"0x1","error":{"code":-32000,"message":"both given"}}`: {-32000, "both given"},
	} {
		for _, status := range []int{200, 400, 403, 500} {
			have, ok := errors.AsType[*callError](decodeAnswer(status, []byte(body), nil))
			if !ok || *have != want {
				t.Errorf("%d %s: have %+v, want %+v", status, body, have, want)
			}
		}
	}
	for _, body := range []string{``, `<html>`, `[]`, `{}`, `{"result":null}`, `{"result":7}`, `{"result":"0x1"}`} {
		var hash common.Hash
		if err := decodeAnswer(200, []byte(body), &hash); err == nil {
			t.Errorf("%q: have no error", body)
		}
	}
	if status, ok := errors.AsType[*statusError](decodeAnswer(503, []byte(`{"result":"0x1"}`), nil)); !ok || status.status != 503 {
		t.Error("a result with a failing HTTP status is no result")
	}
}
