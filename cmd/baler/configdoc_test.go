package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var rewriteConfiguration = flag.Bool("rewrite-configuration", false, "write docs/configuration.md instead of comparing it")

const configurationPage = "../../docs/configuration.md"

// The configuration page is printed from the command line's own definition, so it cannot go stale:
//
//	go test ./cmd/baler -run TestConfigurationPageIsCurrent -rewrite-configuration
func TestConfigurationPageIsCurrent(t *testing.T) {
	var line cli
	parser, err := newParser(&line)
	if err != nil {
		t.Fatal(err)
	}
	want := configurationReference(parser.Model)
	if *rewriteConfiguration {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("docs/configuration.md is not what the code says (run this test with -rewrite-configuration):\n%s", diff)
	}
}

func configurationReference(app *kong.Application) string {
	var page strings.Builder
	page.WriteString(`# Configuration

*Printed from the code by ` + "`go test ./cmd/baler -run TestConfigurationPageIsCurrent -rewrite-configuration`" + `; don't edit.*

Every setting is a flag, an environment variable and a key of the TOML file that ` + "`--config`" + ` names, in this order of
precedence; after them comes the default. In flag names and keys ` + "`-` and `_`" + ` are the same. An unknown flag, key or variable that
begins with ` + "`BALER_`" + ` is an error that names the nearest known one, a setting that has no effect beside the others is an error too, and exit
code 2 says that a setting is missing or wrong.

- ` + "`baler config print`" + ` (or ` + "`baler config print pool`, `rpc`, `builder`" + `) prints the settings in effect with where each comes from; secrets are hidden. Its output is a configuration file.
- ` + "`baler config check`" + ` (or ` + "`baler config check pool`, `rpc`, `builder`" + `) makes the checks of a start, and starts nothing; with ` + "`--offline`" + ` it asks nobody.
- At a SIGHUP ` + "`baler node`, `pool`, `rpc` or `builder`" + ` reads its settings again. Those marked *(reload)* change, and so do the keys: new ones are used, missing ones
  finish their transactions first. The others are named in the log and need a restart. If anything is wrong, nothing changes.

Several chains run in one process when the file has a section for each:

    log_format = "json"               # for all chains

    [chain.mainnet]
    node_http = ["http://10.0.0.1:8545", "https://rpc.example/key"]
    signer_kms_key_ids = ["alias/bundler-1", "alias/bundler-2"]
    rpc_addr = "127.0.0.1:3000"

    [chain.base]
    node_http = "http://10.0.0.2:8545"
    signer_private_key_file = "/etc/baler/base.keys"
    rpc_addr = "127.0.0.1:3001"

A section's settings come before the common ones of the file, and after the environment and flags, which are for every chain. Without
a data directory of its own a chain has a folder with the section's name in the common one. ` + "`--chain NAME`" + ` chooses one section, for
every command. What an operator leaves open follows from the chain id: [chain/specs.toml](../chain/specs.toml). Secrets (keys, mnemonics,
passwords, URLs with credentials) may stand in a file that only its owner can read (mode 0600).
`)
	for _, command := range app.Leaves(false) {
		fmt.Fprintf(&page, "\n## `%s`\n\n%s\n", command.FullPath(), command.Help)
		group := "\x00"
		for _, f := range command.Flags {
			if command.Parent.Parent != nil && command.Parent.Parent.Name == "config" && f.Name != "offline" {
				continue // the command itself has them
			}
			title := ""
			if f.Group != nil {
				title = f.Group.Title
			}
			if title != group {
				group = title
				if title != "" {
					fmt.Fprintf(&page, "\n**%s**\n", title)
				}
				page.WriteString("\n| flag | environment | default | meaning |\n|---|---|---|---|\n")
			}
			fmt.Fprintf(&page, "| `--%s` | `%s` | %s | %s |\n", f.Name, strings.Join(f.Envs, " "), defaultOf(f), meaningOf(f))
		}
	}
	return page.String()
}

func defaultOf(f *kong.Flag) string {
	if f.IsBool() {
		return "`false`"
	}
	if f.Default == "" {
		return ""
	}
	return "`" + f.Default + "`"
}

func meaningOf(f *kong.Flag) string {
	meaning := f.Help
	if f.Tag.Has("secret") {
		meaning += " *(secret)*"
	}
	if f.Tag.Has("reload") {
		meaning += " *(reload)*"
	}
	return meaning
}
