package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// endpointStates are the states of the endpoints, as health tells them.
func (w *world) endpointStates(t *testing.T) (states []string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var report struct {
		Endpoints []struct{ State string } `json:"endpoints"`
	}
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	for _, e := range report.Endpoints {
		states = append(states, e.State)
	}
	return states
}

// Of three endpoints one is never there, and of the two others one after the other falls silent in the middle of work.
func TestTheBundlerWorksOnWhileOneOfItsEndpointsAnswers(t *testing.T) {
	t.Parallel()
	for name, announced := range map[string]bool{"heads by polling": false, "heads by WebSocket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := startChain(t, interval())
			one, two := startProxy(t, chain.HTTPURL(), 0), startProxy(t, chain.HTTPURL(), 0)
			urls := one.through(chain.HTTPURL()) + "," + two.through(chain.HTTPURL()) + ",http://127.0.0.1:1"
			var flags []string
			if announced {
				flags = []string{"--node-ws", one.through(chain.WSURL()) + "," + two.through(chain.WSURL())}
			}
			p, url := startNode(t, chain, urls, flags...)
			w := newWorld(t, chain, url)
			accounts := w.deployedAccounts(t, userop.V08, 3)
			all := w.sendOneEach(t, accounts)
			w.checkOnceEach(t, all)
			for _, away := range []*proxy{one, two} {
				sent := w.sendOneEach(t, accounts) // on their way
				away.fallSilent()
				sent = slices.Concat(sent, w.sendOneEachPatiently(t, accounts))
				all = slices.Concat(all, sent)
				w.checkOnceEach(t, all)
				eventually(t, "it is seen that the endpoint is away", func() error {
					for i, state := range w.endpointStates(t)[:2] {
						if ok := state == "ok" || state == "behind"; ok == ([]*proxy{one, two}[i] == away) {
							return fmt.Errorf("endpoint %d is %q", i+1, state)
						}
					}
					return nil
				})
				away.comeBack()
				eventually(t, "it is seen that the endpoint is back", func() error {
					for i, state := range w.endpointStates(t)[:2] {
						if state != "ok" && state != "behind" {
							return fmt.Errorf("endpoint %d is %q", i+1, state)
						}
					}
					return nil
				})
			}
			w.checkSigners(t, 2)
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
		})
	}
}

// sendOneEachPatiently sends an operation of each account as soon as its last one is mined.
func (w *world) sendOneEachPatiently(t *testing.T, accounts []*account) (hashes []common.Hash) {
	t.Helper()
	for _, a := range accounts {
		eventually(t, "the last operation is mined", func() error {
			if w.chainNonce(t, a) < a.nonce {
				return errors.New("it is not")
			}
			return nil
		})
	}
	return w.sendOneEach(t, accounts)
}
