package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// lineView prints a line for each reading.
type lineView struct {
	w, stderr io.Writer
	json      bool
}

func (v *lineView) show(raw json.RawMessage, r liveReading) error {
	if v.json {
		_, err := fmt.Fprintf(v.w, "%s\n", raw)
		return err
	}
	at := time.UnixMicro(int64(r.Time * 1000)).Format("2006-01-02 15:04:05.000")
	_, err := fmt.Fprintf(v.w, "%s  %s  %s  %s\n", at, r.Device, printable(r.Metric), printable(string(r.Value)))
	return err
}

func (v *lineView) note(text string) { _, _ = fmt.Fprintln(v.stderr, "naru:", printable(text)) }
func (v *lineView) flush() error     { return nil }

// printable keeps what devices send from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}

// redraw is how often a table is drawn at most, since nobody reads faster, and
// tick how often at least, since the ages grow.
const (
	redraw = 200 * time.Millisecond
	tick   = time.Second
)

// tableView draws the newest reading of each series, in place. Its methods may
// be called concurrently.
type tableView struct {
	w    io.Writer
	size func() (width, height int, err error) // of the terminal

	mu     sync.Mutex // guards following
	rows   map[[2]string]*tableRow
	keys   [][2]string // sorted
	total  int
	status string
	drawn  time.Time
	lines  int // of the last drawing
}

type tableRow struct {
	value string
	at    time.Time
}

func newTableView(f *os.File) *tableView {
	return &tableView{
		w: f, size: func() (width, height int, err error) { return term.GetSize(int(f.Fd())) },
		rows: map[[2]string]*tableRow{},
	}
}

func (v *tableView) show(_ json.RawMessage, r liveReading) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := [2]string{r.Device, r.Metric}
	row := v.rows[key]
	if row == nil {
		row = &tableRow{}
		v.rows[key] = row
		at, _ := slices.BinarySearchFunc(v.keys, key, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
		v.keys = slices.Insert(v.keys, at, key)
	}
	row.value, row.at = string(r.Value), time.UnixMicro(int64(r.Time*1000))
	v.total++
	v.status = ""
	return nil
}

func (v *tableView) note(text string) {
	v.mu.Lock()
	v.status = text
	v.drawn = time.Time{}
	v.mu.Unlock()
	_ = v.flush()
}

// run keeps the ages true until ctx is done.
func (v *tableView) run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = v.flush()
		}
	}
}

// flush draws the table if the last drawing is old enough.
func (v *tableView) flush() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if now.Sub(v.drawn) < redraw {
		return nil
	}
	v.drawn = now
	width, height, err := v.size()
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24 // a serial console does not know its size
	}
	_, err = io.WriteString(v.w, v.drawLocked(width, height, now))
	return err
}

// drawLocked returns what draws the table over the last drawing. The line below
// the table stays free, for the cursor. The caller holds mu.
func (v *tableView) drawLocked(width, height int, now time.Time) string {
	var b strings.Builder
	if v.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.lines)
	}
	v.lines = 0
	line := func(style, text string) {
		runes := []rune(printable(text))
		fmt.Fprintf(&b, "\r\x1b[K%s%s\x1b[0m\n", style, string(runes[:min(len(runes), width-1)]))
		v.lines++
	}
	line("\x1b[1m", fmt.Sprintf("%-24s %-32s %16s  %s", "device", "metric", "value", "age"))
	room := min(max(height-3, 0), len(v.keys))
	for _, key := range v.keys[:room] {
		row := v.rows[key]
		line("", fmt.Sprintf("%-24s %-32s %16s  %s", key[0], key[1], row.value, age(now.Sub(row.at))))
	}
	foot := fmt.Sprintf("%d series, %d readings", len(v.keys), v.total)
	if hidden := len(v.keys) - room; hidden > 0 {
		foot += fmt.Sprintf(", %d series below; narrow with --device and --metric", hidden)
	}
	if v.status != "" {
		foot = v.status
	}
	line("\x1b[2m", foot)
	b.WriteString("\x1b[J") // the last drawing may have had more lines
	return b.String()
}

// age writes a duration as a person would say it.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "ahead"
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}
