package fleet

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

func runLoad(t *testing.T, cfg LoadConfig) (*server, Report) {
	t.Helper()
	srv := newServer(t, nil)
	cfg.Dial = srv.dial
	if cfg.UDP == "" && cfg.TCP == "" {
		cfg.UDP = "server:1"
	}
	l, err := NewLoad(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for the server to hear the rest
	return srv, l.Report()
}

func TestLoad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		cfg      LoadConfig
		readings int64
		took     time.Duration
	}{
		{"a count, as fast as possible", LoadConfig{Count: 5000}, 5000, 0},
		{"a rate for a time", LoadConfig{Rate: 1000, Duration: 3 * sec}, 3000, 3 * sec},
		{"a count at a rate", LoadConfig{Rate: 5000, Count: 10_000}, 10_000, 2 * sec},
		{"one reading a datagram", LoadConfig{Rate: 1000, Batch: 1, Duration: sec}, 1000, sec},
		{"ten messages a datagram", LoadConfig{Rate: 1000, Pack: 10, Duration: sec}, 1000, sec},
		{"many sockets", LoadConfig{Rate: 10_000, Sockets: 8, Duration: sec}, 10_000, sec},
		{"a stream", LoadConfig{Target: Target{TCP: "server:1", Format: wire.FormatLine}, Rate: 1000, Batch: 1, Duration: sec}, 1000, sec},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, r := runLoad(t, tt.cfg)
				spare := max(tt.readings/100, 9*int64(tt.cfg.Pack)) // messages are whole
				if d := tt.readings - r.Readings; d < -spare || d > spare || tt.cfg.Count > 0 && d != 0 {
					t.Errorf("%d readings, want %d", r.Readings, tt.readings)
				}
				if int64(len(srv.heard)) != r.Readings {
					t.Errorf("heard %d of %d", len(srv.heard), r.Readings)
				}
				if d := r.Elapsed - tt.took; d < -10*time.Millisecond || d > 10*time.Millisecond {
					t.Errorf("it took %v, want %v", r.Elapsed, tt.took)
				}
				if tt.cfg.Batch == 1 && r.Messages != r.Readings {
					t.Errorf("%d messages", r.Messages)
				}
				if n := int64(len(srv.payloads)); tt.cfg.Pack > 1 && n > r.Messages/5 {
					t.Errorf("%d datagrams for %d messages", n, r.Messages)
				}
				seen := map[heard]bool{}
				for _, h := range srv.heard {
					key := heard{Device: h.Device, Metric: h.Metric, At: h.At}
					if seen[key] {
						t.Fatalf("two readings of %s %s at %v", h.Device, h.Metric, h.At.Std())
					}
					seen[key] = true
				}
			})
		})
	}
}

func TestLoadNumbersMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, r := runLoad(t, LoadConfig{Devices: 9, Seq: true, Count: 2000})
		last := map[string]uint64{}
		messages := int64(0)
		for _, h := range srv.heard {
			switch n := last[h.Device]; h.Seq {
			case n:
			case n + 1:
				last[h.Device] = h.Seq
				messages++
			default:
				t.Fatalf("%s counts %d after %d", h.Device, h.Seq, n)
			}
		}
		if messages != r.Messages {
			t.Errorf("heard %d of %d messages", messages, r.Messages)
		}
	})
}

// TestLoadOverSockets sends over the loopback, many datagrams per system call.
func TestLoadOverSockets(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // of a test
	l, err := NewLoad(LoadConfig{Target: Target{UDP: conn.LocalAddr().String()}, Devices: 5, Batch: 1, Count: 150})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for n := range 150 { // all of them fit into the smallest receive buffer
		size, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, buf[:size], false); len(got) != 1 {
			t.Fatalf("datagram %d: %d readings", n, len(got))
		}
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	for _, cfg := range []LoadConfig{
		{},
		{Target: Target{UDP: "a:1"}, Devices: -1},
		{Target: Target{UDP: "a:1"}, Rate: -1},
		{Target: Target{UDP: "a:1"}, Sockets: maxSockets + 1},
		{Target: Target{UDP: "a:1"}, Pack: maxPack + 1},
		{Target: Target{UDP: "a:1"}, Kinds: []string{"toaster"}},
		{Target: Target{UDP: "a:1"}, Duration: -1},
	} {
		if _, err := NewLoad(cfg); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		srv := newServer(t, nil)
		srv.refuse = func(n int) error {
			if n == 2 {
				return refused
			}
			return nil
		}
		target := srv.target()
		l, err := NewLoad(LoadConfig{Target: target, Rate: 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context()); !errors.Is(err, refused) {
			t.Errorf("error %v, want %v", err, refused)
		}
	})
}

// BenchmarkLoad is the cost of a reading from sensor to bytes.
func BenchmarkLoad(b *testing.B) {
	for _, format := range formats {
		for _, tt := range []struct {
			name  string
			batch int
		}{{"whole", 0}, {"single", 1}} {
			b.Run(format.String()+"/"+tt.name, func(b *testing.B) {
				l, err := NewLoad(LoadConfig{Target: Target{UDP: "server:1", Format: format}, Sockets: 1, Batch: tt.batch})
				if err != nil {
					b.Fatal(err)
				}
				s := l.streams[0]
				now, readings := noon, 0
				b.ReportAllocs()
				for b.Loop() {
					readings += s.fill(1000, now)
					now += device.Time(1000)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(readings), "ns/reading")
			})
		}
	}
}

// BenchmarkRecords is the cost of a line of a file.
func BenchmarkRecords(b *testing.B) {
	file := newLines()
	r, err := newRecordReader(file)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.next(); err != nil {
			b.Fatal(err)
		}
	}
}

// endless is a file that repeats one line.
type endless struct {
	line []byte
	rest []byte
}

func newLines() *endless {
	return &endless{line: []byte("room-1,temp,1764000000123,20.48\n"), rest: []byte(header)}
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.line
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}
