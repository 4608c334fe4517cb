package device

import (
	"math"
	"net/netip"
	"strconv"
	"time"
)

// State is whether a device is there, as far as its own rhythm tells.
type State uint8

// The states.
const (
	Unheard State = iota // not heard since the gateway started
	Online
	Late    // silent for three of its intervals
	Offline // silent for nine
	Removed // its registration has ended, and it never sent
)

// String returns the state's name: unknown, online, late, offline, removed.
func (s State) String() string {
	return [...]string{"unknown", "online", "late", "offline", "removed"}[s]
}

// Gauge is a metric that tells of the device itself, and its last value. The
// zero Gauge is none.
type Gauge struct {
	Metric Metric
	Value  float64
}

// Presence is what is known of a device beside its readings. Presences can be
// compared.
type Presence struct {
	ID    ID
	Name  string // for people; may be empty
	State State
	// Since is when the state began, Heard when the device was last heard; 0: not
	// since the gateway started.
	Since, Heard Time
	// Interval is between two of its messages, the median; 0: not known.
	Interval time.Duration
	// Addr and Transport are where it sent from last.
	Addr      netip.Addr
	Transport string
	// Guarded says that plain readings in its name are refused.
	Guarded bool
	// ClockWrong says that the last time it told cannot be; Skew is by how much its
	// clock is ahead otherwise, when Skewed.
	ClockWrong bool
	Skew       time.Duration
	Skewed     bool
	// Lost is how many of the last Expected messages have not come, by seq.
	Expected, Lost int
	Duplicates     int64
	Limited        int64 // messages refused for a rate
	Battery, RSSI  Gauge
}

// AppendJSON appends the presence as the object in a device message.
func (p *Presence) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, p.ID...) // an ID holds nothing that JSON escapes
	dst = append(dst, '"', ',')
	if p.Heard != 0 {
		dst = append(dst, `"received":`...)
		dst = append(p.Heard.AppendMillis(dst), ',')
	}
	return append(p.AppendMembers(dst), '}')
}

// AppendMembers appends the members of that object but for id and received:
// "state":"online",… What is not known is left out.
func (p *Presence) AppendMembers(dst []byte) []byte {
	dst = append(dst, `"state":"`...)
	dst = append(dst, p.State.String()...)
	dst = append(dst, '"')
	if p.Name != "" {
		dst = AppendJSONString(append(dst, `,"name":`...), p.Name)
	}
	if p.Since != 0 {
		dst = p.Since.AppendMillis(append(dst, `,"since":`...))
	}
	if p.Interval != 0 {
		dst = strconv.AppendInt(append(dst, `,"interval":`...), p.Interval.Milliseconds(), 10)
	}
	if p.Addr.IsValid() {
		dst = append(dst, `,"address":"`...)
		dst = p.Addr.Unmap().WithZone("").AppendTo(dst)
		dst = append(dst, `","transport":`...)
		dst = AppendJSONString(dst, p.Transport)
	}
	if p.Guarded {
		dst = append(dst, `,"guarded":true`...)
	}
	if p.ClockWrong {
		dst = append(dst, `,"clock":"wrong"`...)
	} else {
		dst = append(dst, `,"clock":"ok"`...)
	}
	if p.Skewed {
		dst = strconv.AppendInt(append(dst, `,"skew":`...), p.Skew.Milliseconds(), 10)
	}
	if p.Expected > 0 {
		percent := 100 * float64(p.Lost) / float64(p.Expected)
		dst = strconv.AppendFloat(append(dst, `,"loss":`...), math.Round(percent*100)/100, 'f', -1, 64)
	}
	dst = strconv.AppendInt(append(dst, `,"duplicates":`...), p.Duplicates, 10)
	if p.Limited > 0 {
		dst = strconv.AppendInt(append(dst, `,"limited":`...), p.Limited, 10)
	}
	dst = p.Battery.append(dst, `,"battery":`)
	return p.RSSI.append(dst, `,"rssi":`)
}

func (g Gauge) append(dst []byte, name string) []byte {
	if g.Metric == "" || math.IsNaN(g.Value) || math.IsInf(g.Value, 0) {
		return dst
	}
	dst = AppendJSONString(append(append(dst, name...), `{"metric":`...), string(g.Metric))
	return append(strconv.AppendFloat(append(dst, `,"value":`...), g.Value, 'g', -1, 64), '}')
}
