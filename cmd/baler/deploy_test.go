package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"baler/edge"
	"baler/rpc"

	"github.com/alecthomas/kong"
)

// deployed is a process of Baler as a file below deploy/ starts it.
type deployed struct {
	where string
	args  []string          // after the binary's name
	env   map[string]string // given in the file
	ports []int             // that others are told of
	stop  time.Duration     // it has so long to stop
	pools []string          // host and port of each process that may serve the pool
}

// check wants the program's own parser to take the command line and the variables, the settings to be sound together, and nothing secret
// among them.
func (d deployed) check(t *testing.T) {
	t.Helper()
	if d.stop < 30*time.Second {
		t.Errorf("%s: it is killed after %s, want time to finish its calls and to give its leases back", d.where, d.stop)
	}
	example := filepath.Join(t.TempDir(), "baler.toml")
	if err := os.WriteFile(example, []byte(deployFile(t, "compose", "baler.toml.example")), 0o600); err != nil {
		t.Fatal(err)
	}
	line, parsed := d.parse(t, example)
	if parsed == nil {
		return
	}
	for _, trace := range parsed.Path {
		if f := trace.Flag; f != nil && f.Tag.Has("secret") && !trace.Resolved {
			t.Errorf("%s: --%s stands in it, want it in a file that only Baler can read", d.where, f.Name)
		}
	}
	for _, flag := range parsed.Flags() {
		for _, name := range flag.Envs {
			if _, given := d.env[name]; given && flag.Tag.Has("secret") {
				t.Errorf("%s: %s stands in it, want it in a file that only Baler can read", d.where, name)
			}
		}
	}
	if line.Config == "" {
		t.Errorf("%s: have no --config, want the secrets in a file", d.where)
	}
	if err := checkContradictions(settingsOf(parsed)); err != nil {
		t.Errorf("%s: %v", d.where, err)
	}
	for _, s := range settingsOf(parsed) {
		if address := s.flag.Target.String(); len(d.ports) > 0 && address != "" && slices.Contains([]string{"rpc-addr", "admin-addr", "listen"}, s.flag.Name) {
			if loopback(address) || !slices.ContainsFunc(d.ports, func(p int) bool { return strings.HasSuffix(address, ":"+strconv.Itoa(p)) }) {
				t.Errorf("%s: --%s is %s, and others are told of ports %v", d.where, s.flag.Name, address, d.ports)
			}
		}
	}
	for _, arg := range d.args {
		if urls, found := strings.CutPrefix(arg, "--pool="); found && !slices.Equal(strings.Split(urls, ","), d.pools) {
			t.Errorf("%s: it asks %s for the pool, want %v", d.where, urls, d.pools)
		}
	}
	d.checkSound(t)
}

// listens is the port at which a process with these arguments serves the pool; empty: it does not.
func listens(args []string) string {
	for _, arg := range args {
		if address, found := strings.CutPrefix(arg, "--listen="); found {
			return address[strings.LastIndex(address, ":"):]
		}
	}
	return ""
}

// parse reads the command line as the program does, with another file for --config.
func (d deployed) parse(t *testing.T, config string) (*cli, *kong.Context) {
	t.Helper()
	var line cli
	parser, err := newParser(&line, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for name, value := range d.env {
		t.Setenv(name, value)
		environ = append(environ, name+"="+value)
	}
	parsed, err := parser.Parse(hyphenate(d.withConfig(config)))
	if err == nil {
		err = checkEnvironment(environ, parser.Model)
	}
	if err != nil {
		t.Errorf("%s: %q: %v", d.where, d.args, err)
		return nil, nil
	}
	return &line, parsed
}

func (d deployed) withConfig(path string) []string {
	args := slices.Clone(d.args)
	for i, arg := range args {
		if strings.HasPrefix(arg, "--config=") {
			args[i] = "--config=" + path
		}
	}
	return args
}

// checkSound lets `baler config check` look at the settings, with real keys.
func (d deployed) checkSound(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "baler.toml")
	text := "node_http = 'http://node.example:8545'\nsigner_private_keys = '" + testKey + "'\n"
	if slices.ContainsFunc(d.args, func(arg string) bool { return arg == "--store=redis" || strings.HasPrefix(arg, "--lease-") }) {
		text += "redis_url = 'redis://redis:6379/0'\nadmin_token = '0123456789abcdef'\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := d.withConfig(path)
	if args[0] != "config" { // a command line that is a check already is run as it is
		args = append([]string{"config", "check", args[0], "--offline"}, args[1:]...)
	}
	if code, _, stderr := ran(t, nil, args...); code != exitOK {
		t.Errorf("%s: %s", d.where, stderr)
	}
}

const deployFolder = "../../deploy"

// probed are the probes that a process answers, whether it serves or stands by.
func probed(t *testing.T) func(path string) bool {
	t.Helper()
	well := func(context.Context) (any, bool) { return "well", true }
	serving := rpc.NewServer(nil, rpc.Config{Live: well, Ready: well, Health: well})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serving.Serve(context.WithoutCancel(t.Context()), listener) }()
	t.Cleanup(func() {
		if err := errors.Join(serving.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	standsBy := edge.NewServer(edge.Config{Logger: slog.New(slog.DiscardHandler)})
	waiting{}.mount(standsBy, new(atomic.Value))
	standing := httptest.NewServer(standsBy)
	t.Cleanup(standing.Close)
	return func(path string) bool {
		for _, url := range []string{"http://" + listener.Addr().String(), standing.URL} {
			code, _, stderr := ran(t, nil, "probe", url+path)
			if code != exitOK && !strings.Contains(stderr, "503 Service Unavailable: {") {
				return false
			}
		}
		return true
	}
}
