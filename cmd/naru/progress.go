package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

const (
	// progressRedraw is how often a bar moves, progressLine how often progress is
	// told where there is no terminal.
	progressRedraw = 200 * time.Millisecond
	progressLine   = 5 * time.Second

	barWidth = 24

	// maxLeft is the longest time that is told; nobody waits for it.
	maxLeft = 1e9 * time.Second
)

// progress tells how far something long is: a bar on a terminal, a line now and
// then elsewhere. Its methods may be called concurrently.
type progress struct {
	w        io.Writer
	terminal bool
	quiet    bool
	what     string               // import
	amount   func(float64) string // writes down what is counted
	total    atomic.Int64         // 0: not known
	started  time.Time
	done     atomic.Int64

	mu    sync.Mutex // guards following
	shown bool       // a bar stands on the line of the cursor
	end   chan struct{}
	ended sync.WaitGroup
}

// newProgress returns the progress of what; run shows it.
func newProgress(w io.Writer, quiet bool, what string, total int64, amount func(float64) string) *progress {
	f, ok := w.(*os.File)
	p := &progress{
		w: w, terminal: ok && term.IsTerminal(int(f.Fd())), quiet: quiet,
		what: what, amount: amount, started: time.Now(), end: make(chan struct{}),
	}
	p.total.Store(total)
	return p
}

// run shows the progress until stop.
func (p *progress) run() {
	if p.quiet {
		return
	}
	p.ended.Go(func() {
		every := progressLine
		if p.terminal {
			every = progressRedraw
		}
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-p.end:
				return
			case <-t.C:
				p.show()
			}
		}
	})
}

// stop takes the bar away.
func (p *progress) stop() {
	close(p.end)
	p.ended.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
}

// elapsed returns for how long it has been running, never 0.
func (p *progress) elapsed() time.Duration { return max(time.Since(p.started), time.Microsecond) }

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.text(p.elapsed())
	if !p.terminal {
		_, _ = fmt.Fprintln(p.w, text) // progress that nobody sees is no failure
		return
	}
	_, _ = fmt.Fprint(p.w, "\r\x1b[K", text)
	p.shown = true
}

// say prints a line, above the bar.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
	_, _ = fmt.Fprintln(p.w, printable(text))
}

func (p *progress) eraseLocked() {
	if p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// text is the line of progress after so much time.
func (p *progress) text(elapsed time.Duration) string {
	done, total := p.done.Load(), p.total.Load()
	rate := float64(done) / elapsed.Seconds()
	if total <= 0 {
		return fmt.Sprintf("%s  %s  %s/s", p.what, p.amount(float64(done)), p.amount(rate))
	}
	part := min(float64(done)/float64(total), 1)
	left := "-"
	if rate > 0 {
		seconds := min(float64(max(total-done, 0))/rate, maxLeft.Seconds())
		left = duration(time.Duration(seconds * float64(time.Second)))
	}
	bar := ""
	if p.terminal {
		full := int(part * barWidth)
		bar = "  [" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
	}
	return fmt.Sprintf("%s%s  %.0f%%  %s of %s  %s/s  %s left", p.what, bar, part*100,
		p.amount(float64(done)), p.amount(float64(total)), p.amount(rate), left)
}

// duration writes a duration as a person would say it.
func duration(d time.Duration) string {
	switch s := int64(d.Round(time.Second).Seconds()); {
	case s >= 48*3600:
		return fmt.Sprintf("%d d", s/86400)
	case s >= 3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
	case s >= 60:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	default:
		return fmt.Sprintf("%d s", s)
	}
}

// bytesText writes 12.3 MB.
func bytesText(n float64) string { return scaled(n, "B") }

// readingsText writes 12.3 k readings.
func readingsText(n float64) string {
	return scaled(n, "readings")
}

func scaled(n float64, unit string) string {
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T"} {
		if n < 1000 {
			break
		}
		n, prefix = n/1000, p
	}
	if unit != "B" && prefix != "" {
		prefix += " "
	}
	if prefix == "" || n >= 100 {
		return fmt.Sprintf("%.0f %s%s", n, prefix, unit)
	}
	return fmt.Sprintf("%.1f %s%s", n, prefix, unit)
}

// counter counts into a progress what is read through it.
type counter struct {
	r io.Reader
	p *progress
}

func (c counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.done.Add(int64(n))
	return n, err
}

// set says how much is done, and how much there is.
func (p *progress) set(done, total int64) {
	p.done.Store(done)
	p.total.Store(total)
}
