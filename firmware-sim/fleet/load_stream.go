package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// loadDevice is a device without firmware.
type loadDevice struct {
	model  *virtual
	format wire.Format
	last   device.Time // of its newest report; the next is later
	seq    uint64
}

// loadStream sends the readings of some devices over one socket. Its fields
// belong to the goroutine of run.
type loadStream struct {
	load    *Load
	number  int
	route   route
	devices []loadDevice
	turn    int  // whose report is next
	ended   bool // the budget is used up

	fields []wire.Field // of the present report: not encoded yet
	buf    []wire.Field
	open   *loadDevice // whose fields they are

	arena    []byte // the payloads of a burst
	ends     []int  // where each of them ends in arena
	readings int64
	messages int64
}

// How much is encoded before it is written: a burst that sendmmsg takes at once,
// or a stream buffer that makes the system call cheap and stays in the cache.
const (
	burstDatagrams = 64
	burstBytes     = 64 << 10
)

func (s *loadStream) run(ctx context.Context, start time.Time) error {
	conn, err := s.load.cfg.Dial(ctx, string(s.route.transport), s.route.address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close() //nolint:errcheck // what was written has been reported
	write := s.streamWriter(conn)
	if s.route.transport == UDP {
		write = s.datagramWriter(conn)
	}
	err = s.send(ctx, start, write)
	if err == nil && s.route.transport == TCP {
		err = drain(conn)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// send generates and writes at the rate of this socket until the end.
func (s *loadStream) send(ctx context.Context, start time.Time, write func() error) error {
	cfg := &s.load.cfg
	p := newPacer(cfg.Rate/float64(cfg.Sockets), start)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if cfg.Duration > 0 && now.Sub(start) >= cfg.Duration {
			return nil
		}
		n, missed := p.grant(now)
		s.load.stats.missed.Add(missed)
		left := int(n)
		for left > 0 && !s.ended {
			left -= s.fill(left, device.TimeOf(now))
			if err := s.flush(write); err != nil {
				return err
			}
		}
		if s.ended {
			return nil
		}
		p.overdraw(int64(-left))
		if n > 0 && p.rate == 0 {
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		wait := p.wait(now)
		if cfg.Duration > 0 {
			wait = min(wait, start.Add(cfg.Duration).Sub(now))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// fill encodes payloads until they hold so many readings, or a burst is full, and
// returns how many readings they are. The last payload may go beyond the limit.
func (s *loadStream) fill(limit int, now device.Time) int {
	s.arena, s.ends = s.arena[:0], s.ends[:0]
	stream := s.route.transport == TCP
	pack := s.load.cfg.Pack
	if stream {
		pack = 1
	}
	filled := 0
	for filled < limit && !s.ended && len(s.arena) < burstBytes && (stream || len(s.ends) < burstDatagrams) {
		start := len(s.arena)
		for i := range pack {
			if i > 0 && len(s.arena) > start && s.arena[len(s.arena)-1] != '\n' {
				s.arena = append(s.arena, '\n')
			}
			filled += s.message(now, stream)
		}
		if len(s.arena) > start {
			s.ends = append(s.ends, len(s.arena))
		}
	}
	s.readings += int64(filled)
	return filled
}

// message encodes the next message and returns how many readings it has; none at
// the end.
func (s *loadStream) message(now device.Time, stream bool) int {
	if len(s.fields) == 0 {
		s.open = &s.devices[s.turn]
		s.turn = (s.turn + 1) % len(s.devices)
		s.open.last = max(now, s.open.last+1)
		s.buf = s.open.model.all(s.buf[:0], s.open.last)
		s.fields = s.buf
	}
	d := s.open
	n := len(s.fields)
	if batch := s.load.cfg.Batch; batch > 0 {
		n = min(n, batch)
	}
	if s.load.cfg.Seq && d.format == wire.FormatLine {
		n = min(n, sameMeasurement(s.fields))
	}
	if n = s.load.budget.take(n); n == 0 {
		s.ended = true
		return 0
	}
	m := message{format: d.format, device: d.model.id, at: d.last, fields: s.fields[:n]}
	if s.load.cfg.Seq {
		d.seq++
		m.seq, m.hasSeq = d.seq, true
	}
	s.fields = s.fields[n:]
	s.arena = appendPayload(s.arena, &m, stream)
	s.messages++
	return n
}

// flush writes what fill has encoded and counts it.
func (s *loadStream) flush(write func() error) error {
	if err := write(); err != nil {
		return err
	}
	st := &s.load.stats
	st.readings.Add(s.readings)
	st.messages.Add(s.messages)
	st.bytes.Add(int64(len(s.arena)))
	s.readings, s.messages = 0, 0
	return nil
}

func (s *loadStream) streamWriter(conn net.Conn) func() error {
	return func() error {
		_, err := conn.Write(s.arena)
		return err
	}
}

// datagramWriter returns a function that sends the payloads of a burst, with one
// system call where the system can. A datagram that cannot leave is an error in
// the report and no more.
func (s *loadStream) datagramWriter(conn net.Conn) func() error {
	socket, ok := conn.(*net.UDPConn)
	if !ok {
		return func() error {
			at := 0
			for _, end := range s.ends {
				if _, err := conn.Write(s.arena[at:end]); err != nil {
					s.load.stats.fail(err)
				}
				at = end
			}
			return nil
		}
	}
	packets := ipv4.NewPacketConn(socket)
	burst := make([]ipv4.Message, burstDatagrams)
	for i := range burst {
		burst[i].Buffers = make([][]byte, 1)
	}
	return func() error {
		at := 0
		for i, end := range s.ends {
			burst[i].Buffers[0] = s.arena[at:end]
			at = end
		}
		for left := burst[:len(s.ends)]; len(left) > 0; {
			n, err := packets.WriteBatch(left, 0)
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			if err != nil {
				s.load.stats.fail(err)
				n = max(n, 1)
			}
			left = left[n:]
		}
		return nil
	}
}

// drain ends a stream and waits until the server has read all of it, which it
// shows by ending it too.
func drain(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(closeTimeout)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
