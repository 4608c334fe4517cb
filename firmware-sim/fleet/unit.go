package fleet

import (
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// unit is a virtual device that reports at its interval: the source of a sender.
type unit struct {
	model    *virtual
	format   wire.Format
	interval time.Duration
	phase    time.Duration // first live report after start
	batch    int           // readings of one message at most; 0: no bound
	numbered bool          // messages have a seq
	token    string        // beside the readings; empty: none
	keepSeq  bool
	seq      uint64 // next
	stats    *stats
	budget   *budget

	start  time.Time
	end    time.Time // zero: never
	epoch  time.Time // moment of report number first
	first  int64
	report int64 // next one; negative: backfill
	past   int64 // reports of the backfill
	step   time.Duration

	fresh  bool // the next report is of all sensors, as after power on
	buf    []wire.Field
	fields []wire.Field // of buf: not sent yet
	at     device.Time
	due    time.Time
	kept   []kept // what commands have set
}

// kept is a value that a command has set. It is reported at once and every so many
// reports.
type kept struct {
	wire.Field
	changed bool // and not reported yet
}

const keptEvery = 10

// Bounds of the backfill of one device. A longer one is measured less often, to
// fill a sparkline without flooding the server; and since it goes out at once, it
// is spread over moments that even a small socket buffer takes.
const (
	backfillReports = 180
	backfillBurst   = 8
	backfillPause   = 10 * time.Millisecond
)

// begin sets the moment at which the fleet starts.
func (u *unit) begin(start time.Time, duration, backfill time.Duration) {
	u.start, u.fresh = start, true
	u.epoch, u.first = start.Add(u.phase), 0
	if duration > 0 {
		u.end = start.Add(duration)
	}
	if backfill > 0 {
		u.past = min(int64(backfill/u.interval), backfillReports)
		u.report = -u.past
	}
	if u.past > 0 {
		u.step = backfill / time.Duration(u.past)
	}
}

// measuredAt returns the moment of report k.
func (u *unit) measuredAt(k int64) time.Time {
	if k < 0 {
		return u.start.Add(u.phase + time.Duration(k)*u.step)
	}
	return u.epoch.Add(time.Duration(k-u.first) * u.interval)
}

func (u *unit) dueAt(k int64) time.Time {
	if k < 0 {
		return u.start.Add(time.Duration((k+u.past)/backfillBurst) * backfillPause)
	}
	return u.measuredAt(k)
}

func (u *unit) next(m *message, now time.Time) (time.Time, bool) {
	for len(u.fields) == 0 {
		u.skipMissed(now)
		if !u.measure() {
			return time.Time{}, false
		}
	}
	n := u.messageLen()
	if n = u.budget.take(n); n == 0 {
		return time.Time{}, false
	}
	*m = message{format: u.format, device: u.model.id, at: u.at, fields: u.fields[:n], token: u.token}
	u.fields = u.fields[n:]
	if u.numbered {
		m.seq, m.hasSeq = u.seq, true
		u.seq++
	}
	return u.due, true
}

// skipMissed leaves out reports that were due while the device was busy
// sending, unless it can still catch up.
func (u *unit) skipMissed(now time.Time) {
	late := now.Sub(u.dueAt(max(u.report, 0)))
	if late <= max(u.interval, time.Second) {
		return
	}
	missed := int64(late / u.interval)
	u.stats.missed.Add(missed)
	u.report = max(u.report, 0) + missed
}

// measure makes the next report and reports whether there is one. It may be one
// without readings.
func (u *unit) measure() bool {
	k := u.report
	u.due = u.dueAt(k)
	if !u.end.IsZero() && !u.due.Before(u.end) {
		return false
	}
	u.report++
	u.at = deviceTime(u.measuredAt(k))
	if u.fresh || k == 0 {
		u.buf = u.model.all(u.buf[:0], u.at)
	} else {
		u.buf = u.model.report(u.buf[:0], k, u.at, deviceTime(u.measuredAt(k-1)))
	}
	for i := range u.kept {
		if v := &u.kept[i]; v.changed || u.fresh || k%keptEvery == 0 {
			u.buf = append(u.buf, v.Field)
			v.changed = false
		}
	}
	u.fields = u.buf
	u.fresh = false
	return true
}

// keep makes a value one of the device's readings.
func (u *unit) keep(metric string, v wire.Value) {
	if now := u.keptValue(metric); now != nil {
		*now = v
	} else {
		u.kept = append(u.kept, kept{Field: wire.Field{Metric: []byte(metric), Value: v}})
	}
	for i := range u.kept {
		if string(u.kept[i].Metric) == metric {
			u.kept[i].changed = true
		}
	}
}

// keptValue returns a value that a command has set; nil when none has.
func (u *unit) keptValue(metric string) *wire.Value {
	for i := range u.kept {
		if string(u.kept[i].Metric) == metric {
			return &u.kept[i].Value
		}
	}
	return nil
}

// setInterval makes the next report due one interval from now, and so on.
func (u *unit) setInterval(d time.Duration, now time.Time) {
	u.report = max(u.report, 0)
	u.interval, u.epoch, u.first = d, now.Add(d), u.report
}

// takeBack takes a message that has not been sent, and what is left of its report.
func (u *unit) takeBack(m *message) {
	u.fields, u.fresh = nil, true
	u.budget.giveBack(len(m.fields))
	if u.numbered {
		u.seq = m.seq
	}
}

// messageLen returns how many of the fields the next message takes. A line has a
// seq of its own, so a numbered message is of one measurement.
func (u *unit) messageLen() int {
	n := len(u.fields)
	if u.batch > 0 {
		n = min(n, u.batch)
	}
	if u.format != wire.FormatLine || !u.numbered {
		return n
	}
	return min(n, sameMeasurement(u.fields))
}

// restarted begins anew: with a complete report and, in most firmware, seq 1.
func (u *unit) restarted() {
	u.fields, u.fresh = nil, true
	if !u.keepSeq {
		u.seq = 1
	}
}
