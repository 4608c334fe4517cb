package fleet

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestDTLSSession holds that a device keeps its session, opens another one when
// nothing is answered in it any more, and after it has restarted.
func TestDTLSSession(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, cfg Config, answer func(srv *server) func(uint64, int) string) (*server, Report) {
		srv := newServer(t, nil)
		srv.answer = answer(srv)
		cfg.Target = srv.targetOver(DTLS)
		cfg.Devices, cfg.Kinds, cfg.Acks.Share, cfg.Acks.Window, cfg.FirstSeq = 1, []string{"weather"}, 1, 1, 1
		cfg.Interval = max(cfg.Interval, sec)
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		return srv, f.Report()
	}
	t.Run("kept", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, r := run(t, Config{Duration: time.Hour}, func(*server) func(uint64, int) string { return ack })
			if srv.dials != 1 || len(srv.proved) != 1 || r.Acknowledged != 3600 {
				t.Errorf("%d connections, %q, report %+v", srv.dials, srv.proved, r)
			}
		})
	})
	t.Run("forgotten by the server", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, r := run(t, Config{Duration: 90 * sec}, func(srv *server) func(uint64, int) string {
				return func(seq uint64, n int) string {
					if seq >= 10 && srv.dials == 1 {
						return ""
					}
					return ack(seq, n)
				}
			})
			if srv.dials != 2 || len(srv.proved) != 2 || r.Unacknowledged != 0 || r.Reconnects != 1 || r.Errors != 1 {
				t.Errorf("%d connections, %q, report %+v", srv.dials, srv.proved, r)
			}
			if want := []string{errDeaf.Error()}; !slices.Equal(r.FirstErrors, want) {
				t.Errorf("errors %q, want %q", r.FirstErrors, want)
			}
		})
	})
	t.Run("kept by a device that reports seldom", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, r := run(t, Config{Duration: time.Hour, Interval: 5 * time.Minute}, func(*server) func(uint64, int) string {
				return func(seq uint64, n int) string {
					if n == 1 {
						return ""
					}
					return ack(seq, n)
				}
			})
			if srv.dials != 1 || r.Acknowledged != 12 || r.Retransmitted != 12 || r.Errors > 0 {
				t.Errorf("%d connections, report %+v", srv.dials, r)
			}
		})
	})
	t.Run("restarts", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, r := run(t, Config{Duration: 100 * sec, Reboot: 30 * sec, Seed: 5}, func(*server) func(uint64, int) string { return ack })
			if r.Reboots == 0 || int64(srv.dials) != r.Reboots+1 || len(srv.proved) != srv.dials {
				t.Errorf("%d connections, %q, report %+v", srv.dials, srv.proved, r)
			}
		})
	})
}

// TestBadLink holds that over a bad link every message is acknowledged at last, by
// each transport of datagrams, also where a session lies between.
func TestBadLink(t *testing.T) {
	t.Parallel()
	for _, over := range []Transport{UDP, DTLS, CoAP, CoAPS} {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, ack)
				f, err := New(Config{
					Target: srv.targetOver(over), Devices: 1, Kinds: []string{"weather"}, Interval: sec, Duration: 200 * sec, FirstSeq: 1,
					Acks: Acks{Share: 1}, Loss: 0.1, Duplicate: 0.05, Reorder: 0.1, Jitter: 30 * time.Millisecond, Seed: 6, NoObserve: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				r := f.Report()
				if r.Acknowledged != r.AskedForAck || r.AskedForAck < 100 || r.Lost == 0 || r.Duplicated == 0 || r.Reordered == 0 || r.Errors > 0 {
					t.Errorf("report %+v", r)
				}
				if len(srv.seen) != int(r.AskedForAck) {
					t.Errorf("%d of %d messages were heard", len(srv.seen), r.AskedForAck)
				}
			})
		})
	}
}
