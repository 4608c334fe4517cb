package listen

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

const at = "192.168.1.7:5000" // of the device in most tests

// TestSuites: every suite with a key, in both directions.
func TestSuites(t *testing.T) {
	for _, s := range pskSuites {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newAir(t, &DTLS{Keys: oneDevice()})
				w.rec.answer = func(p string) string { return "answer to " + p }
				c := w.dial(t, at, client(deviceID, deviceKey, s))
				buf := make([]byte, 100)
				for i := range 3 {
					write(t, c, fmt.Sprint("t v=", i))
					if n, err := c.Read(buf); err != nil || string(buf[:n]) != fmt.Sprint("answer to t v=", i) {
						t.Errorf("read %q, %v", buf[:n], err)
					}
				}
				synctest.Wait()
				peer, _ := w.rec.state()
				if peer.Device != deviceID || peer.Transport != "dtls" || peer.Addr.String() != at {
					t.Errorf("peer %+v", peer)
				}
				want := []Session{{Addr: netip.MustParseAddrPort(at), Device: deviceID, Suite: s.name, Records: 4}}
				if d := cmp.Diff(want, w.d.Sessions(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
					t.Error("(-want +got):\n", d)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
