package listen

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
)

func TestCoAPBlocks(t *testing.T) {
	part := strings.Repeat("#", 15) + "\n"
	block := func(n uint32, more bool, exp uint8) coap.Option {
		return coap.Block{Number: n, More: more, Exp: exp}.Option(coap.Block1)
	}
	type step struct {
		payload string
		options []coap.Option
		want    string
	}
	for _, c := range []struct {
		name     string
		steps    []step
		readings string
	}{
		{"three blocks", []step{
			{part, []coap.Option{block(0, true, 0)}, "2.31"},
			{"a,device=a v=1\nb", []coap.Option{block(1, true, 0)}, "2.31"},
			{" v=2", []coap.Option{block(2, false, 0)}, "2.04"},
		}, "a a.v=1; ip-192.168.1.9 b.v=2"},
		{"one block", []step{{"t v=1", []coap.Option{block(0, false, 0)}, "2.04"}}, "ip-192.168.1.9 t.v=1"},
		{"larger, then smaller blocks", []step{
			{part + part, []coap.Option{block(0, true, 1)}, "2.31"},
			{part, []coap.Option{block(2, true, 0)}, "2.31"},
			{"t v=1", []coap.Option{block(3, false, 0)}, "2.04"},
		}, "ip-192.168.1.9 t.v=1"},
		{"begun anew", []step{
			{part, []coap.Option{block(0, true, 0)}, "2.31"},
			{part, []coap.Option{block(0, true, 0)}, "2.31"},
			{"t v=1", []coap.Option{block(1, false, 0)}, "2.04"},
		}, "ip-192.168.1.9 t.v=1"},
		{"gap", []step{
			{part, []coap.Option{block(0, true, 0)}, "2.31"},
			{part, []coap.Option{block(2, true, 0)}, "4.08"},
			{part, []coap.Option{block(1, true, 0)}, "4.08"},
		}, ""},
		{"another query", []step{
			{part, []coap.Option{option(coap.URIQuery, "d=a"), block(0, true, 0)}, "2.31"},
			{"t v=1", []coap.Option{option(coap.URIQuery, "d=b"), block(1, false, 0)}, "4.08"},
		}, ""},
		{"no beginning", []step{{"t v=1", []coap.Option{block(1, false, 0)}, "4.08"}}, ""},
		{"short block", []step{{"t v=1", []coap.Option{block(0, true, 0)}, "4.00"}}, ""},
		{"long block", []step{{part + part, []coap.Option{block(0, false, 0)}, "4.00"}}, ""},
		{"reserved size", []step{{part, []coap.Option{block(0, true, 7)}, "4.00"}}, ""},
		{"announced too large", []step{{part, []coap.Option{block(0, true, 0), coap.UintOption(coap.Size1, maxUpload+1)}, "4.13"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCoAPAir(t, 0)
				for i, s := range c.steps {
					w.tell(t, coapDevice, asked(0, coap.POST, uint16(i), "r", s.payload, s.options...))
					if got := strings.Join(w.heard(), ";"); !strings.HasPrefix(got, "0s ACK "+s.want+" ") {
						t.Errorf("block %d: %s, want %s", i, got, s.want)
					}
				}
				if got := strings.Join(w.sink.texts(), "; "); got != c.readings {
					t.Errorf("readings %q, want %q", got, c.readings)
				}
				if s := w.held(); c.readings != "" && s.Uploading != 0 {
					t.Errorf("%d bytes are kept", s.Uploading)
				}
				w.stop()
			})
		})
	}
}

// TestCoAPUploadBounds: how much of payloads in blocks is held, by one peer and
// by all, and that it does not stay.
func TestCoAPUploadBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 0)
		part := strings.Repeat("#", 1024)
		upload := func(peer ingest.Peer, blocks int) (last string) {
			for i := range blocks {
				o := coap.Block{Number: uint32(i), More: true, Exp: 6}.Option(coap.Block1)
				w.tell(t, peer, asked(0, coap.POST, uint16(i), "r", part, o))
			}
			all := w.heard()
			return all[len(all)-1]
		}
		if got := upload(coapDevice, 65); !strings.Contains(got, " 4.13 ") || w.held().Uploading != 0 {
			t.Error(got)
		}
		peer := coapDevice
		for i := range 64 {
			peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), uint16(10_000+i))
			if got := upload(peer, 64); !strings.Contains(got, " 2.31 ") {
				t.Fatal(i, got)
			}
		}
		if got := upload(coapDevice, 1); !strings.Contains(got, " 4.29 ") || w.held().Uploading != maxUploading {
			t.Error(got, w.held())
		}
		time.Sleep(uploadLife + sweepEvery) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if s := w.held(); s.Uploading != 0 {
			t.Errorf("%+v stay", s)
		}
		w.stop()
	})
}
