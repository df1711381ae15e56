package signer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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

// CheckPrivate returns ErrOpenToOthers unless only the file's owner has rights on it.
func CheckPrivate(info os.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%w: have mode %04o, want 0600 or 0400", ErrOpenToOthers, mode)
	}
	return nil
}

// readSecretFile reads a file that only its owner may read. The checks are made on the open file, so that what was checked
// is what is read.
func readSecretFile(path string) (Secret, error) {
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
