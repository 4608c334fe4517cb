package storage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// maxOpenCommands is how many commands of one device may want an outcome.
	maxOpenCommands = 16
	// keptCommands is how many of one device are kept, with those that have ended.
	keptCommands = 32
	// maxCommands bounds those of all devices, which are in memory: some 10 MB.
	maxCommands = 10_000
	// firstCommand bounds the id with which a new store begins, by chance: a device
	// that remembers what it did for an older store does not take a new command for
	// an old one.
	firstCommand = 1_000_000
	// tellAgain is how long a device that has been told a command has to answer
	// before it is told again.
	tellAgain = 5 * time.Second
)

// Mailbox keeps the commands that wait for devices. A device is told its oldest
// command until it says what has become of it, and then the next. Its methods may
// be called concurrently.
//
// A command that Send has returned and an outcome whose channel is closed are on the
// disk. That a device has been told is noted later: after a crash it may be told
// again, and does nothing twice, since it knows the id.
type Mailbox struct {
	log  *Log
	wake chan struct{} // told of the first of unsaved; capacity 1
	open atomic.Int64  // commands that may want an outcome

	sending sync.Mutex // admits one Send at a time. Taken before mu

	mu      sync.Mutex // guards following; never held over a write
	boxes   map[device.ID][]*command
	all     int
	unsaved []*command
	saved   chan struct{} // closed when what is unsaved now is on the disk

	owed []chan struct{} // of writes that failed, for what is unsaved still; owned by keep
}

// command is one with what is not kept.
type command struct {
	device.Command
	told    time.Time // when the device was last told
	unsaved bool
	saving  chan struct{} // closed when the last change is on the disk; nil: it is
}

func newMailbox(l *Log) *Mailbox {
	return &Mailbox{log: l, wake: make(chan struct{}, 1), boxes: map[device.ID][]*command{}, saved: make(chan struct{})}
}

// Mailbox returns the mailbox of the store.
func (l *Log) Mailbox() *Mailbox { return l.mailbox }

func (m *Mailbox) now() device.Time { return device.TimeOf(m.log.cfg.Now()) }

// Send keeps a command for a device. Errors wrap device.ErrInvalid or
// device.ErrMailboxFull, or are those of the disk.
func (m *Mailbox) Send(o device.Order) (device.Command, error) {
	now := m.now()
	c, err := o.Command(now)
	if err != nil {
		return device.Command{}, err
	}
	m.sending.Lock()
	defer m.sending.Unlock()
	m.mu.Lock()
	open := openIn(m.boxes[o.Device], now)
	gone := m.oldestLocked(o.Device, now)
	full := open >= maxOpenCommands || gone == nil && m.all >= maxCommands
	m.mu.Unlock()
	if full {
		return device.Command{}, fmt.Errorf("%w: %d for device %q", device.ErrMailboxFull, open, o.Device)
	}
	if err := m.put(&c, gone); err != nil {
		return device.Command{}, fmt.Errorf("storage: commands: %w", err)
	}
	m.mu.Lock()
	if gone != nil {
		m.dropLocked(gone)
	}
	m.addLocked(&command{Command: c})
	m.mu.Unlock()
	m.log.cfg.Logger.Info("a command waits", "device", string(c.Device), "command", c.ID, "name", c.Name, "by", o.By)
	m.tell(c.Device)
	return c, nil
}

// openIn counts the commands that want an outcome.
func openIn(box []*command, now device.Time) (n int) {
	for _, c := range box {
		if at := c.At(now); at.Open() {
			n++
		}
	}
	return n
}

// oldestLocked returns the command that has to go for one more of the device: of
// its own, or when there are too many in all of anybody's, the oldest that has
// ended; nil when none has to or none has ended. The caller holds mu.
func (m *Mailbox) oldestLocked(id device.ID, now device.Time) (oldest *command) {
	look := func(box []*command) {
		for _, c := range box {
			if at := c.At(now); !at.Open() && !c.unsaved && (oldest == nil || c.ID < oldest.ID) {
				oldest = c
			}
		}
	}
	switch {
	case len(m.boxes[id]) >= keptCommands:
		look(m.boxes[id])
	case m.all >= maxCommands:
		for _, box := range m.boxes {
			look(box)
		}
	}
	return oldest
}

// addLocked makes a command known. The caller holds mu.
func (m *Mailbox) addLocked(c *command) {
	m.boxes[c.Device] = append(m.boxes[c.Device], c)
	m.all++
	if c.Open() {
		m.open.Add(1)
	}
}

// dropLocked forgets a command. The caller holds mu.
func (m *Mailbox) dropLocked(c *command) {
	box := slices.DeleteFunc(m.boxes[c.Device], func(o *command) bool { return o == c })
	if m.boxes[c.Device] = box; len(box) == 0 {
		delete(m.boxes, c.Device)
	}
	m.all--
	if c.Open() {
		m.open.Add(-1)
	}
}

// Commands returns those of a device, the newest first.
func (m *Mailbox) Commands(id device.ID) []device.Command {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]device.Command, 0, len(m.boxes[id]))
	for _, c := range slices.Backward(m.boxes[id]) {
		out = append(out, c.At(now))
	}
	return out
}

// Open returns how many commands want an outcome.
func (m *Mailbox) Open() int {
	if m.open.Load() == 0 {
		return 0
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, box := range m.boxes {
		n += openIn(box, now)
	}
	return n
}

// Next returns the command that the device is to be told now, and notes that it
// has been.
func (m *Mailbox) Next(id device.ID) (device.Command, bool) {
	if m.open.Load() == 0 {
		return device.Command{}, false
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.boxes[id] {
		if at := c.At(now); !at.Open() {
			if c.Open() { // expired: nobody looks at it again on the way of an answer
				m.endLocked(c, at.State, at.Ended)
			}
			continue
		}
		if !c.told.IsZero() && time.Since(c.told) < tellAgain {
			return device.Command{}, false
		}
		c.told = time.Now()
		c.Tries++
		if c.Sent == 0 {
			c.State, c.Sent = device.CommandSent, now
			m.saveLocked(c)
		}
		return c.Command, true
	}
	return device.Command{}, false
}

// endLocked ends a command. The caller holds mu.
func (m *Mailbox) endLocked(c *command, state device.CommandState, at device.Time) {
	if c.Open() {
		m.open.Add(-1)
	}
	c.State, c.Ended = state, at
	m.saveLocked(c)
}

// findLocked returns a command of the device, or nil. The caller holds mu.
func (m *Mailbox) findLocked(id device.ID, n uint64) *command {
	for _, c := range m.boxes[id] {
		if c.ID == n {
			return c
		}
	}
	return nil
}

// Settle notes what a device says of a command. The channel is closed when that is
// on the disk, nil when there is nothing to wait for. An outcome counts
// also when the command has expired, or was cancelled too late; one of another
// device's command or of none does not.
func (m *Mailbox) Settle(id device.ID, o device.Outcome) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.findLocked(id, o.Command)
	if c == nil {
		return nil
	}
	if c.Open() || c.State == device.CommandExpired || c.State == device.CommandCancelled && c.Sent != 0 {
		state := device.CommandDone
		if o.Failed {
			state = device.CommandFailed
		}
		c.Result = o.Text
		m.endLocked(c, state, m.now())
		m.log.cfg.Logger.Info("a command has ended", "device", string(id), "command", c.ID, "name", c.Name, "state", state.String())
	}
	return c.saving
}

// Cancel ends a command of which no outcome is known; the device may have been
// told. It returns when that is on the disk. Errors wrap device.ErrNoCommand or device.ErrCommandEnded.
func (m *Mailbox) Cancel(ctx context.Context, id device.ID, n uint64) (device.Command, error) {
	now := m.now()
	m.mu.Lock()
	c := m.findLocked(id, n)
	if c == nil {
		m.mu.Unlock()
		return device.Command{}, fmt.Errorf("%w: %d of device %q", device.ErrNoCommand, n, id)
	}
	if at := c.At(now); !at.Open() {
		m.mu.Unlock()
		return at, fmt.Errorf("%w: %s", device.ErrCommandEnded, at.State)
	}
	m.endLocked(c, device.CommandCancelled, now)
	out, saving := c.Command, c.saving
	m.mu.Unlock()
	select {
	case <-saving:
		return out, nil
	case <-ctx.Done():
		return out, context.Cause(ctx)
	}
}

// saveLocked has a command written soon. The caller holds mu.
func (m *Mailbox) saveLocked(c *command) {
	c.saving = m.saved
	if c.unsaved {
		return
	}
	c.unsaved = true
	m.unsaved = append(m.unsaved, c)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
