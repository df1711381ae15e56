package main

import (
	"fmt"
	"math/big"
	"strings"
	"syscall"
	"testing"

	"baler/internal/redistest"

	"github.com/ethereum/go-ethereum/common"
)

// leased makes the purse's commands lease their keys.
func (p *purse) leased(redis string) {
	p.flags = append(p.flags, "--redis-url", "redis://"+redis, "--lease-ttl=4s", "--lease-margin=1s")
}

// adminOnce runs an admin command again until it is let in: Redis gives out no lease for some seconds after its start, and that of a
// command that was killed lasts for a while.
func (p *purse) adminOnce(t *testing.T, refusal, command string, flags ...string) (refused int) {
	t.Helper()
	eventually(t, "the command is let in", func() error {
		code, out := p.admin(t, command, flags...)
		switch {
		case code == exitOK:
			return nil
		case code == exitFailed && strings.Contains(out, refusal):
			refused++
		case !strings.Contains(out, "try again after that"):
			t.Fatalf("have exit code %d: %s", code, out)
		}
		return fmt.Errorf("exit code %d: %s", code, out)
	})
	return refused
}

// A payment with a leased funding key has its journal in Redis: whoever gets the key after a crash ends it, once.
func TestALeasedFundingKeyPaysOnceThoughACommandIsKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newPurse(t, startChain(t, interval()), 2)
	p.leased(server.Addr)
	levels := []string{"--fund-below", fundBelow, "--fund-to", fundTo, "--execute"}
	eventually(t, "a command that is killed after it has sent", func() error {
		run := startProgram(t, append(p.env, dieAt+"=payment relayed:1"), append(append([]string{"admin", "fund-signers"}, levels...), p.flags...)...)
		run.wait(t)
		if !run.killed() {
			return fmt.Errorf("it ended with %q", run.stderr.String())
		}
		return nil
	})
	if refused := p.adminOnce(t, "the key is not free", "fund-signers", levels...); refused == 0 {
		t.Error("the key was not held by the command that was killed")
	}
	p.funded(t)
	p.checkOnePayment(t)
	client := server.Client(t)
	if keys, err := client.Keys(t.Context(), "*:lease").Result(); err != nil || len(keys) != 0 {
		t.Errorf("have leases %v, %v, want them given back", keys, err)
	}
}

// A key that a bundler holds is emptied only after it was drained there.
func TestAKeyThatABundlerHoldsIsNotEmptied(t *testing.T) {
	t.Parallel()
	server, chain := redistest.Start(t), startChain(t, interval())
	p := newPurse(t, chain, 2)
	p.w.send(t, p.keys[0], ether(1))
	p.w.send(t, p.keys[1], ether(1))
	p.leased(server.Addr)
	node := startProgram(t, p.env[:1], append([]string{
		"node", "--rpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--admin-token=0123456789abcdef",
	}, p.flags...)...)
	operators, _ := node.logged(t, "baler is running")["operators"].(string)
	awaitLog(t, node, "lease moved", 2)

	home := common.HexToAddress("0x00000000000000000000000000000000000f00d6")
	empty := []string{"--to", home.Hex(), "--signer", p.keys[0].Hex(), "--execute"}
	if code, out := p.admin(t, "defund-signers", empty...); code != exitFailed || !strings.Contains(out, "the key is not free") || !strings.Contains(out, "drain it first") {
		t.Errorf("have exit code %d and %s, want that the key is held", code, out)
	}
	drain := startProgram(t, []string{"BALER_ADMIN_TOKEN=0123456789abcdef"}, "admin", "drain", p.keys[0].Hex(), "--admin-url", operators)
	if code := drain.wait(t); code != exitOK {
		t.Fatalf("drain: have exit code %d: %s", code, drain.stderr.String())
	}
	if code, out := p.admin(t, "defund-signers", empty...); code != exitOK || !strings.Contains(out, "Done") {
		t.Fatalf("have exit code %d and %s", code, out)
	}
	if have := p.balance(t, home); have.Cmp(new(big.Int).Mul(big.NewInt(9e8), big.NewInt(1e9))) < 0 || len(p.paid(t, p.keys[0])) != 1 || len(p.paid(t, p.keys[1])) != 0 {
		t.Errorf("have %s wei at home, want nearly 1 ETH, of the drained key alone", have)
	}
	if code := node.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
}
