package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever runs the operators' build learns what it does not have.
func TestTheOperatorsBuildSaysThatItHasNoEmbeddedChain(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "baler")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags=nodev", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		args string
		code int
		say  string
	}{
		{"dev --block-time 2s", exitSettings, "this build has no embedded chain"},
		{"demo", exitSettings, "this build has no embedded chain"},
		{"dev --help", exitOK, "Not in this build"},
		{"load --url http://127.0.0.1:1 --node http://127.0.0.1:1", exitSettings, "--factory is missing"},
		{"load --url http://127.0.0.1:1 --node http://127.0.0.1:1 --factory 0x70997970C51812dc3A010C7d01b50e0d17dc79C8", exitSettings, "--funding_key is missing"},
		{"node", exitSettings, "no signer keys are given"},
		{"node --help", exitOK, "--num-signers"},
	} {
		out, err := exec.CommandContext(t.Context(), binary, strings.Fields(c.args)...).CombinedOutput()
		code := exitOK
		if exit, failed := errors.AsType[*exec.ExitError](err); failed {
			code = exit.ExitCode()
		}
		if code != c.code || !strings.Contains(string(out), c.say) {
			t.Errorf("baler %s: have exit code %d and\n%s\nwant %d and %q", c.args, code, out, c.code, c.say)
		}
	}
}
