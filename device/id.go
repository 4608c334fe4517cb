package device

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of names, from the contract.
const (
	MaxIDLen     = 64  // bytes of a device id
	MaxMetricLen = 128 // bytes of a metric, tags included
)

// ErrInvalid is wrapped by every error that a constructor of this package
// returns for a value outside the contract.
var ErrInvalid = errors.New("invalid")

// ID names a device: 1–64 bytes of A-Z a-z 0-9 . _ : -
type ID string

// ParseID returns s as a device id, or an error that says which byte is wrong.
func ParseID(s string) (ID, error) {
	if err := CheckID(s); err != nil {
		return "", err
	}
	return ID(s), nil
}

// CheckID reports whether b may be a device id, without keeping it.
func CheckID[T ~string | ~[]byte](b T) error {
	if len(b) == 0 || len(b) > MaxIDLen {
		return fmt.Errorf("%w device id: %d bytes, want 1 to %d", ErrInvalid, len(b), MaxIDLen)
	}
	for i := range len(b) {
		if !idByte[b[i]] {
			return fmt.Errorf("%w device id %q: byte %d is none of A-Z a-z 0-9 . _ : -", ErrInvalid, string(b), i+1)
		}
	}
	return nil
}

var idByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "._:-" {
		t[c] = true
	}
	return t
}()

// Metric names what was measured: 1–128 bytes of valid UTF-8 without control
// characters. It may carry tags: cpu.usage{cpu=cpu0}
type Metric string

// ParseMetric returns s as a metric, or an error that says what is wrong.
func ParseMetric(s string) (Metric, error) {
	if err := CheckMetric(s); err != nil {
		return "", err
	}
	return Metric(s), nil
}

// CheckMetric reports whether b may be a metric, without keeping it.
func CheckMetric[T ~string | ~[]byte](b T) error {
	if len(b) == 0 || len(b) > MaxMetricLen {
		return fmt.Errorf("%w metric: %d bytes, want 1 to %d", ErrInvalid, len(b), MaxMetricLen)
	}
	ascii := true
	for i := range len(b) {
		c := b[i]
		if c < 0x20 || c == 0x7f {
			return fmt.Errorf("%w metric %q: byte %d is a control character", ErrInvalid, string(b), i+1)
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.ValidString(string(b)) {
		return fmt.Errorf("%w metric %q: not UTF-8", ErrInvalid, string(b))
	}
	return nil
}
