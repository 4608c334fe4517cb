package ingest

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Reason is why something was refused: the label of the counter and the text of
// the answer to the device.
type Reason uint8

// The reasons.
const (
	Syntax    Reason = iota // the payload is not what its format demands
	BadDevice               // the device id is outside the contract
	BadMetric               // the metric is
	BadValue                // NaN, infinite, or a text too long or not UTF-8
	Empty                   // a message without a reading
	TooLong                 // a line, item or datagram beyond its bound
	Overload                // the buffer to the store is full
	Forbidden               // plain readings from an address that is not private, or for a device that the peer may not speak for
	TooManyDevices
	TooManySeries
	TooManyConnections
	Encrypted    // sealed or signed with a key that is not known here
	Handshake    // a device that did not get in
	NoCredential // the device has a credential, and the message came without
	NotApproved  // the device is new and waits for approval
	Unknown      // the device is new, and only those that are registered are taken
	DeviceRate   // more readings a second than a device may send
	AddressRate  // the same of an address
	SeriesRate   // more new metrics a minute
	reasons
)

// String returns the label: syntax, device, metric, …
func (r Reason) String() string {
	return [reasons]string{
		"syntax", "device", "metric", "value", "empty", "too_long", "overload", "forbidden",
		"devices_limit", "series_limit", "connections_limit", "encrypted", "handshake",
		"credential", "approval", "unknown", "rate", "rate_address", "rate_series",
	}[r]
}

// Reasons returns all reasons there are.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// RefusalError says what was refused and why, in words for the person at the
// other end.
type RefusalError struct {
	Reason Reason
	Detail string

	at    int  // byte of the message's text that is to blame, from 1; 0: none by itself
	alike bool // one of many alike: it is counted and not kept
}

func (e *RefusalError) Error() string { return e.Detail }

func refuse(r Reason, err error) *RefusalError {
	return &RefusalError{Reason: r, Detail: err.Error()}
}

// refuseSyntax refuses what could not be decoded.
func refuseSyntax(err error) *RefusalError {
	r := refuse(reasonOf(err), err)
	if e, ok := errors.AsType[*wire.SyntaxError](err); ok {
		r.at = e.At
	}
	return r
}

// reasonOf tells why a payload could not be decoded.
func reasonOf(err error) Reason {
	if e, ok := errors.AsType[*wire.SyntaxError](err); ok {
		switch e.Fault {
		case wire.Oversized:
			return TooLong
		case wire.Encrypted:
			return Encrypted
		case wire.Malformed:
		}
	}
	return Syntax
}

// Bounds of the inspector: what it keeps is shown to people, so a few screens
// are enough, and 200 × 512 bytes is all that a flood can make it hold.
const (
	inspectorRefusals = 200
	inspectorPayload  = 512
)

// Refused is one refusal as the inspector keeps it.
type Refused struct {
	Time    device.Time
	Peer    Peer
	Format  wire.Format // 0 when nothing was decoded
	Reason  Reason
	Detail  string
	Payload []byte // at most 512 bytes and a few; tokens are blanked
	Size    int    // length of the whole payload; 0 stands for that of Payload
	At      int    // byte of Payload that is to blame, from 1; 0: not known
}

// Inspector counts refusals and keeps the newest. Its methods may be called
// concurrently.
type Inspector struct {
	counts [reasons]atomic.Int64

	mu   sync.Mutex // guards following
	ring []Refused
	next int
}

// Note counts and keeps a refusal. It copies payload.
func (i *Inspector) Note(r Refused) {
	i.counts[r.Reason].Add(1)
	if r.Size == 0 {
		r.Size = len(r.Payload)
	}
	r.Payload = blanked(r.Payload)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.ring) < inspectorRefusals {
		i.ring = append(i.ring, r)
		return
	}
	i.ring[i.next] = r
	i.next = (i.next + 1) % inspectorRefusals
}

// Count counts n refusals without keeping them, for floods that all look alike.
func (i *Inspector) Count(r Reason, n int) { i.counts[r].Add(int64(n)) }

// Total returns how many refusals of this reason there were.
func (i *Inspector) Total(r Reason) int64 { return i.counts[r].Load() }

// Newest returns the kept refusals, the newest first. Their payloads are shared
// and must not be changed.
func (i *Inspector) Newest() []Refused {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make([]Refused, 0, len(i.ring))
	for n := range i.ring {
		out = append(out, i.ring[(i.next+len(i.ring)-1-n)%len(i.ring)])
	}
	return out
}
