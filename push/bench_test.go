package push

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/pushtest"
)

// devices returns n readings, each of another device.
func devices(n int) []device.Stored {
	rs := make([]device.Stored, n)
	for i := range rs {
		rs[i] = device.Stored{Reading: device.Reading{
			Device: device.ID("device-" + strconv.Itoa(i)), Metric: "air.temperature", Time: 1_764_000_000_123_000, Value: device.Int(int64(i)),
		}}
	}
	return rs
}

// BenchmarkPublish is one reading a call, of 1,000 devices in turn.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name   string
		topics []string
	}{
		{"no topics", nil},
		{"one narrow topic", []string{"device-7"}},
		{"one wide topic", []string{"*"}},
		{"1000 topics of one device each", func() (out []string) {
			for i := range 1000 {
				out = append(out, "device-"+strconv.Itoa(i))
			}
			return out
		}()},
	} {
		b.Run(c.name, func(b *testing.B) {
			feed := NewFeed(Config{Store: "s", History: &pushtest.Log{}})
			for _, d := range c.topics {
				sel, err := device.NewSelector([]string{d}, nil)
				if err != nil {
					b.Fatal(err)
				}
				s, err := feed.Subscribe(b.Context(), Options{Selector: sel})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
			}
			rs := devices(1000)
			b.ReportAllocs()
			offset := uint64(0)
			for b.Loop() {
				i := offset % 1000
				offset++
				rs[i].Offset = offset
				feed.Publish(rs[i : i+1])
			}
		})
	}
}

// BenchmarkSubscribe is one viewer's coming and going, of one device among 10,000 that
// have sent, while as many others each watch one.
func BenchmarkSubscribe(b *testing.B) {
	feed := NewFeed(Config{Store: "s", History: &pushtest.Log{}})
	rs := devices(10_000)
	for i := range rs {
		rs[i].Offset = uint64(i) + 1
	}
	var sels []device.Selector
	for i := range rs {
		sel, err := device.NewSelector([]string{string(rs[i].Device)}, nil)
		if err != nil {
			b.Fatal(err)
		}
		sels = append(sels, sel)
		s, err := feed.Subscribe(b.Context(), Options{Selector: sel})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
	}
	feed.Publish(rs)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, err := feed.Subscribe(b.Context(), Options{Selector: sels[i%len(sels)], Policy: Policy{Latest: true, Every: time.Second}})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkFanout publishes one reading and has every subscriber take it; an
// operation is a delivery. Nothing is written anywhere.
func BenchmarkFanout(b *testing.B) {
	for _, c := range []struct {
		subscribers, readings int
		own                   bool // each subscriber has a device of its own
	}{{500, 1, false}, {500, 100, false}, {1000, 1000, true}} {
		b.Run(fmt.Sprintf("%d subscribers, %d readings, own=%v", c.subscribers, c.readings, c.own), func(b *testing.B) {
			feed := NewFeed(Config{Store: "s", History: &pushtest.Log{}, Gather: -1})
			var took, ended sync.WaitGroup
			for i := range c.subscribers {
				sel := device.Selector{}
				if c.own {
					var err error
					if sel, err = device.NewSelector([]string{"device-" + strconv.Itoa(i)}, nil); err != nil {
						b.Fatal(err)
					}
				}
				s, err := feed.Subscribe(b.Context(), Options{Selector: sel})
				if err != nil {
					b.Fatal(err)
				}
				ended.Go(func() {
					defer s.Close()
					for {
						f, err := s.Next(context.Background())
						if err != nil {
							if !errors.Is(err, ErrClosed) {
								b.Error(err)
							}
							return
						}
						_ = f.WebSocket()
						took.Add(-f.Readings)
					}
				})
			}
			rs := devices(c.readings)
			each := c.subscribers * c.readings
			if c.own {
				each = c.subscribers
			}
			offset := uint64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += each {
				for i := range rs {
					offset++
					rs[i].Offset = offset
				}
				took.Add(each)
				feed.Publish(rs)
				took.Wait()
			}
			b.StopTimer()
			feed.Close()
			ended.Wait()
		})
	}
}

// BenchmarkFrameBuild builds a frame of readings that are encoded already.
func BenchmarkFrameBuild(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("%d readings", n), func(b *testing.B) {
			feed := NewFeed(Config{Store: "s", History: &pushtest.Log{}})
			s, err := feed.Subscribe(b.Context(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			rs := devices(n)
			for i := range rs {
				rs[i].Offset = uint64(i + 1)
			}
			feed.Publish(rs)
			b.ReportAllocs()
			for b.Loop() {
				s.cursor = 0
				if f, err := s.Poll(b.Context()); err != nil || f.Readings != n {
					b.Fatal(f, err)
				}
			}
		})
	}
}
