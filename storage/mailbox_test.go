package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// post is a store that runs in a bubble, with its mailbox.
type post struct {
	*Mailbox
	dir  string
	log  *Log
	stop func()

	mu   sync.Mutex
	told []device.ID
}

func openPost(t *testing.T, dir string) *post {
	t.Helper()
	p := &post{dir: dir}
	l, err := Open(Config{Dir: dir, OnCommand: func(id device.ID) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = append(p.told, id)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	p.Mailbox, p.log = l.Mailbox(), l
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// send keeps a command of this name for an hour.
func (p *post) send(t *testing.T, id device.ID, name string) uint64 {
	t.Helper()
	c, err := p.Send(device.Order{Device: id, Name: name, Value: []byte("true"), Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}

// next returns the name of the command that gh1 is told.
func (p *post) next() string {
	c, ok := p.Next("gh1")
	if !ok {
		return ""
	}
	return c.Name
}

// states returns the commands of a device, the oldest first.
func (p *post) states(id device.ID) (out []string) {
	for _, c := range slices.Backward(p.Commands(id)) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", c.Name, c.State, c.Tries, c.Result)))
	}
	return out
}

func (p *post) expect(t *testing.T, what string, id device.ID, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, p.states(id)); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// crash opens what is on the disk now as another store.
func (p *post) crash(t *testing.T) *post {
	t.Helper()
	file, err := os.ReadFile(hotPath(p.dir))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(hotPath(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	return openPost(t, dir)
}

func TestMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPost(t, t.TempDir())
		if got := p.next(); got != "" {
			t.Errorf("told %q, and there is none", got)
		}
		first, second, other := p.send(t, "gh1", "open"), p.send(t, "gh1", "close"), p.send(t, "gh2", "reboot")
		if second != first+1 || other != second+1 {
			t.Errorf("ids %d %d %d, want one after the other", first, second, other)
		}
		q := p.crash(t)
		q.expect(t, "sent, then a crash", "gh1", "open waiting 0", "close waiting 0")
		q.stop()

		if got := p.next(); got != "open" {
			t.Errorf("told %q, want the oldest", got)
		}
		if got := p.next(); got != "" {
			t.Errorf("told %q at once again", got)
		}
		time.Sleep(tellAgain) //nolint:forbidigo // of the bubble
		if got := p.next(); got != "open" {
			t.Errorf("told %q, want the oldest again, nothing came of it", got)
		}
		p.expect(t, "told twice", "gh1", "open sent 2", "close waiting 0")

		for _, o := range []device.Outcome{{Command: second + 10}, {Command: other}} {
			if p.Settle("gh1", o) != nil {
				t.Errorf("outcome %s of another's or nobody's command was taken", o)
			}
		}
		saved := p.Settle("gh1", device.Outcome{Command: first, Text: "was open"})
		<-saved
		q = p.crash(t)
		q.expect(t, "done, then a crash", "gh1", "open done 2 was open", "close waiting 0")
		q.stop()
		if got := p.next(); got != "close" {
			t.Errorf("told %q, want the next", got)
		}
		<-p.Settle("gh1", device.Outcome{Command: second, Failed: true, Text: "valve stuck"})
		<-p.Settle("gh1", device.Outcome{Command: second}) // once is enough
		p.expect(t, "both ended", "gh1", "open done 2 was open", "close failed 1 valve stuck")
		if p.Open() != 1 {
			t.Errorf("%d open, want that of gh2", p.Open())
		}
		synctest.Wait()
		p.mu.Lock()
		told := slices.Compact(slices.Clone(p.told))
		p.mu.Unlock()
		if want := []device.ID{"gh1", "gh2", "gh1"}; !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
		p.stop()
		p = openPost(t, p.dir)
		p.expect(t, "opened again", "gh1", "open done 2 was open", "close failed 1 valve stuck")
		p.expect(t, "opened again", "gh2", "reboot waiting 0")
		if id := p.send(t, "gh2", "more"); id != other+1 {
			t.Errorf("id %d after opening again, want %d", id, other+1)
		}
		p.stop()
	})
}

func TestMailboxEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPost(t, t.TempDir())
		late, gone := p.send(t, "gh1", "late"), p.send(t, "gh1", "gone")
		if _, err := p.Cancel(t.Context(), "gh2", gone); !errors.Is(err, device.ErrNoCommand) {
			t.Error(err)
		}
		if c, err := p.Cancel(t.Context(), "gh1", gone); err != nil || c.State != device.CommandCancelled {
			t.Error(c, err)
		}
		if _, err := p.Cancel(t.Context(), "gh1", gone); !errors.Is(err, device.ErrCommandEnded) {
			t.Error(err)
		}
		if p.Settle("gh1", device.Outcome{Command: gone}); p.Commands("gh1")[0].State != device.CommandCancelled {
			t.Error("what was never told has been done")
		}
		p.next()
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
		p.expect(t, "expired", "gh1", "late expired 1", "gone cancelled 0")
		if got := p.next(); got != "" || p.Open() != 0 {
			t.Errorf("told %q, %d open after all have ended", got, p.Open())
		}
		<-p.Settle("gh1", device.Outcome{Command: late})
		p.expect(t, "an outcome that comes late", "gh1", "late done 1", "gone cancelled 0")

		told := p.send(t, "gh1", "told")
		p.next()
		if _, err := p.Cancel(t.Context(), "gh1", told); err != nil {
			t.Error(err)
		}
		<-p.Settle("gh1", device.Outcome{Command: told})
		p.expect(t, "cancelled too late", "gh1", "late done 1", "gone cancelled 0", "told done 1")
		p.stop()
	})
}

func TestMailboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPost(t, t.TempDir())
		if _, err := p.Send(device.Order{Device: "gh1", Name: "no good", Life: time.Hour}); !errors.Is(err, device.ErrInvalid) {
			t.Error(err)
		}
		for round := range 4 {
			for range maxOpenCommands {
				p.send(t, "gh1", "x")
			}
			if _, err := p.Send(device.Order{Device: "gh1", Name: "x", Life: time.Hour}); !errors.Is(err, device.ErrMailboxFull) {
				t.Errorf("round %d: %v", round, err)
			}
			p.send(t, "gh2", "y")
			time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
			p.next()
			synctest.Wait()
		}
		if got := len(p.Commands("gh1")); got != keptCommands {
			t.Errorf("%d kept, want %d", got, keptCommands)
		}
		if got := len(p.Commands("gh2")); got != 4 {
			t.Errorf("%d of the other kept, want 4", got)
		}
		p.stop()
		p = openPost(t, p.dir)
		if got := len(p.Commands("gh1")); got != keptCommands {
			t.Errorf("%d on the disk, want %d", got, keptCommands)
		}
		p.stop()
	})
}

// A damaged command is left out, and said to be.
func TestMailboxDamaged(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := l.Mailbox().Send(device.Order{Device: "gh1", Name: name, Life: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketCommands)
		key, value := b.Cursor().First()
		key, value = slices.Clone(key), slices.Clone(value)
		value[len(value)-3] ^= 1
		other := numberKey(1 << 40)
		return errors.Join(b.Put(key, value), b.Put(other, boltfile.Seal(other, []byte(`{"device":"gh1","state":"flying"}`))))
	})
	report, err := Check(t.Context(), dir, CheckOptions{})
	if err != nil || len(report.Problems) != 2 || !strings.Contains(report.Problems[0].What, "command ") {
		t.Errorf("check: %+v, %v", report, err)
	}
	var said bytes.Buffer
	l = openLog(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if cs := l.Mailbox().Commands("gh1"); len(cs) != 1 || cs[0].Name != "b" {
		t.Errorf("commands %+v, want the sound one", cs)
	}
	if got := strings.Count(said.String(), "a command was damaged"); got != 2 {
		t.Errorf("%d lines, want 2: %s", got, said.String())
	}
}
