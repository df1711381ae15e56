package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// scaleOperations is how many operations are sent to each number of edges. `make scale` sets BALER_SCALE_OPS to 1,500.
func scaleOperations(t *testing.T) int {
	t.Helper()
	text := os.Getenv("BALER_SCALE_OPS")
	if text == "" {
		return 24
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BALER_SCALE_OPS: %v", err)
	}
	return n
}

// One, two and three edges take operations for one pool, each with one core: all of them are accepted. How the rates compare is printed.
func TestEdgesShareTheLoad(t *testing.T) {
	t.Parallel()
	operations := scaleOperations(t)
	chain := startChain(t, devchain.Config{Mining: devchain.Manual})
	token := "BALER_REMOTE_TOKEN=" + partsToken
	p := startProgram(t, []string{token}, "pool", "--node-http", chain.HTTPURL(), "--listen=127.0.0.1:0", "--log-format=json", "--store=memory",
		"--same-sender-mempool-count=100000")
	listen, _ := p.logged(t, "baler is running")["listen"].(string)
	var edges []*rpc.Client
	var processes []*program
	w := chainOnly(chain)
	for range 3 {
		edge := startProgram(t, []string{token, "GOMAXPROCS=1"}, "rpc", "--node-http", chain.HTTPURL(), "--node-ws", chain.WSURL(), "--rpc-addr=127.0.0.1:0",
			"--pool", "http://"+listen, "--log-format=json", "--rpc-rate-per-sender=0")
		processes = append(processes, edge)
		url, _ := edge.logged(t, "baler is running")["rpc"].(string)
		w.reach(t, url)
		edges = append(edges, w.bundler)
	}
	accounts := w.deployedAccounts(t, userop.V07, 8)
	w.synced(t)
	callData := w.count(t)
	for _, edge := range edges { // what is read once is read
		rateOf(t, []*rpc.Client{edge}, "eth_estimateUserOperationGas", []*userop.UserOperation{accounts[0].op(t, callData)}, accounts[0].ep.Address)
	}
	rates := make(map[string][]float64)
	for n := 1; n <= len(edges); n++ {
		ops := make([]*userop.UserOperation, operations)
		for i := range ops { // of a nonce key of its own: none waits for another
			key := uint256.NewInt(uint64(n*operations + i + 1))
			ops[i] = accounts[i%len(accounts)].op(t, callData, func(op *userop.UserOperation) { op.Nonce.Lsh(key, 64) })
		}
		for _, method := range []string{"eth_estimateUserOperationGas", "eth_sendUserOperation"} {
			before, of := cpuOf(t, processes...), cpuOf(t, p)
			rates[method] = append(rates[method], rateOf(t, edges[:n], method, ops, accounts[0].ep.Address))
			each := time.Duration(operations)
			t.Logf("%s, %d edges: %s of processor time for each call in the edges, %s in the pool", method, n,
				((cpuOf(t, processes...) - before) / each).Round(time.Microsecond), ((cpuOf(t, p) - of) / each).Round(time.Microsecond))
		}
	}
	for method, list := range rates {
		text := ""
		for i, rate := range list {
			text += fmt.Sprintf("  %d: %.0f/s (%.2f)", i+1, rate, rate/list[0])
		}
		t.Logf("%s, edges:%s", method, text)
	}
}

// cpuOf returns the processor time that processes have used.
func cpuOf(t *testing.T, processes ...*program) (sum time.Duration) {
	t.Helper()
	const tick = time.Second / 100 // USER_HZ of Linux
	for _, p := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		for _, field := range strings.Fields(after)[11:13] { // utime and stime
			ticks, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(ticks) * tick
		}
	}
	return sum
}

// rateOf calls a method for each operation, from eight callers for each edge, and returns the calls per second.
func rateOf(t *testing.T, edges []*rpc.Client, method string, ops []*userop.UserOperation, entryPoint common.Address) float64 {
	t.Helper()
	var next atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for i := range 8 * len(edges) {
		callers.Go(func() {
			for at := next.Add(1) - 1; at < int64(len(ops)); at = next.Add(1) - 1 {
				var answer any
				if err := edges[i%len(edges)].CallContext(t.Context(), &answer, method, ops[at], entryPoint); err != nil {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	callers.Wait()
	return float64(len(ops)) / time.Since(began).Seconds()
}
