package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// maxAnswer bounds an answer of the server; an acknowledgement has some 30
// bytes.
const maxAnswer = 4 << 10

// answer is what the server says to one message.
type answer struct {
	seq    uint64
	hasSeq bool
	acked  bool
	reason string // of a refusal
}

// overloaded is the refusal after which a device tries again.
const overloaded = "overload"

// parseAnswer reads {"ack":7} or {"error":"syntax","seq":7}. Members that it
// does not know are skipped. Its errors are badAnswers.
func parseAnswer(b []byte) (answer, error) {
	var raw struct {
		Ack   json.RawMessage `json:"ack"`
		Error *string         `json:"error"`
		Seq   *uint64         `json:"seq"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return answer{}, &badAnswer{fmt.Errorf("answer %.80q: %w", b, err)}
	}
	switch {
	case raw.Error != nil:
		a := answer{reason: *raw.Error}
		if raw.Seq != nil {
			a.seq, a.hasSeq = *raw.Seq, true
		}
		return a, nil
	case bytes.Equal(raw.Ack, []byte("null")):
		return answer{acked: true}, nil
	case raw.Ack != nil:
		a := answer{acked: true, hasSeq: true}
		if err := json.Unmarshal(raw.Ack, &a.seq); err != nil {
			return answer{}, &badAnswer{fmt.Errorf("answer %.80q: %w", b, err)}
		}
		return a, nil
	}
	return answer{}, &badAnswer{fmt.Errorf("answer %.80q: neither ack nor error", b)}
}
