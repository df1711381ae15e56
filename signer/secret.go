package signer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// Secret is a text that never shows itself: a key, a mnemonic, a password, a URL with credentials.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[hidden]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// maxSecretFile is the longest file of secrets that is read, in bytes.
const maxSecretFile = 1 << 20

// ErrOpenToOthers says that a file with secrets can be read by more than its owner.
var ErrOpenToOthers = errors.New("the file is open to others than its owner")

// CheckPrivate returns ErrOpenToOthers unless only the file's owner has rights on it. Of a file that root has handed to a process of
// another user, the group may read too: there is no other way to hand it over. Kubernetes does so with a volume's fsGroup, systemd with
// an access list, which shows as rights of the group.
func CheckPrivate(info os.FileInfo) error {
	owner := os.Getuid()
	if stat, known := info.Sys().(*syscall.Stat_t); known {
		owner = int(stat.Uid)
	}
	return checkPrivate(info.Mode().Perm(), owner, os.Getuid())
}

func checkPrivate(mode os.FileMode, owner, process int) error {
	open := mode & 0o077
	if owner == 0 && process != 0 {
		open &^= 0o040
	}
	if open != 0 {
		return fmt.Errorf("%w: have mode %04o, want 0600 or 0400", ErrOpenToOthers, mode)
	}
	return nil
}

// CheckPrivateFile is CheckPrivate for a file that somebody else will read.
func CheckPrivateFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := CheckPrivate(info); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ReadSecretFile reads a file that [CheckPrivate] has nothing against. The checks are made on the open file, so that what was checked
// is what is read.
func ReadSecretFile(path string) (Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: have a %s, want a file", path, info.Mode().Type())
	}
	if err := CheckPrivate(info); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("%s: have more than %d bytes", path, maxSecretFile)
	}
	return Secret(text), nil
}
