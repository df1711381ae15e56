package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"baler/internal/redistest"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"golang.org/x/sys/unix"
)

// watched is a bundler that is looked at through its operators' server, over TLS with a client's certificate.
type watched struct {
	*program
	client *http.Client
	url    string
}

// probe asks a probe, and returns its status and what it says of each check that is not well.
func (p *watched) probe(t *testing.T, path string) (status int, wrong map[string]string) {
	t.Helper()
	status, text := askedBy(t, p.client, http.MethodGet, p.url+path, "", "")
	var report struct {
		Checks []struct {
			Name   string
			OK     bool
			Reason string
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("%s: %v in %s", path, err, text)
	}
	wrong = make(map[string]string)
	for _, c := range report.Checks {
		if !c.OK {
			wrong[c.Name] = c.Reason
		}
	}
	return status, wrong
}

// says waits until both probes say so: whether operations can be taken, and which check is not well and why. An empty check: all are.
func (p *watched) says(t *testing.T, ready bool, check, reason string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the probes say %q %q, ready %t", check, reason, ready), func() error {
		status, wrong := p.probe(t, "/health")
		fine, holdsUp := p.probe(t, "/readyz")
		_, named := holdsUp[check]
		switch {
		case (check == "") != (len(wrong) == 0) || !strings.Contains(wrong[check], reason) || (status == http.StatusOK) != (len(wrong) == 0):
			return fmt.Errorf("health: have status %d and %v", status, wrong)
		case (fine == http.StatusOK) != ready || named != !ready && check != "":
			return fmt.Errorf("readyz: have status %d and %v", fine, holdsUp)
		}
		return nil
	})
}

// TestTheProbesNameWhatIsWrong lets one program have one fault after the other. Each is named, and gone when it is mended; the last
// is one that a bundler must not go on with.
func TestTheProbesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	chain, redis := startChain(t, interval()), redistest.Start(t)
	way, faulty := redistest.NewProxy(t, redis.Addr), startFaultyNode(t, chain)
	purse, dir, ours := newPurse(t, chain, 2), t.TempDir(), newAuthority(t, "ours")
	_, _, cert, key := ours.sign(t, "server", forServers)
	p := &watched{program: startProgram(t, purse.env[:1], "node", "--node-http", faulty.url, "--rpc-addr=127.0.0.1:0", "--log-format=json", "--data-dir", dir,
		"--redis-url=redis://"+way.Addr, "--lease-ttl=12s", "--lease-margin=2s", "--rpc-debug", "--max-head-age=5s", "--max-blocks-to-wait-for-mine=2",
		"--admin-addr=127.0.0.1:0", "--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-client-ca", ours.file)}
	operator := operatorSettings{AdminCACert: ours.file}
	_, _, operator.AdminClientCert, operator.AdminClientKey = ours.sign(t, "operator", forClients)
	var err error
	if p.client, err = operator.http(patience); err != nil {
		t.Fatal(err)
	}
	ready := p.logged(t, "baler is running")
	p.url, _ = ready["operators"].(string)
	url, _ := ready["rpc"].(string)

	// Redis has no data, so that the keys are taken after the time of a lease. No key pays for a bundle; then one does; then both.
	p.says(t, false, "funds", "has 0 wei")
	purse.w.send(t, purse.keys[0], big.NewInt(1e18))
	p.says(t, true, "funds", purse.keys[1].Hex()+" has 0 wei")
	purse.w.send(t, purse.keys[1], big.NewInt(1e18))
	p.says(t, true, "", "")

	// Redis is away for a while, not for longer than the leases last.
	way.Cut()
	p.says(t, true, "redis", "redis does not answer")
	way.Heal()
	p.says(t, true, "", "")

	// The node tells nobody what became of a transaction: its sender waits, and the head goes on.
	w := newWorld(t, chain, url)
	w.nonce = purse.w.nonce
	a := w.deployedAccounts(t, userop.V08, 1)[0]
	chain.Hold(nil)
	stuck := a.send(t, a.op(t, w.count(t)))
	eventually(t, "a bundle waits", func() error {
		for _, sender := range w.health(t).Senders {
			if sender.State == "Pending" {
				return nil
			}
		}
		return errors.New("no sender is in Pending")
	})
	faulty.fail(func(_ int, calls []nodeCall) treatment {
		return treatment{gone: slices.ContainsFunc(calls, func(c nodeCall) bool { return c.Method == "eth_getTransactionReceipt" })}
	})
	p.says(t, true, "senders", "is stalled: ")
	faulty.fail(nil)
	chain.Release()
	w.checkOnceEach(t, []common.Hash{stuck})
	p.says(t, true, "", "")

	// The chain stands still.
	chain.SetAutoMine(false)
	p.says(t, false, "head", "no new block for ")
	chain.SetAutoMine(true)
	p.says(t, true, "", "")

	// The disk is full: what cannot be written down must not be done.
	limit := unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	op := a.op(t, w.count(t))
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "eth_sendUserOperation", "params": []any{op, a.ep.Address}})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if answer, err := http.DefaultClient.Do(request); err == nil { // it may have ended before
		said, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if strings.Contains(string(said), `"result"`) {
			t.Errorf("an operation that is not kept was acknowledged: %s", said)
		}
	}
	if code := p.wait(t); code != exitFailed || !strings.Contains(p.stderr.String(), "file too large") {
		t.Errorf("have exit code %d, want %d and the reason", code, exitFailed)
	}
}
