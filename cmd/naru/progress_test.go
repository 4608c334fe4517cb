package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		elapsed     time.Duration
		terminal    bool
		amount      func(float64) string
		want        string
	}{
		{0, 0, time.Second, true, bytesText, "import  0 B  0 B/s"},
		{0, 1000, time.Second, true, bytesText, "import  [------------------------]  0%  0 B of 1.0 kB  0 B/s  - left"},
		{1_234_567, 12_345_678, time.Second, true, bytesText, "import  [##----------------------]  10%  1.2 MB of 12.3 MB  1.2 MB/s  9 s left"},
		{500, 1000, 100 * time.Second, false, readingsText, "import  50%  500 readings of 1.0 k readings  5 readings/s  1 min 40 s left"},
		{1, 100_000_000_000, time.Second, false, bytesText, "import  0%  1 B of 100 GB  1 B/s  11574 d left"},
		{10, 100_000, time.Second, false, bytesText, "import  0%  10 B of 100 kB  10 B/s  2 h 46 min left"},
		{1200, 1000, time.Second, true, bytesText, "import  [########################]  100%  1.2 kB of 1.0 kB  1.2 kB/s  0 s left"},
	} {
		p := newProgress(nil, false, "import", c.total, c.amount)
		p.terminal = c.terminal
		p.done.Store(c.done)
		if got := p.text(c.elapsed); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// A bar moves five times a second and goes away; elsewhere a line tells now and
// then; --quiet says nothing.
func TestProgress(t *testing.T) {
	t.Parallel()
	const clear = "\r\x1b[K"
	for _, c := range []struct {
		name            string
		terminal, quiet bool
		wait            time.Duration
		want            string
	}{
		{"terminal", true, false, 450 * time.Millisecond, clear + "import  2 B  10 B/s" + clear + "import  2 B  5 B/s" + clear + "line 3: x\ufffd\n"},
		{"elsewhere", false, false, 11 * time.Second, "import  2 B  0 B/s\nimport  2 B  0 B/s\nline 3: x\ufffd\n"},
		{"quiet", true, true, time.Minute, "line 3: x\ufffd\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				p := newProgress(&out, c.quiet, "import", 0, bytesText)
				p.terminal = c.terminal
				p.done.Store(2)
				p.run()
				<-time.After(c.wait)
				p.say("line 3: x\x1b")
				p.stop()
				if got := out.String(); got != c.want {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		})
	}
}
