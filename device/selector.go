package device

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a Selector: a viewer chooses it, and every reading may be matched
// against it.
const (
	MaxPatterns   = 64
	MaxPatternLen = MaxMetricLen
)

// Selector says which readings someone wants: those whose device matches one of
// the device patterns and whose metric matches one of the metric patterns. In a
// pattern * stands for any run of characters, ? for any one character, everything else
// for itself, as in names of UTF-8. The zero Selector wants everything.
type Selector struct {
	devices []string // sorted, no duplicates; empty: every device
	metrics []string
	limits  [][]string // of each a device pattern must match too
}

// NewSelector returns the selector of these patterns. No pattern, or the
// pattern *, means everything; empty patterns are left out.
func NewSelector(devices, metrics []string) (Selector, error) {
	d, err := patterns("device", devices)
	if err != nil {
		return Selector{}, err
	}
	m, err := patterns("metric", metrics)
	if err != nil {
		return Selector{}, err
	}
	return Selector{devices: d, metrics: m}, nil
}

func patterns(what string, in []string) ([]string, error) {
	if len(in) > MaxPatterns {
		return nil, fmt.Errorf("%w %s patterns: %d, at most %d", ErrInvalid, what, len(in), MaxPatterns)
	}
	var out []string
	for _, p := range in {
		switch {
		case p == "":
			continue // as when the parameter is absent
		case strings.ContainsFunc(p, unicode.IsControl):
			return nil, fmt.Errorf("%w %s pattern %q: it holds a control character", ErrInvalid, what, p)
		case len(p) > MaxPatternLen:
			return nil, fmt.Errorf("%w %s pattern: %d bytes, at most %d", ErrInvalid, what, len(p), MaxPatternLen)
		}
		out = append(out, p)
	}
	if slices.Contains(out, "*") {
		return nil, nil
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Match reports whether the reading of this device and metric is wanted.
func (s Selector) Match(d ID, m Metric) bool {
	return s.MatchDevice(d) && s.MatchMetric(m)
}

// MatchDevice reports whether any reading of the device may be wanted.
func (s Selector) MatchDevice(d ID) bool {
	for _, l := range s.limits {
		if !matchAny(l, string(d)) {
			return false
		}
	}
	return matchAny(s.devices, string(d))
}

// Within returns the selector of those devices only that limit wants too. The
// metrics of limit say nothing.
func (s Selector) Within(limit Selector) Selector {
	s.limits = slices.Concat(s.limits, limit.limits)
	if len(limit.devices) > 0 {
		s.limits = append(s.limits, limit.devices)
	}
	return s
}

// MatchMetric reports whether any reading of the metric may be wanted.
func (s Selector) MatchMetric(m Metric) bool { return matchAny(s.metrics, string(m)) }

// All reports whether the selector wants everything.
func (s Selector) All() bool {
	return len(s.devices) == 0 && len(s.metrics) == 0 && len(s.limits) == 0
}

// Devices returns the ids the selector is limited to, and whether it names them
// one by one, without wildcards.
func (s Selector) Devices() ([]ID, bool) {
	if len(s.devices) == 0 {
		return nil, false
	}
	ids := make([]ID, 0, len(s.devices))
	for _, p := range s.devices {
		if strings.ContainsAny(p, "*?") {
			return nil, false
		}
		if s.MatchDevice(ID(p)) {
			ids = append(ids, ID(p))
		}
	}
	return ids, true
}

// Key returns a string that is the same for selectors with the same patterns, and for
// no others. It has no byte 2: what somebody appends behind one is no part of it.
func (s Selector) Key() string {
	parts := []string{strings.Join(s.devices, "\x00") + "\x01" + strings.Join(s.metrics, "\x00")}
	for _, l := range s.limits {
		parts = append(parts, strings.Join(l, "\x00"))
	}
	return strings.Join(parts, "\x03")
}

func matchAny(patterns []string, s string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if matchGlob(p, s) {
			return true
		}
	}
	return false
}

// matchGlob takes time proportional to len(p)·len(s) at most: after a mismatch
// only the last star is extended.
func matchGlob(p, s string) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, mark = pi, si
			pi++
		case pi < len(p) && p[pi] == '?':
			_, size := utf8.DecodeRuneInString(s[si:])
			pi++
			si += size
		case pi < len(p) && p[pi] == s[si]:
			pi++
			si++
		case star >= 0:
			mark++
			pi, si = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}
