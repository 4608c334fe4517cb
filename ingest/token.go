package ingest

import (
	"bytes"
	"strings"

	"github.com/naru-telemetry/naru/ingest/wire"
)

const (
	tokenName  = "token"
	tokenBlank = "***"
)

// blanked returns the beginning of a payload as the inspector may keep it:
// whatever looks like a token, in any of the formats and also where nothing
// could be decoded, is replaced.
func blanked(payload []byte) []byte {
	payload = payload[:min(len(payload), inspectorPayload)]
	var out []byte
	for {
		i := bytes.Index(payload, []byte(tokenName))
		if i < 0 {
			return append(out, payload...)
		}
		value := textSecret
		if i > 0 && payload[i-1] == cborText|byte(len(tokenName)) {
			value = binarySecret
		}
		i += len(tokenName)
		start, end := value(payload[i:])
		out = append(out, payload[:i+start]...)
		if end > start {
			out = append(out, tokenBlank...)
		}
		payload = payload[i+end:]
	}
}

// textSecret returns where the value of a member or tag stands in b, which
// begins behind its name.
func textSecret(b []byte) (start, end int) {
	i := 0
	for i < len(b) && (b[i] == '"' || b[i] == ' ' || b[i] == '\t') {
		i++
	}
	if i == len(b) || b[i] != '=' && b[i] != ':' {
		return 0, 0 // part of something else
	}
	for i++; i < len(b) && (b[i] == ' ' || b[i] == '\t'); i++ {
	}
	stops := ", \t\r\n}"
	if i < len(b) && b[i] == '"' {
		i++
		stops = `"`
	}
	for end = i; end < len(b) && strings.IndexByte(stops, b[end]) < 0; end++ {
		if b[end] == '\\' {
			end++ // what is escaped is no stop
		}
	}
	return i, min(end, len(b))
}

// cborText is the major type of CBOR texts, in the place of a head.
const cborText = 0x60

// binarySecret returns where the content of the CBOR text stands that b begins
// with. One whose length does not fit a byte reaches to the end.
func binarySecret(b []byte) (start, end int) {
	switch {
	case len(b) == 0 || b[0]&^0x1f != cborText:
		return 0, 0
	case b[0] < cborText+24:
		return 1, min(1+int(b[0]&0x1f), len(b))
	case b[0] == cborText+24 && len(b) > 1:
		return 2, min(2+int(b[1]), len(b))
	}
	return 1, len(b)
}

// placeKept returns where a byte of the message's text stands in what the
// inspector keeps of it, from 1; 0 when it is not among that.
func placeKept(m *wire.Message, at int) int {
	if at < 1 || at-1 > min(len(m.Raw), inspectorPayload) {
		return 0
	}
	before := wire.Message{Raw: m.Raw[:at-1], Token: m.Token}
	return len(blanked(withoutToken(&before))) + 1
}

// withoutToken returns the text of a message without the token that was decoded
// from it, for a token whose name is written in an unusual way.
func withoutToken(m *wire.Message) []byte {
	if len(m.Token) == 0 {
		return m.Raw
	}
	raw := m.Raw[:min(len(m.Raw), inspectorPayload+len(m.Token))]
	return bytes.ReplaceAll(raw, m.Token, []byte(tokenBlank))
}
