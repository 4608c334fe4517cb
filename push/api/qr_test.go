package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rsc.io/qr"
)

func TestQR(t *testing.T) {
	a := New(config(sample(t), io.Discard))
	for _, c := range []struct {
		name, text string
		status     int
	}{
		{"an access link", "http://192.168.1.20:7780/?token=abcdefghijklmnopqrstuvwxyz", http.StatusOK},
		{"one byte", "x", http.StatusOK},
		{"not ASCII", "나루", http.StatusOK},
		{"the longest", strings.Repeat("x", 2331), http.StatusOK},
		{"too long for a code", strings.Repeat("x", 2332), http.StatusBadRequest},
		{"too long for a body", strings.Repeat("x", maxChange+1), http.StatusBadRequest},
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/qr", strings.NewReader(c.text)))
		if w.Code != c.status {
			t.Errorf("%s: %d %.80s, want %d", c.name, w.Code, w.Body, c.status)
		}
		if c.status != http.StatusOK {
			continue
		}
		var got struct{ QR []string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		code, err := qr.Encode(c.text, qr.M)
		if err != nil || len(got.QR) != code.Size {
			t.Errorf("%s: %d rows, want %d (%v)", c.name, len(got.QR), code.Size, err)
			continue
		}
		for y, row := range got.QR {
			for x := range row {
				if row[x] == '#' != code.Black(x, y) {
					t.Errorf("%s: module %d, %d is %q", c.name, x, y, row[x])
				}
			}
		}
	}
}
