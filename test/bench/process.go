package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// process is a program under measurement.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	stderr *tail
	proc   procfs.Proc
}

// start starts a program; its standard error is kept for when it fails.
func start(ctx context.Context, name string, env []string, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	p := &process{name: name, cmd: cmd, stderr: &tail{}}
	cmd.Stderr = p.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout = stdin, stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if p.proc, err = procfs.NewProc(cmd.Process.Pid); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), p.stop())
	}
	return p, nil
}

// drain throws away what the program prints, so that it never waits for a reader. It ends with the program.
func (p *process) drain() { go func() { _, _ = io.Copy(p.stderr, p.stdout) }() }

// stopTime is how long a program may take to stop before it is killed.
const stopTime = 10 * time.Second

// stop asks the program to stop, and kills it if it does not.
func (p *process) stop() error {
	if p.cmd.ProcessState != nil {
		return nil // it has been stopped before
	}
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return nil // a signal ended it
	}
	return err
}

// usage is what a program has used.
type usage struct {
	cpu time.Duration // since it started
	rss uint64        // bytes, the most it ever had
}

func (p *process) usage() (usage, error) {
	stat, err := p.proc.Stat()
	if err != nil {
		return usage{}, fmt.Errorf("%s has ended: %w\n%s", p.name, err, p.stderr)
	}
	status, err := p.proc.NewStatus()
	if err != nil {
		return usage{}, fmt.Errorf("%s has ended: %w\n%s", p.name, err, p.stderr)
	}
	return usage{cpu: time.Duration(stat.CPUTime() * float64(time.Second)), rss: status.VmHWM}, nil
}

// tail keeps the last kilobytes written to it.
type tail struct {
	mu   sync.Mutex
	last []byte
}

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = t.last[over:]
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
