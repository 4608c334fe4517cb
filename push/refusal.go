package push

import (
	"net/http"
	"strings"

	"github.com/naru-telemetry/naru/device"
)

// Refuse answers a request with {"error":"…"}, the contract's form of an HTTP
// error. msg is for the viewer.
func Refuse(w http.ResponseWriter, status int, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := append([]byte(`{"error":`), device.AppendJSONString(nil, strings.ToValidUTF8(msg, "\ufffd"))...)
	_, _ = w.Write(append(body, '}', '\n')) // fails only when the viewer is gone
}
