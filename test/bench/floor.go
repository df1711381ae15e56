package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"golang.org/x/sys/unix"
)

// floorCommand measures what no Go program can do without that takes operations one at a time, asks a node about each and answers when it is
// on the disk: the same request, the same load, nothing of a bundler.
type floorCommand struct {
	Rate     int           `help:"Operations a second." default:"20"`
	Duration time.Duration `help:"How long each step is measured." default:"20s"`
}

// floorSteps are what the program does with each operation, each step in addition to those before.
func floorSteps() []string {
	return []string{"reads a request and answers it", "and asks a node, one request", "and writes a page to the disk before it answers"}
}

// floorServer is the program under measurement, and its node.
type floorServer struct {
	Steps int    `help:"How many of the steps it takes." default:"1"`
	Node  string `help:"What it asks."`
	File  string `help:"What it writes to."`

	file    *os.File
	written int // pages
}

// floorPages are written to one after the other, again and again.
const floorPages = 256

// mostAtFloor is the highest rate that one client sends at, one operation after the other.
const mostAtFloor = 1000

// Run measures a program that takes one step, two, and so on, and prints the processor time for an operation.
func (c *floorCommand) Run(ctx context.Context) (err error) {
	if c.Rate < 1 || c.Rate > mostAtFloor || c.Duration <= 0 {
		return fmt.Errorf("have %d operations/s for %s, want 1 to %d, for some time", c.Rate, c.Duration, mostAtFloor)
	}
	dir, err := os.MkdirTemp("", "bench-floor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	node, url, err := startFloor(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.stop()) }()
	printLine(os.Stdout, []string{"for each operation, it", "ms"})
	printLine(os.Stdout, []string{"---", "---"})
	for i, step := range floorSteps() {
		ms, err := c.measure(ctx, "--steps", fmt.Sprint(i+1), "--node", url, "--file", filepath.Join(dir, "log"))
		if err != nil {
			return err
		}
		printLine(os.Stdout, []string{step, fmt.Sprintf("%.2f", ms)})
	}
	return nil
}

// measure returns the processor time that a program takes for an operation, ms.
func (c *floorCommand) measure(ctx context.Context, args ...string) (ms float64, err error) {
	p, url, err := startFloor(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	operation := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"eth_sendUserOperation","params":[{"callData":"0x%01500d"}]}`, 0)
	if err := post(ctx, url, operation); err != nil { // the first makes connections, and what else is made once
		return 0, err
	}
	before, err := p.usage()
	if err != nil {
		return 0, err
	}
	n := 0
	ticker := time.NewTicker(time.Second / time.Duration(c.Rate))
	defer ticker.Stop()
	for end := time.Now().Add(c.Duration); time.Now().Before(end); n++ {
		if err := post(ctx, url, operation); err != nil {
			return 0, err
		}
		<-ticker.C
	}
	after, err := p.usage()
	return (after.cpu - before.cpu).Seconds() * 1000 / float64(n), err
}

// startFloor starts the program, and returns where it listens.
func startFloor(ctx context.Context, args ...string) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := start(ctx, "floor", nil, self, append([]string{"floor-server"}, args...)...)
	if err != nil {
		return nil, "", err
	}
	var url string
	if _, err := fmt.Fscanln(p.stdout, &url); err != nil {
		return nil, "", errors.Join(fmt.Errorf("floor: %w\n%s", err, p.stderr), p.stop())
	}
	return p, url, nil
}

// Run serves until it is stopped.
func (s *floorServer) Run(ctx context.Context) (err error) {
	if s.Steps > 2 {
		if s.file, err = os.OpenFile(s.File, os.O_RDWR|os.O_CREATE|unix.O_DSYNC, 0o600); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.file.Close()) }()
		if _, err := s.file.Write(make([]byte, floorPages*os.Getpagesize())); err != nil {
			return err
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.answer(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintln(os.Stdout, "http://"+listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer takes an operation. The client sends one at a time.
func (s *floorServer) answer(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var call struct{ ID, Method, Params any }
	if err := json.Unmarshal(body, &call); err != nil {
		return nil, err
	}
	if s.Steps > 1 {
		if err := post(r.Context(), s.Node, string(body)); err != nil {
			return nil, err
		}
	}
	if s.file != nil {
		page := make([]byte, os.Getpagesize())
		copy(page, body)
		if _, err := s.file.WriteAt(page, int64(s.written%floorPages*len(page))); err != nil {
			return nil, err
		}
		s.written++
	}
	return map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": common.BytesToHash(body)}, nil
}
