package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// maxAnswer bounds an answer of the server; an acknowledgement has some 30
// bytes.
const maxAnswer = 4 << 10

// verdict is what an answer says of a message.
type verdict uint8

const (
	silent   verdict = iota // nothing
	acked                   // it is durable
	refused                 // it was refused, in whole or in part
	received                // it has arrived; whether it is durable will be said
)

// answer is what the server says to one message.
type answer struct {
	verdict verdict
	seq     uint64
	hasSeq  bool
	reason  string // of a refusal
	// again, when positive, is after which time an overloaded server wants to hear
	// the message again.
	again time.Duration
	// id is the message id of CoAP by which the answer names its message when it has
	// no seq.
	id   uint16
	byID bool
	// reply is sent back at once.
	reply []byte
	// command is what the server asks of the device; nil for nothing.
	command *command
}

// overloaded is the refusal after which a device tries again.
const overloaded = "overload"

// parseAnswer reads {"ack":7} or {"error":"syntax","seq":7}, either with a command.
// Members that it does not know are skipped. Its errors are badAnswers.
func parseAnswer(b []byte) (answer, error) {
	var raw struct {
		Ack     json.RawMessage `json:"ack"`
		Error   *string         `json:"error"`
		Seq     *uint64         `json:"seq"`
		Command *command        `json:"command"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return answer{}, &badAnswer{fmt.Errorf("answer %.80q: %w", b, err)}
	}
	switch {
	case raw.Error != nil:
		a := answer{verdict: refused, reason: *raw.Error, command: raw.Command}
		if raw.Seq != nil {
			a.seq, a.hasSeq = *raw.Seq, true
		}
		return a, nil
	case bytes.Equal(raw.Ack, []byte("null")):
		return answer{verdict: acked, command: raw.Command}, nil
	case raw.Ack != nil:
		a := answer{verdict: acked, hasSeq: true, command: raw.Command}
		if err := json.Unmarshal(raw.Ack, &a.seq); err != nil {
			return answer{}, &badAnswer{fmt.Errorf("answer %.80q: %w", b, err)}
		}
		return a, nil
	}
	return answer{}, &badAnswer{fmt.Errorf("answer %.80q: neither ack nor error", b)}
}

// parseCommand reads {"command":{…}} or {}.
func parseCommand(b []byte) (*command, error) {
	var raw struct {
		Command *command `json:"command"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, &badAnswer{fmt.Errorf("command %.80q: %w", b, err)}
	}
	return raw.Command, nil
}
