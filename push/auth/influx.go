package auth

import (
	"net/http"
	"strings"
)

// influx is for the paths of InfluxDB's API, whose clients have ways of their own
// to give the token: as the password beside any name of a user, in Basic
// authentication, in the parameters u and p, or in "Token <user>:<password>".
// Refusals are those of InfluxDB.
var influx = manner{influxToken, []string{"token", "u", "p"}, denyInflux}

// influxToken returns the token that the request carries.
func influxToken(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if r.Header.Get("Authorization") == "" {
		if p := r.URL.Query().Get("p"); p != "" {
			return p
		}
	}
	token := plainToken(r)
	if _, password, ok := strings.Cut(token, ":"); ok {
		return password
	}
	return token
}

// denyInflux answers in the words of InfluxDB 1, or of InfluxDB 2 on its paths.
func denyInflux(w http.ResponseWriter, r *http.Request, status int, msg string) {
	second := strings.HasPrefix(r.URL.Path, "/api/v2/")
	code := "forbidden"
	if status == http.StatusUnauthorized {
		code = "unauthorized"
		scheme := "Basic"
		if second {
			scheme = "Token"
		}
		w.Header().Set("WWW-Authenticate", scheme+` realm="naru"`)
	}
	// What of the body has not been read is not waited for.
	w.Header().Set("Connection", "close")
	if second {
		deny(w, status, `{"code":"`+code+`","message":"`+msg+`"}`)
		return
	}
	deny(w, status, `{"error":"`+msg+`"}`)
}
