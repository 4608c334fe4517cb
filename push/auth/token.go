package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// minToken and maxToken bound the length of a token that somebody has chosen.
const (
	minToken = 16
	maxToken = 256
)

// LoadToken returns the access token kept in the file at path. When there is no
// file it makes a token of 128 random bits and the file, readable by its owner
// only; made tells.
func LoadToken(path string) (token string, made bool, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		token = strings.TrimSpace(string(b))
		if !usable(token) {
			return "", false, fmt.Errorf("auth: %s holds no token of %d to %d letters, digits or - _ . ~; remove it to have a new one made",
				path, minToken, maxToken)
		}
		return token, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("auth: access token: %w", err)
	}
	token = strings.ToLower(rand.Text())
	if err := writeWhole(path, token+"\n"); err != nil {
		return "", false, fmt.Errorf("auth: access token: %w", err)
	}
	return token, true, nil
}

// usable reports whether the token may stand in a header, a cookie and an
// address as it is.
func usable(token string) bool {
	if len(token) < minToken || len(token) > maxToken {
		return false
	}
	for _, c := range []byte(token) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		case c == '-', c == '_', c == '.', c == '~':
		default:
			return false
		}
	}
	return true
}

// writeWhole makes the file at path, whole or, when the power fails, not at all.
func writeWhole(path, text string) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, path)
}
