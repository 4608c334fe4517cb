package ingest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

type discard struct{ last uint64 }

func (d *discard) Append(rs []device.Reading) (uint64, error) {
	d.last += uint64(len(rs))
	return d.last, nil
}
func (d *discard) Room(context.Context, int) error           { return nil }
func (d *discard) WaitDurable(context.Context, uint64) error { return nil }

// BenchmarkSession takes readings from the payload to the sink; an operation is
// a reading. decode is the part of it that package wire has.
func BenchmarkSession(b *testing.B) {
	plain, numbered := make([][]byte, 1000), make([][]byte, 1000)
	for i := range plain {
		rest := fmt.Sprintf("device=greenhouse-%d,room=a temp=%d.5 %d", i%100, i%40, now.UnixNano()+int64(i)*1e6)
		plain[i] = []byte("climate," + rest)
		numbered[i] = []byte("climate,seq=1000000," + rest)
	}
	lines := append(bytes.Join(plain, []byte{'\n'}), '\n')
	session := func(b *testing.B, stream bool) *Session {
		p := New(Config{Sink: new(discard), Rates: Rates{Readings: 500_000_000, AddressReadings: 500_000_000}})
		go func() { _ = p.Gate().Run(b.Context()) }()
		return p.NewSession(stream, nil)
	}
	// datagrams has the session take them as a socket does that finds 64 a call.
	datagrams := func(payload func(i int) []byte) func(b *testing.B) {
		return func(b *testing.B) {
			s := session(b, false)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				must(b, s.Handle(b.Context(), local, payload(i)))
				if i%64 == 63 {
					must(b, s.Flush(b.Context()))
				}
			}
		}
	}
	b.Run("decode", func(b *testing.B) {
		var dec wire.Decoder
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			for dec.Reset(plain[i%1000], false); dec.Next(); {
			}
		}
	})
	b.Run("datagrams", datagrams(func(i int) []byte { return plain[i%1000] }))
	b.Run("datagrams with seq", datagrams(func(i int) []byte {
		p := numbered[i%1000]
		seq := len("climate,seq=")
		strconv.AppendInt(p[seq:seq:seq+7], int64(1_000_000+i/100%9_000_000), 10)
		return p
	}))
	b.Run("1000 lines a payload", func(b *testing.B) {
		s := session(b, true)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%1000 == 0 {
				must(b, s.Handle(b.Context(), local, lines))
				must(b, s.Flush(b.Context()))
			}
		}
	})
	refused := []byte("climate,device=greenhouse/1,room=a temp=21.5")
	b.Run("refused", datagrams(func(int) []byte { return refused }))
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}
