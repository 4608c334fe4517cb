package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// ErrInvalidConfig is wrapped by every error of a constructor.
var ErrInvalidConfig = errors.New("invalid configuration")

// Defaults and bounds of a Config.
const (
	DefaultDevices    = 12
	DefaultAckTimeout = 2 * time.Second
	DefaultAckRetries = 8
	DefaultWindow     = 32

	// maxDevices bounds a fleet whose devices have a socket each.
	maxDevices = 100_000
	// maxRate bounds rates where their arithmetic is still exact.
	maxRate = 1e12
	// longestAckWait bounds the wait between two retransmissions.
	longestAckWait = 30 * time.Second
)

// Acks says how messages are acknowledged and sent again.
type Acks struct {
	// Share of the devices asks for acknowledgements: 0 none, 1 all.
	Share float64
	// Timeout is the wait for the first acknowledgement; it doubles with each
	// retransmission, up to 30 s. 0 means DefaultAckTimeout.
	Timeout time.Duration
	// Retries is how often a message is sent again before it is given up.
	// 0 means DefaultAckRetries, a negative number never.
	Retries int
	// Window is how many messages of a device may wait for acknowledgements at
	// once. 0 means DefaultWindow, in a Replay DefaultReplayWindow.
	Window int
}

func (a *Acks) validate() error {
	switch {
	case !isChance(a.Share):
		return fmt.Errorf("%w: share of acknowledged devices %v, want 0 to 1", ErrInvalidConfig, a.Share)
	case a.Timeout < 0:
		return fmt.Errorf("%w: acknowledgement time-out %v", ErrInvalidConfig, a.Timeout)
	case a.Window < 0:
		return fmt.Errorf("%w: window %d", ErrInvalidConfig, a.Window)
	}
	return nil
}

// asks reports whether the i-th device asks for acknowledgements. Multiples of the
// golden section spread those that do evenly over the fleet, whatever the order of
// transports and formats is.
func (a *Acks) asks(i int) bool {
	_, place := math.Modf(float64(i) * (math.Phi - 1))
	return place < a.Share
}

// policy returns the outbox policy of a device that asks, with so large a window
// unless another one is set.
func (a *Acks) policy(window int) *ackPolicy {
	p := &ackPolicy{timeout: DefaultAckTimeout, longest: longestAckWait, retries: DefaultAckRetries, window: window}
	if a.Timeout > 0 {
		p.timeout = a.Timeout
	}
	if a.Retries != 0 {
		p.retries = max(a.Retries, 0)
	}
	if a.Window > 0 {
		p.window = a.Window
	}
	return p
}

// coapPolicy returns that of a device that speaks CoAP, which has rules of its own:
// the first wait is longer by a random part, here the same for all messages of a
// device.
func (a *Acks) coapPolicy(random float64) *ackPolicy {
	p := a.policy(coapWindow)
	if a.Timeout == 0 {
		p.timeout = coapAckTimeout
	}
	if a.Retries == 0 {
		p.retries = coapRetries
	}
	p.timeout += time.Duration(random * coapAckSpread * float64(p.timeout))
	p.longest = p.timeout << p.retries
	return p
}

// Config describes a fleet. Only Target is needed; the zero value of everything
// else is its default.
type Config struct {
	Target
	Acks Acks
	// Devices is how many there are. 0 means DefaultDevices.
	Devices int
	// Kinds limits the fleet to some of Kinds(); empty means all.
	Kinds []string
	// Seed decides names, sensors, faults and losses.
	Seed uint64
	// Rate is how many times as often as in nature devices report; 0 means 1.
	Rate float64
	// ReadingsPerSecond, when positive, replaces Rate by what makes the whole
	// fleet send about so many.
	ReadingsPerSecond float64
	// Interval, when positive, is the time between two reports of every device,
	// instead of its kind's. Rate does not change it.
	Interval time.Duration
	// Batch bounds the readings of one message; 0 means a whole report.
	Batch int
	// Duration and Count end the run after that time or when that many readings
	// have been sent; 0 means never.
	Duration time.Duration
	Count    int64
	// Backfill is how far back in time the devices begin: what they would have
	// measured since then is sent at once.
	Backfill time.Duration
	// Seq numbers the messages also of devices that want no acknowledgement.
	// FirstSeq is the first number; 0 takes Unix milliseconds at the start, so
	// that a fleet that is started again does not look like a repetition.
	Seq      bool
	FirstSeq uint64
	// Loss, Duplicate and Reorder are the chances, from 0 to 1, that a datagram
	// is dropped, sent twice, or overtaken by the next. Jitter is the longest
	// delay of a datagram. Streams are left in peace.
	Loss, Duplicate, Reorder float64
	Jitter                   time.Duration
	// NoObserve leaves it to the answers over CoAP to bring commands; else devices
	// that ask for acknowledgements observe /commands (RFC 7641).
	NoObserve bool
	// Reboot, when positive, is the mean time from one restart of a device to
	// the next. It forgets what has not been acknowledged and, without KeepSeq,
	// counts from 1 again.
	Reboot  time.Duration
	KeepSeq bool
}

// Kinds returns the kinds of device there are.
func Kinds() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Config) validate() error {
	if err := c.Target.validate(); err != nil {
		return err
	}
	if err := c.Acks.validate(); err != nil {
		return err
	}
	for _, p := range []struct {
		name  string
		share float64
	}{{"loss", c.Loss}, {"duplicate", c.Duplicate}, {"reorder", c.Reorder}} {
		if !isChance(p.share) {
			return fmt.Errorf("%w: %s %v, want 0 to 1", ErrInvalidConfig, p.name, p.share)
		}
	}
	for _, name := range c.Kinds {
		if _, ok := kinds[name]; !ok {
			return fmt.Errorf("%w: no kind %q, there are %v", ErrInvalidConfig, name, Kinds())
		}
	}
	for _, d := range []time.Duration{c.Interval, c.Duration, c.Backfill, c.Jitter, c.Reboot} {
		if d < 0 {
			return fmt.Errorf("%w: negative duration %v", ErrInvalidConfig, d)
		}
	}
	switch {
	case c.Devices < 0 || c.Devices > maxDevices:
		return fmt.Errorf("%w: %d devices, want 1 to %d", ErrInvalidConfig, c.Devices, maxDevices)
	case !isRate(c.Rate) || !isRate(c.ReadingsPerSecond):
		return fmt.Errorf("%w: negative rate", ErrInvalidConfig)
	case c.Batch < 0 || c.Count < 0:
		return fmt.Errorf("%w: negative batch or count", ErrInvalidConfig)
	}
	return nil
}

// isChance and isRate are false for NaN, which no comparison holds for.
func isChance(x float64) bool { return x >= 0 && x <= 1 }
func isRate(x float64) bool   { return x >= 0 && x <= maxRate }

func (c *Config) applyDefaults() {
	if c.Devices == 0 {
		c.Devices = DefaultDevices
	}
	if c.Rate == 0 {
		c.Rate = 1
	}
}

// deviceTime cuts t to the milliseconds of a device's clock.
func deviceTime(t time.Time) device.Time { return device.Time(t.UnixMilli() * 1000) }
