package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests of this package that begin with e2e run the whole program: a chain in the test's process or in another one,
// the bundler in the test's process or as the program itself, and between them nothing but JSON-RPC.

// asProgram makes the test binary be the program: so that the program can be started, killed and started again without
// a build step.
const asProgram = "RUN_AS_BALER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		runAsProgram()
	}
	os.Exit(m.Run())
}

// patience ends a test that would hang. Nothing is ever measured by it.
const patience = 2 * time.Minute

// eventually waits until the condition holds. While it does not, the condition says why not.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// program is the program as a process of its own.
type program struct {
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	done   chan struct{} // closed when the process has ended
}

// startProgram starts the program. It is killed at the end of the test if it still runs.
func startProgram(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(binary, args...), stdout: &output{}, stderr: &output{}, done: make(chan struct{})} //nolint:noctx // ended by the test, by kill -9 if need be
	p.cmd.Env = append(cleanEnvironment(), append(env, asProgram+"=1")...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), p.stdout.tail(), p.stderr.tail())
		}
	})
	return p
}

// cleanEnvironment is the environment without the program's own settings.
func cleanEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "BALER_") })
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// wait returns the exit code of a process that ends by itself.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		t.Fatal("the process does not end")
		return -1
	}
}

// stop sends a signal and returns the exit code.
func (p *program) stop(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

func (p *program) running() error {
	select {
	case <-p.done:
		return fmt.Errorf("the process has ended with code %d", p.cmd.ProcessState.ExitCode())
	default:
		return nil
	}
}

// logged waits for a line of the JSON log with the message, and returns it.
func (p *program) logged(t *testing.T, message string) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, "log line "+message, func() error {
		for _, line := range p.stderr.lines() {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
				found = entry
				return nil
			}
		}
		if err := p.running(); err != nil {
			t.Fatal(err)
		}
		return errors.New("not logged")
	})
	return found
}

// output collects what a process, or a logger, writes.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// String returns all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) lines() []string {
	var lines []string
	scanner := bufio.NewScanner(strings.NewReader(o.String()))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines
}

// last returns the last whole line.
func (o *output) last() string {
	text := strings.TrimRight(o.String(), "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// tail returns the last lines, enough to see what went wrong; heads come all the time and say little.
func (o *output) tail() string {
	const most = 300
	lines := slices.DeleteFunc(o.lines(), func(line string) bool {
		return strings.Contains(line, "msg=head ") || strings.Contains(line, `"msg":"head"`)
	})
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
