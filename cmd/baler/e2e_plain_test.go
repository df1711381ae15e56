package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"baler/datafee"
	"baler/devchain"
	"baler/node"
	"baler/signer"
	"baler/userop"
)

// plainNode stands before a node as a provider of the plainest kind: it passes on the methods of the eth namespace, less
// some, and answers all others with "method not found".
type plainNode struct {
	target string
	inner  http.Client
	lacks  []string
}

func startPlainNode(t *testing.T, chain *devchain.Chain, lacks ...string) (url string) {
	t.Helper()
	p := &plainNode{target: chain.HTTPURL(), lacks: lacks}
	server := httptest.NewServer(p)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		p.inner.CloseIdleConnections()
	})
	return server.URL
}

// ServeHTTP implements http.Handler.
func (p *plainNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var batch []json.RawMessage
	if json.Unmarshal(body, &batch) != nil {
		_, _ = w.Write(p.one(r.Context(), body))
		return
	}
	var answers []json.RawMessage
	var passed []json.RawMessage
	for _, call := range batch {
		if refusal := p.refusal(call); refusal != nil {
			answers = append(answers, refusal)
			continue
		}
		passed = append(passed, call)
	}
	if len(passed) > 0 {
		request, err := json.Marshal(passed)
		if err != nil {
			return
		}
		var more []json.RawMessage
		if json.Unmarshal(p.pass(r.Context(), request), &more) != nil {
			http.Error(w, "the node does not answer", http.StatusBadGateway)
			return
		}
		answers = append(answers, more...)
	}
	_ = json.NewEncoder(w).Encode(answers)
}

func (p *plainNode) one(ctx context.Context, call []byte) []byte {
	if refusal := p.refusal(call); refusal != nil {
		return refusal
	}
	return p.pass(ctx, call)
}

func (p *plainNode) refusal(call []byte) []byte {
	var c nodeCall
	if json.Unmarshal(call, &c) == nil && strings.HasPrefix(c.Method, "eth_") && !slices.Contains(p.lacks, c.Method) {
		return nil
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"the method %s does not exist/is not available"}}`, c.ID, c.Method)
}

func (p *plainNode) pass(ctx context.Context, body []byte) []byte {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target, bytes.NewReader(body))
	if err != nil {
		return nil
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.inner.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	return answer
}

// startPlainWorld is startWorld with nothing between bundler and node but HTTP, and of the node what it lets through.
func startPlainWorld(t *testing.T, cfg devchain.Config, lacks []string, flags ...string) *world {
	t.Helper()
	settings := devSettings(t, flags...)
	chain := startChain(t, cfg)
	client, heads, err := dialNode(t.Context(), startPlainNode(t, chain, lacks...), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	entryPoints, err := settings.entryPointSettings.deployed(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	keys := []signer.Signer{signer.NewPrivateKey(chain.Keys()[0]), signer.NewPrivateKey(chain.Keys()[1])}
	logs := &output{}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b, err := startBundler(context.WithoutCancel(t.Context()), settings.bundlerSettings, client, heads, entryPoints, keys, node.Funding{}, kept{}, console{}, log)
	if err != nil {
		t.Fatalf("start: %v\n%s", err, logs.tail())
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", logs.tail())
		}
	})
	return newWorld(t, chain, b.url)
}

// With a node that offers nothing but eth_ methods, and of these only what every node has, operations of every version are
// estimated, sent, mined and looked up, sponsored, delegated by EIP-7702, and refused for the rules they break; whatever
// the chain charges for data is in the estimates.
func TestAPlainNodeIsEnoughForEverything(t *testing.T) {
	bare := []string{"eth_createAccessList", "eth_simulateV1", "eth_config"}
	for name, test := range map[string]struct {
		lacks    []string
		fees     datafee.Kind
		versions []userop.Version
	}{
		"all of eth": {versions: []userop.Version{userop.V07}},
		"bare":       {lacks: bare, versions: userop.Versions()},
		"OP stack":   {lacks: bare, fees: datafee.OPStack, versions: []userop.Version{userop.V07}},
		"Arbitrum":   {lacks: bare, fees: datafee.Arbitrum, versions: []userop.Version{userop.V08}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := interval()
			var err error
			if cfg.Alloc, err = devchain.DataFeeContracts(test.fees); err != nil {
				t.Fatal(err)
			}
			w := startPlainWorld(t, cfg, test.lacks, "--data-fees", test.fees.String())
			for _, v := range test.versions {
				t.Run("v"+v.String(), func(t *testing.T) { w.everything(t, v, test.fees) })
			}
		})
	}
}

// everything has operations of a version estimated and mined.
func (w *world) everything(t *testing.T, v userop.Version, fees datafee.Kind) {
	t.Helper()
	a, poor := w.newAccounts(t, v, 1)[0], w.counterfactual(t, v)
	e := w.estimate(t, a, a.op(t, w.count(t)))
	if fees != datafee.None {
		op := a.op(t, w.count(t), e.exactly())
		op.PreVerificationGas = op.PreVerificationGas * 7 / 10
		a.sign(t, op)
		if r := a.refused(t, op); r.code != -32602 || !matches(r.message, "^preVerificationGas: have ") {
			t.Errorf("too little for data: have %d %q, want -32602", r.code, r.message)
		}
	}
	if r := a.run(t, a.op(t, w.count(t), e.exactly())); !r.Success || w.counted(t, a) != 1 {
		t.Errorf("have success %v and %d calls, want true and 1", r.Success, w.counted(t, a))
	}
	bad := a.op(t, w.count(t), e.exactly())
	bad.Signature[5] ^= 1
	if r := a.refused(t, bad); r.code != -32507 && r.code != -32500 {
		t.Errorf("wrong signature: have %d %q, want -32507 or -32500", r.code, r.message)
	}
	e = w.estimate(t, poor, poor.op(t, w.count(t), poor.sponsored(0, 0)))
	if r := poor.run(t, poor.op(t, w.count(t), poor.sponsored(0, 0), e.exactly())); !r.Success || w.counted(t, poor) != 1 {
		t.Errorf("sponsored: have success %v and %d calls, want true and 1", r.Success, w.counted(t, poor))
	}
	if v == userop.V06 {
		return
	}
	d := w.delegatingAccount(t, v)
	e = w.estimate(t, d, d.op(t, w.count(t), d.delegating(t, nil, d.owner)))
	if r := d.run(t, d.op(t, w.count(t), d.delegating(t, nil, d.owner), e.exactly())); !r.Success || w.counted(t, d) != 1 {
		t.Errorf("delegated: have success %v and %d calls, want true and 1", r.Success, w.counted(t, d))
	}
}
