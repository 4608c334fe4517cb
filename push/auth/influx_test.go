package auth

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// askInflux sends a request through a guard of InfluxDB's paths.
func askInflux(t *testing.T, target, remote string, header http.Header) (status int, h http.Header, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, nil)
	r.RemoteAddr = remote
	maps.Copy(r.Header, header)
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	guard(t, Config{Token: token}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("saw " + r.URL.String() + " " + r.RequestURI))
	})).ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

func TestInfluxToken(t *testing.T) {
	for _, c := range []struct {
		name   string
		query  string
		header http.Header
		want   int
	}{
		{"none", "", nil, 401},
		{"Token", "", http.Header{"Authorization": {"Token " + token}}, 200},
		{"Token of a user", "", http.Header{"Authorization": {"Token telegraf:" + token}}, 200},
		{"Bearer", "", http.Header{"Authorization": {"Bearer " + token}}, 200},
		{"Basic", "", basic("telegraf", token), 200},
		{"Basic without user", "", basic("", token), 200},
		{"u and p", "&u=telegraf&p=" + token, nil, 200},
		{"p alone", "&p=" + token, nil, 200},
		{"token", "&token=" + token, nil, 200},
		{"Basic, wrong", "", basic("telegraf", "x"), 401},
		{"Basic, the token is the user", "", basic(token, ""), 401},
		{"Basic, wrong, before a right p", "&p=" + token, basic("", "x"), 401},
		{"p, wrong, before a right token", "&p=x&token=" + token, nil, 401},
		{"u is no password", "&u=" + token, nil, 401},
		{"Token, wrong", "", http.Header{"Authorization": {"Token telegraf:x"}}, 401},
		{"Token, empty", "", http.Header{"Authorization": {"Token telegraf:"}}, 401},
		{"Basic, not base64", "", http.Header{"Authorization": {"Basic " + token}}, 401},
	} {
		for _, target := range []string{"/write?db=a", "/query?q=a", "/api/v2/write?org=a"} {
			status, h, body := askInflux(t, target+c.query, "192.168.1.5:5000", c.header)
			if status != c.want {
				t.Errorf("%s, %s: %d, want %d", c.name, target, status, c.want)
			}
			if strings.Contains(body, token) {
				t.Errorf("%s, %s: who is behind sees %s", c.name, target, body)
			}
			if status != 401 {
				continue
			}
			want, scheme := `{"error":"the access token is missing or wrong"}`, `Basic realm="naru"`
			if strings.HasPrefix(target, "/api/v2/") {
				want, scheme = `{"code":"unauthorized","message":"the access token is missing or wrong"}`, `Token realm="naru"`
			}
			if body != want+"\n" || h.Get("Www-Authenticate") != scheme || h.Get("Content-Type") != "application/json" {
				t.Errorf("%s, %s: %s, %v", c.name, target, body, h)
			}
		}
	}
}

func TestInfluxFromHere(t *testing.T) {
	here := http.Header{"Host": {"localhost:7780"}}
	if status, _, body := askInflux(t, "/write?u=a&p=secret&db=b", "127.0.0.1:5000", here); status != 200 || body != "saw /write?db=b /write?db=b" {
		t.Errorf("%d %s", status, body)
	}
	here["Origin"] = []string{"http://evil.com"}
	if status, _, body := askInflux(t, "/api/v2/write", "127.0.0.1:5000", here); status != 403 || body != `{"code":"forbidden","message":"this origin may not use the API"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := askInflux(t, "/write", "127.0.0.1:5000", here); status != 403 || body != `{"error":"this origin may not use the API"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
}

// Elsewhere these ways do not open anything.
func TestInfluxWaysElsewhere(t *testing.T) {
	for name, header := range map[string]http.Header{"?p=" + token: nil, "": basic("a", token), "?x=1": {"Authorization": {"Token a:" + token}}} {
		if resp := ask(t, Config{Token: token}, http.MethodPost, "/api/v1/write"+name, "192.168.1.5:5000", header); resp.StatusCode != 401 {
			t.Errorf("%q %v: %s", name, header, resp.Status)
		}
	}
}
