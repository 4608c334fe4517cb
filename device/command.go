package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors of a mailbox that a caller may branch on.
var (
	// ErrMailboxFull says that too many commands wait.
	ErrMailboxFull = errors.New("too many commands wait")
	// ErrNoCommand says that the device has no such command.
	ErrNoCommand = errors.New("no such command")
	// ErrCommandEnded says that the command has ended already.
	ErrCommandEnded = errors.New("the command has ended already")
)

// Bounds of a command: together with its device and the answer around it, it fits
// a datagram that no network parts.
const (
	maxCommandName  = 64  // bytes
	maxCommandValue = 512 // bytes of compact JSON
	maxOutcome      = 256 // bytes of text

	minCommandLife     = time.Second
	maxCommandLife     = 30 * 24 * time.Hour
	DefaultCommandLife = time.Hour
)

// CommandState is how far a command has come.
type CommandState uint8

// The states. A command ends in one of the last four.
const (
	CommandWaiting   CommandState = iota + 1
	CommandSent                   // told to the device, once at least
	CommandDone                   // the device says so
	CommandFailed                 // the device says so
	CommandExpired                // its time is over, and no outcome has come
	CommandCancelled              // by who has sent it
)

// CommandStates are all states there are.
var CommandStates = []CommandState{CommandWaiting, CommandSent, CommandDone, CommandFailed, CommandExpired, CommandCancelled}

// String returns the state's name.
func (s CommandState) String() string {
	if s == 0 || s > CommandCancelled {
		return "unknown"
	}
	return [...]string{"", "waiting", "sent", "done", "failed", "expired", "cancelled"}[s]
}

// Command is what somebody has asked a device to do.
type Command struct {
	ID      uint64 // from 1, never used twice in a store
	Device  ID
	Name    string
	Value   []byte // compact JSON; nil: none
	Created Time
	Expires Time
	State   CommandState // as it was noted; see At
	Sent    Time         // when the device was first told; 0: never
	Tries   int          // how often it was told
	Ended   Time         // 0: it has not
	Result  string       // what the device says of the outcome; may be empty
}

// At returns the command as it is at a moment: one that nobody has ended expires.
func (c *Command) At(now Time) Command {
	at := *c
	if at.Open() && now >= at.Expires {
		at.State, at.Ended = CommandExpired, at.Expires
	}
	return at
}

// Open reports whether the command still wants an outcome.
func (c *Command) Open() bool { return c.State < CommandDone }

// AppendJSON appends the command as the device is told it:
//
//	{"id":3,"device":"gh1","name":"relay","value":true}
func (c *Command) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, `{"id":`...), c.ID, 10)
	dst = append(append(dst, `,"device":"`...), c.Device...) // an ID holds nothing that JSON escapes,
	dst = append(append(dst, `","name":"`...), c.Name...)    // nor does a name
	dst = append(dst, '"')
	if c.Value != nil {
		dst = append(append(dst, `,"value":`...), c.Value...)
	}
	return append(dst, '}')
}

// Order is a command that somebody wants to be kept.
type Order struct {
	Device ID
	Name   string // 1 to 64 bytes of A-Z a-z 0-9 . _ : -
	Value  []byte // any JSON, at most 512 bytes when it is compact; nil: none
	Life   time.Duration
	By     string // who asks, for the log
}

// Command returns the command without an id, or an error wrapping ErrInvalid.
func (o *Order) Command(now Time) (Command, error) {
	c := Command{Device: o.Device, Name: o.Name, Created: now, Expires: now.Add(o.Life), State: CommandWaiting}
	if err := CheckID(o.Device); err != nil {
		return Command{}, err
	}
	if len(o.Name) == 0 || len(o.Name) > maxCommandName || strings.ContainsFunc(o.Name, func(r rune) bool { return r >= utf8.RuneSelf || !idByte[byte(r)] }) {
		return Command{}, fmt.Errorf("%w name of a command %q: want 1 to %d of A-Z a-z 0-9 . _ : -", ErrInvalid, o.Name, maxCommandName)
	}
	if o.Life < minCommandLife || o.Life > maxCommandLife {
		return Command{}, fmt.Errorf("%w time to live %s: want %s to %s", ErrInvalid, o.Life, minCommandLife, maxCommandLife)
	}
	if o.Value == nil {
		return c, nil
	}
	var value bytes.Buffer
	if err := json.Compact(&value, o.Value); err != nil || !utf8.Valid(o.Value) {
		return Command{}, fmt.Errorf("%w value of a command: want JSON", ErrInvalid)
	}
	if value.Len() > maxCommandValue {
		return Command{}, fmt.Errorf("%w value of a command: %d bytes, at most %d", ErrInvalid, value.Len(), maxCommandValue)
	}
	c.Value = value.Bytes()
	return c, nil
}

// Outcome is what a device says has become of a command. The zero Outcome is
// none.
type Outcome struct {
	Command uint64
	Failed  bool
	Text    string
}

// ParseOutcome reads an outcome as devices write it: "3" is done, "3 on since noon"
// done with a text, and "3 error: valve stuck" failed with one. It reports false
// where b does not begin with the number of a command. A text is cut after 256
// bytes, and what is not printable in it becomes a blank.
func ParseOutcome[T ~string | ~[]byte](b T) (Outcome, bool) {
	number, text, _ := strings.Cut(string(b[:min(len(b), 2*maxOutcome)]), " ")
	id, err := strconv.ParseUint(number, 10, 63)
	if err != nil || id == 0 || number[0] == '+' {
		return Outcome{}, false
	}
	o := Outcome{Command: id}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text))
	if rest, failed := strings.CutPrefix(text, "error"); failed && (rest == "" || rest[0] == ':') {
		o.Failed, text = true, strings.TrimSpace(strings.TrimPrefix(rest, ":"))
	}
	n := min(len(text), maxOutcome)
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	o.Text = strings.TrimSpace(text[:n])
	return o, true
}

// String returns the outcome as ParseOutcome reads it.
func (o Outcome) String() string {
	s := strconv.FormatUint(o.Command, 10)
	switch {
	case o.Failed && o.Text == "":
		return s + " error"
	case o.Failed:
		return s + " error: " + o.Text
	case o.Text != "":
		return s + " " + o.Text
	}
	return s
}
