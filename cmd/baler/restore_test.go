package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"baler/internal/redistest"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// A Redis that is lost is restored from a copy, as docs/operations.md says: what was accepted before the copy is mined once, the transaction
// that was in flight then too; what was accepted since is unknown and may be sent again; one process has the pool and the key, another stands
// by. The bundler is killed together with its Redis, and starts again with the copy.
func TestARedisIsRestoredFromACopy(t *testing.T) {
	t.Parallel()
	server, chain := redistest.Start(t), startChain(t, interval())
	start := func() *program {
		return leasingNode(t, chain, chain.HTTPURL(), server.Addr, "--store=redis", "--max-blocks-to-wait-for-mine=100000")
	}
	a := start()
	w := newWorld(t, chain, urlOf(t, a))
	accounts := w.deployedAccounts(t, userop.V07, 6)
	mined := w.sendOneEach(t, accounts[:2])
	w.checkOnceEach(t, mined)
	pool := w.watchPool(t)
	chain.Hold(nil)
	inFlight := w.sendOneEach(t, accounts[2:3])
	pool.await(t, 1)
	waiting := w.sendOneEach(t, accounts[3:5]) // the only key is busy
	saved := server.Copy(t)
	late := accounts[5].op(t, w.count(t))
	lost := accounts[5].send(t, late)

	a.kill()
	server.Kill(t)
	server.Restore(t, saved)
	b := start()
	w.reach(t, urlOf(t, b))
	c := start()
	checkStandsBy(t, c)
	for _, hash := range slices.Concat(mined, inFlight, waiting) {
		var known map[string]any
		if w.call(t, &known, "eth_getUserOperationByHash", hash); known == nil {
			t.Errorf("operation %s was accepted before the copy, and is not known", hash)
		}
	}
	var known map[string]any
	var status operationStatus
	w.call(t, &known, "eth_getUserOperationByHash", lost)
	if w.call(t, &status, "baler_getUserOperationStatus", lost); known != nil || status.Status != "not_found" {
		t.Errorf("an operation that the copy lacks: have %v and status %q, want null and not_found", known, status.Status)
	}
	if again := accounts[5].send(t, late); again != lost {
		t.Errorf("sent again it has hash %s, want %s", again, lost)
	}
	chain.Release()
	w.checkOnceEach(t, slices.Concat(mined, inFlight, waiting, []common.Hash{lost}))
	w.checkSigners(t, 1)
	checkReverts(t, w, addressOf(chain.Keys()[0]))

	client, holders := server.Client(t), make(map[string]int)
	leases, err := client.Keys(context.WithoutCancel(t.Context()), "baler:{*}:lease").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range leases {
		holder := client.Get(t.Context(), name).Val()
		holders[holder[:strings.LastIndex(holder, "/")]]++ // the process, whose every set of leases has a name of its own
	}
	if len(leases) != 2 || len(holders) != 1 {
		t.Errorf("have leases %v of holders %v, want the pool's and the key's, both of one process", leases, holders)
	}
}
