package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// LoadToken returns the access token kept in the file at path. When there is no
// file it makes a token of 128 random bits and the file, readable by its owner
// only; made tells.
func LoadToken(path string) (token string, made bool, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		token = strings.TrimSpace(string(b))
		if len(token) < 16 {
			return "", false, fmt.Errorf("auth: %s holds no token of at least 16 characters; remove it to have a new one made", path)
		}
		return token, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("auth: access token: %w", err)
	}
	token = strings.ToLower(rand.Text())
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", false, fmt.Errorf("auth: access token: %w", err)
	}
	return token, true, nil
}
