package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// installed copies Baler's binary into a folder of its own, as whoever installs it does, and has that measured. A file that a linker has
// just written is in the page cache in pieces of 2 MiB, and a program that runs from there has all of such a piece in its resident memory
// as soon as it touches a byte of it; from a copy, as after a restart of the machine, what it touched. The caller calls the returned function when
// it is done.
func (p *programs) installed() (remove func() error, err error) {
	dir, err := os.MkdirTemp("", "baler-installed-")
	if err != nil {
		return nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	path := filepath.Join(dir, "baler")
	if err := copyProgram(p.Baler, path); err != nil {
		return nil, errors.Join(err, remove())
	}
	p.Baler = path
	return remove, nil
}

func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// build says which build of Baler is measured.
func (p *programs) build() (string, error) {
	info, err := buildinfo.ReadFile(p.Baler)
	if err != nil {
		return "", err
	}
	file, err := os.Stat(p.Baler)
	if err != nil {
		return "", err
	}
	tags := "the whole program, with the embedded chain"
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			tags = "built with -tags=" + s.Value
		}
	}
	return fmt.Sprintf("Baler: %s, %.0f MB", tags, float64(file.Size())/1e6), nil
}
