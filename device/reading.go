package device

import (
	"strconv"
	"time"
)

// Reading is one value of one metric of one device at one moment, admitted but
// not yet in the log.
type Reading struct {
	Device ID
	Metric Metric
	// Time is when the device says it was measured.
	Time Time
	// Received is when the server got it.
	Received Time
	Value    Value
}

// Stored is a reading with its position in the log. Offsets start at 1, grow
// strictly and are never used twice; 0 means "before the first reading".
type Stored struct {
	Offset uint64
	Reading
}

// Series names one metric of one device.
type Series struct {
	Device ID
	Metric Metric
}

// AppendJSON appends the reading as the contract's JSON object,
//
//	{"offset":1841,"device":"gh1","metric":"air.temperature","time":1764000000123,"value":21.5}
//
// with time in Unix milliseconds.
func (s *Stored) AppendJSON(dst []byte) []byte {
	return append(s.Value.AppendJSON(s.appendJSONHead(dst)), '}')
}

// AppendExactJSON appends the same object with the value as AppendExact writes
// it.
func (s *Stored) AppendExactJSON(dst []byte) []byte {
	return append(s.Value.AppendExact(s.appendJSONHead(dst)), '}')
}

func (s *Stored) appendJSONHead(dst []byte) []byte {
	dst = append(dst, `{"offset":`...)
	dst = strconv.AppendUint(dst, s.Offset, 10)
	dst = append(dst, `,"device":"`...)
	dst = append(dst, s.Device...) // an ID holds nothing that JSON escapes
	dst = append(dst, `","metric":`...)
	dst = AppendJSONString(dst, string(s.Metric))
	dst = append(dst, `,"time":`...)
	dst = s.Time.AppendMillis(dst)
	return append(dst, `,"value":`...)
}

// Time is a moment in microseconds since the Unix epoch, the resolution of the
// store.
type Time int64

// TimeOf returns the moment t, cut to microseconds.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Std returns the moment as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Add returns the moment d later, cut to microseconds.
func (t Time) Add(d time.Duration) Time { return t + Time(d.Microseconds()) }

// Sub returns how much later t is than u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Microsecond }

// AppendMillis appends the moment in Unix milliseconds. Microseconds appear as
// a decimal fraction, without trailing zeros, and only when there are any.
func (t Time) AppendMillis(dst []byte) []byte {
	ms, us := int64(t)/1000, int64(t)%1000
	if us < 0 {
		us = -us
		if ms == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, ms, 10)
	if us == 0 {
		return dst
	}
	dst = append(dst, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
