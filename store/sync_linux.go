package store

import (
	"os"
	"syscall"
)

// syncData makes what was written to a file durable, and of what is known about the file only its length: its times may be lost.
func syncData(file *os.File) error {
	for {
		if err := syscall.Fdatasync(int(file.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
