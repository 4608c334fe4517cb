package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// sessionLife is how long a browser stays logged in, when its access does not end
// before.
const sessionLife = 365 * 24 * time.Hour

// keyLen is the length of the key of sessions.
const keyLen = 32

// LoadSessionKey returns the key by which the sessions of browsers are known,
// which is kept in the file at path. Where there is none, or it is none, a new one
// is made, and browsers log in again.
func LoadSessionKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("auth: key of sessions: %w", err)
	}
	if key, err := hex.DecodeString(strings.TrimSpace(string(text))); err == nil && len(key) == keyLen {
		return key, nil
	}
	key := newKey()
	if err := writeWhole(path, hex.EncodeToString(key)+"\n"); err != nil {
		return nil, fmt.Errorf("auth: key of sessions: %w", err)
	}
	return key, nil
}

func newKey() []byte {
	key := make([]byte, keyLen)
	_, _ = rand.Read(key) // never fails
	return key
}

// sessions makes and reads the cookies of browsers that have logged in. A cookie
// names the grant and its own end, under a seal that only the key and the hash of
// the grant's token make; nothing is kept of it here. So it ends with the grant,
// and with its token.
type sessions struct {
	key  []byte
	name string // of the cookie: gateways on one host have each their own
}

func newSessions(key []byte) sessions {
	sum := sha256.Sum256(key)
	return sessions{key, "naru_" + hex.EncodeToString(sum[:4])}
}

// seal authenticates what a cookie says.
func (s sessions) seal(text string, hash []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write([]byte("session of a browser\x00" + text + "\x00")) // never fails, as the next
	_, _ = mac.Write(hash)
	return mac.Sum(nil)
}

// cookie returns a cookie for the grant. It has no Path, so that the browser keeps
// it for what it sees below: behind a proxy that may be another path than we do.
func (s sessions) cookie(grant *device.Grant, now time.Time, secure bool) *http.Cookie {
	end := now.Add(sessionLife)
	if grant.Expires != 0 && grant.Expires.Std().Before(end) {
		end = grant.Expires.Std()
	}
	text := strconv.FormatUint(grant.ID, 10) + "." + strconv.FormatInt(end.Unix(), 10)
	return &http.Cookie{
		Name: s.name, Value: text + "." + base64.RawURLEncoding.EncodeToString(s.seal(text, grant.Hash)),
		MaxAge: max(int(end.Sub(now)/time.Second), 1), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure,
	}
}

// over returns a cookie that takes it away.
func (s sessions) over(secure bool) *http.Cookie {
	return &http.Cookie{Name: s.name, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure}
}

// holder returns who has logged in with one of the request's cookies, or nil.
func (s sessions) holder(r *http.Request, all *holders, now time.Time) *holder {
	for _, c := range r.CookiesNamed(s.name) {
		if h := s.read(c.Value, all, now); h != nil {
			return h
		}
	}
	return nil
}

func (s sessions) read(value string, all *holders, now time.Time) *holder {
	at := strings.LastIndexByte(value, '.')
	if at < 0 {
		return nil
	}
	text := value[:at]
	seal, err := base64.RawURLEncoding.Strict().DecodeString(value[at+1:])
	if err != nil {
		return nil
	}
	idText, endText, _ := strings.Cut(text, ".")
	id, idErr := strconv.ParseUint(idText, 10, 64)
	end, endErr := strconv.ParseInt(endText, 10, 64)
	if idErr != nil || endErr != nil || now.Unix() >= end {
		return nil
	}
	h := all.withID(id, device.TimeOf(now))
	if h == nil || !hmac.Equal(seal, s.seal(text, h.grant.Hash)) {
		return nil
	}
	return h
}
