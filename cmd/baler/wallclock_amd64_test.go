package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clockFaults are the faults with the process's own clock, where a test can move it.
func clockFaults() []fault {
	return []fault{{"clock jump of the process", func(s *soak, t *testing.T) {
		s.now.moveClock(t, int32(s.script.IntN(7200)-3600)) //nolint:gosec // an hour
		s.pass(t, 100, 1000)
	}}}
}

// readClock is code that takes the place of the vDSO's clock_gettime, through which Go reads the clocks: it asks the kernel, and adds
// some seconds to the wall clock. No library that is loaded before a program, such as libfaketime, reaches this call.
//
//	mov eax, 228 (clock_gettime); syscall; test edi, edi (CLOCK_REALTIME is 0); jnz +7; add qword [rsi], seconds; ret
var readClock = []byte{0xb8, 0xe4, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 0x07, 0x48, 0x81, 0x06, 0, 0, 0, 0, 0xc3}

// secondsAt is where in readClock the seconds are.
const secondsAt = 14

// moveClock makes the program's wall clock differ from the machine's by so many seconds. Its monotonic clock goes on as it was.
func (p *program) moveClock(t *testing.T, seconds int32) {
	t.Helper()
	if err := moveClock(p.cmd.Process.Pid, seconds); err != nil {
		t.Fatalf("move the clock: %v", err)
	}
	eventually(t, "the program writes another time into its log", func() error {
		_, rest, found := strings.Cut(p.stderr.last(), `"time":"`)
		text, _, _ := strings.Cut(rest, `"`)
		if !found {
			return errors.New("no line")
		}
		logged, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return err
		}
		want := time.Now().Add(time.Duration(seconds) * time.Second)
		if off := logged.Sub(want).Abs(); off > patience/4 {
			return fmt.Errorf("have %s, want about %s", logged, want)
		}
		return p.running()
	})
}

func moveClock(pid int, seconds int32) (err error) {
	base, size, err := vdso(pid)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	image := make([]byte, size)
	if _, err := memory.ReadAt(image, base); err != nil {
		return err
	}
	offset, err := symbol(image, "__vdso_clock_gettime")
	if err != nil {
		return err
	}
	code := bytes.Clone(readClock)
	binary.LittleEndian.PutUint32(code[secondsAt:], uint32(seconds)) //nolint:gosec // the bits, two's complement
	if bytes.HasPrefix(image[offset:], readClock[:secondsAt]) {
		_, err := memory.WriteAt(code[secondsAt:secondsAt+4], base+offset+secondsAt)
		return err
	}
	return whileOutside(pid, base, size, func() error {
		_, err := memory.WriteAt(code, base+offset)
		return err
	})
}

// vdso returns where the kernel's own library is in a process.
func vdso(pid int) (base, size int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		var end int64
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x ", &base, &end)
			return base, end - base, err
		}
	}
	return 0, 0, errors.New("the process has no vDSO")
}

// symbol returns the offset of a function in an image.
func symbol(image []byte, name string) (int64, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == name && s.Value+uint64(len(readClock)) <= uint64(len(image)) {
			return int64(s.Value), nil //nolint:gosec // within the image
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s", name)
}

// whileOutside stops a process when none of its threads is in a piece of code, does something to the code, and lets it go on.
func whileOutside(pid int, base, size int64, do func() error) error {
	for range 1000 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		inside, err := anyInside(pid, base, size)
		if err == nil && !inside {
			err = do()
		}
		if e := syscall.Kill(pid, syscall.SIGCONT); err != nil || e != nil || !inside {
			return errors.Join(err, e)
		}
	}
	return errors.New("some thread always reads the clock")
}

// anyInside waits until all threads have stopped, and reports whether one of them did so between the addresses.
func anyInside(pid int, base, size int64) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(tasks) == 0 {
		return false, errors.Join(err, errors.New("the process has no threads"))
	}
	for _, task := range tasks {
		for {
			text, err := os.ReadFile(task)
			if err != nil {
				return false, err
			}
			fields := strings.Fields(string(text))
			if len(fields) < 2 { // "running": it has not stopped yet
				continue
			}
			at, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
			if err != nil {
				return false, err
			}
			if at >= base && at < base+size {
				return true, nil
			}
			break
		}
	}
	return false, nil
}
