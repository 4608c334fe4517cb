package fleet

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Report is what was sent and what became of it.
type Report struct {
	// Elapsed is how long the run has lasted.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Readings, Messages and Bytes were sent; retransmissions and duplicates
	// count as bytes only. Bytes are those of datagrams, and of the payloads in
	// streams and requests of HTTP.
	Readings int64 `json:"readings"`
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
	// AskedForAck messages wanted an answer. Each is at last Acknowledged,
	// Refused or Unacknowledged; the latter were given up, were forgotten in a
	// reboot or have waited when the run ended.
	AskedForAck    int64 `json:"asked_for_ack"`
	Acknowledged   int64 `json:"acknowledged"`
	Unacknowledged int64 `json:"unacknowledged"`
	// Refused counts refusals by the server's reason.
	Refused       map[string]int64 `json:"refused,omitempty"`
	Retransmitted int64            `json:"retransmitted"`
	// Lost, Duplicated and Reordered datagrams were treated so on purpose.
	Lost       int64 `json:"lost_on_purpose"`
	Duplicated int64 `json:"duplicated_on_purpose"`
	Reordered  int64 `json:"reordered_on_purpose"`
	Reboots    int64 `json:"reboots"`
	// Commands were carried out, FailedCommands of them in vain.
	Commands       int64 `json:"commands"`
	FailedCommands int64 `json:"failed_commands"`
	Reconnects     int64 `json:"reconnects"`
	// Missed reports were due while the device could not send.
	Missed int64 `json:"missed"`
	// Errors counts failed sends, unreadable answers and, in a replay, lines
	// that could not be read. FirstErrors are the first few of them.
	Errors      int64    `json:"errors"`
	FirstErrors []string `json:"first_errors,omitempty"`
	// P50 to Max are the time from sending a message for the first time to its
	// acknowledgement; zero without acknowledgements. The percentiles are exact to 1/16.
	P50 time.Duration `json:"ack_p50_ns"`
	P90 time.Duration `json:"ack_p90_ns"`
	P99 time.Duration `json:"ack_p99_ns"`
	Max time.Duration `json:"ack_max_ns"`
}

// Rate is how many readings were sent in a second, on the average.
func (r *Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Readings) / r.Elapsed.Seconds()
}

// Bounds of what a server can make a report hold.
const (
	maxReasons     = 32
	maxReasonLen   = 64
	maxFirstErrors = 10
)

// stats counts for a Report. Its methods may be called concurrently.
type stats struct {
	readings, messages, bytes   atomic.Int64
	asked, acked, unacked       atomic.Int64
	retransmitted               atomic.Int64
	lost, duplicated, reordered atomic.Int64
	reboots, reconnects, missed atomic.Int64
	commands, failedCommands    atomic.Int64
	errors                      atomic.Int64
	connected                   atomic.Int64 // connections that could be opened
	latencies                   latencies

	mu          sync.Mutex // guards following
	refused     map[string]int64
	firstErrors []string
	began       time.Time
	ended       time.Time
}

func (s *stats) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.ended = time.Now(), time.Time{}
}

func (s *stats) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
}

func (s *stats) refuse(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(reason) > maxReasonLen {
		reason = reason[:maxReasonLen]
	}
	if _, known := s.refused[reason]; !known && len(s.refused) >= maxReasons {
		reason = "other"
	}
	if s.refused == nil {
		s.refused = make(map[string]int64)
	}
	s.refused[reason]++
}

func (s *stats) fail(err error) {
	s.errors.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.firstErrors) < maxFirstErrors {
		s.firstErrors = append(s.firstErrors, err.Error())
	}
}

// report returns the counts so far.
func (s *stats) report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.latencies.quantiles(0.5, 0.9, 0.99)
	r := Report{
		Readings: s.readings.Load(), Messages: s.messages.Load(), Bytes: s.bytes.Load(),
		AskedForAck: s.asked.Load(), Acknowledged: s.acked.Load(), Unacknowledged: s.unacked.Load(),
		Refused: maps.Clone(s.refused), Retransmitted: s.retransmitted.Load(),
		Lost: s.lost.Load(), Duplicated: s.duplicated.Load(), Reordered: s.reordered.Load(),
		Commands: s.commands.Load(), FailedCommands: s.failedCommands.Load(),
		Reboots: s.reboots.Load(), Reconnects: s.reconnects.Load(), Missed: s.missed.Load(),
		Errors: s.errors.Load(), FirstErrors: append([]string(nil), s.firstErrors...),
		P50: q[0], P90: q[1], P99: q[2], Max: time.Duration(s.latencies.longest.Load()) * time.Microsecond,
	}
	switch {
	case s.began.IsZero():
	case s.ended.IsZero():
		r.Elapsed = time.Since(s.began)
	default:
		r.Elapsed = s.ended.Sub(s.began)
	}
	return r
}
