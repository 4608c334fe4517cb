package live

import (
	"bytes"
	"errors"
	"net/http"
	"regexp"

	"github.com/naru-telemetry/naru/push"
)

// scriptName is what a page may call the function that takes messages: nothing that
// could be more than a name (contract, section 4).
var scriptName = regexp.MustCompile(`^[A-Za-z_$][\w$.]{0,63}$`)

// errOff is the answer to a technique that is not switched on.
var errOff = errors.New("this technique is off; the gateway's settings jsonp and iframe switch it on")

// legacy reads what asks for the techniques of browsers that have no other: the
// name of the function, and which of them it is, or none.
func (h *Handler) legacy(r *http.Request) (technique Technique, name string, err error) {
	q := r.URL.Query()
	switch {
	case q.Has("callback"):
		technique, name = JSONP, q.Get("callback")
		if !h.jsonp {
			return 0, "", errOff
		}
	case q.Has("iframe") && headerHas(r.Header, "Accept", "text/html"):
		technique, name = Iframe, q.Get("iframe")
		if !h.iframe {
			return 0, "", errOff
		}
	default:
		return 0, "", nil
	}
	if !scriptName.MatchString(name) {
		return 0, "", errors.New("callback and iframe: want the name of a function, [A-Za-z_$][\\w$.]{0,63}")
	}
	return technique, name, nil
}

// appendScript appends JSON so that it is the same in a script of any age, also
// within a page: what would end the script or a line of it is escaped. Such
// characters stand in texts only.
func appendScript(dst, json []byte) []byte {
	for len(json) > 0 {
		i := bytes.IndexAny(json, "<\u2028\u2029")
		if i < 0 {
			break
		}
		dst = append(dst, json[:i]...)
		switch {
		case json[i] == '<':
			dst, json = append(dst, `\u003c`...), json[i+1:]
		case json[i+2] == 0xa8:
			dst, json = append(dst, `\u2028`...), json[i+3:]
		default:
			dst, json = append(dst, `\u2029`...), json[i+3:]
		}
	}
	return append(dst, json...)
}

// jsonpBody is the answer to a poll as a script. The comment in front keeps it from
// being taken for something else by its first bytes.
func jsonpBody(name string, f *push.Frame) []byte {
	body := append([]byte("/**/"), name...)
	body = appendScript(append(body, '('), f.JSON())
	return append(body, ");\n"...)
}

// iframe writes an endless page whose scripts call a function of the page around it.
type iframe struct{ name string }

func (iframe) contentType() string { return "text/html; charset=utf-8" }

// iframePadding makes browsers begin with a page before there is much of it.
const iframePadding = 2048

func (iframe) opening(dst []byte) []byte {
	dst = append(dst, "<!DOCTYPE html><meta charset=\"utf-8\"><title>live</title><body>\n<!--"...)
	return append(append(dst, bytes.Repeat([]byte{' '}, iframePadding)...), "-->\n"...)
}

func (f iframe) message(dst []byte, m *push.Frame) []byte {
	dst = append(append(dst, "<script>parent."...), f.name...)
	dst = appendScript(append(dst, '('), m.JSON())
	return append(dst, ")</script>\n"...)
}

// silence is a message without readings, which moves the cursor.
func (f iframe) silence(dst []byte, at push.Cursor) []byte { return f.message(dst, push.Empty(at)) }
