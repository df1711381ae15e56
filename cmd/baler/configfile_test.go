package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagNamesMayBeSpeltWithUnderscores(t *testing.T) {
	have := hyphenate([]string{
		"node", "--priority_fee_mode_kind=base_fee_percent", "--num_signers", "2", "--log-level=a_b", "-x_y", "--", "--not_a_flag",
	})
	want := []string{
		"node", "--priority-fee-mode-kind=base_fee_percent", "--num-signers", "2", "--log-level=a_b", "-x_y", "--", "--not_a_flag",
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

func TestConfigFileKeysAreFlagNames(t *testing.T) {
	used, known := []string{"num-signers", "node-http", "entry-point", "rpc-debug"}, []string{"num-signers", "node-http", "entry-point", "rpc-debug", "ops"}
	have, err := parseConfig("num_signers = 2\nnode-http = \"http://localhost:1\"\nentry-point = [\"0.7\", \"0.8\"]\nrpc_debug = true\nops = 5\n", used, known)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"num-signers": "2", "node-http": "http://localhost:1", "entry-point": "0.7,0.8", "rpc-debug": "true"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestBadConfigFilesAreRefused(t *testing.T) {
	known := []string{"num-signers", "max-bundle-size"}
	for text, want := range map[string]string{
		"num_signer = 2":                       `unknown key "num_signer", did you mean "num-signers"?`,
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzz = 2":     `unknown key "zzzzzzzzzzzzzzzzzzzzzzzzzzzz"`,
		"num_signers = 2\n\"num-signers\" = 3": "given twice",
		"num_signers =":                        "expected value",
	} {
		_, err := parseConfig(text, known, known)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: have error %v, want %q in it", text, err, want)
		}
	}
}

// parseConfig reads the settings of a file without sections.
func parseConfig(text string, used, known []string) (map[string]any, error) {
	config, err := readConfig(text)
	if err != nil {
		return nil, err
	}
	return config.settings("", used, known)
}
