package block

import (
	"github.com/naru-telemetry/naru/device"
)

// textEncoder collects the distinct texts of a column in the order in which
// they appear.
type textEncoder struct {
	ids     map[string]int64
	dict    []string
	index   []int64 // of each text in dict
	shared  []int64 // bytes that each entry of dict begins with like the one before
	lengths []int64 // of what follows these
	model   []prob  // a tree of 256 for each previous byte
}

func (t *textEncoder) collect(vs []device.Value) {
	if t.ids == nil {
		t.ids = make(map[string]int64)
	}
	t.index, t.shared, t.lengths = t.index[:0], t.shared[:0], t.lengths[:0]
	last := ""
	for i := range vs {
		if vs[i].Kind() != device.KindText {
			continue
		}
		s := vs[i].Text()
		id, ok := t.ids[s]
		if !ok {
			id = int64(len(t.dict))
			t.ids[s] = id
			t.dict = append(t.dict, s)
			n := sharedPrefix(last, s)
			t.shared = append(t.shared, int64(n))
			t.lengths = append(t.lengths, int64(len(s)-n))
			last = s
		}
		t.index = append(t.index, id)
	}
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// encode codes the bytes of the dictionary and forgets it.
func (t *textEncoder) encode(e *rangeEncoder) {
	if len(t.dict) == 0 {
		return
	}
	t.model = byteModel(t.model)
	for i, s := range t.dict {
		prev := 0
		if n := t.shared[i]; n > 0 {
			prev = int(s[n-1])
		}
		for j := int(t.shared[i]); j < len(s); j++ {
			e.tree(t.model[prev<<8:], uint32(s[j]), 8)
			prev = int(s[j])
		}
	}
	clear(t.dict)
	t.dict = t.dict[:0]
	clear(t.ids)
}

// byteModel returns the model of a byte after another, at its start.
func byteModel(m []prob) []prob {
	if m == nil {
		m = make([]prob, 1<<16)
	}
	reset(m)
	return m
}

// textHead is the head of a part of texts.
type textHead struct {
	entries                int
	index, shared, lengths integers
}

func (h *textHead) parse(r *reader, n int) {
	h.entries = r.count(n)
	h.index.parseHead(r)
	h.shared.parseHead(r)
	h.lengths.parseHead(r)
}

type textDecoder struct {
	model   []prob
	buf     []byte
	dict    []device.Value
	shared  []int64
	lengths []int64
}

func (c *columnDecoder) textValues(h *heads, vs []device.Value, n int) bool {
	c.ints = sized(c.ints, n)
	if !c.part(&h.text.index, c.ints) || !c.dictionary(&h.text) {
		return false
	}
	dict := c.texts.dict
	next := 0
	for i := range vs {
		if !c.is(h, i, device.KindText) {
			continue
		}
		k := c.ints[next]
		if k < 0 || k >= int64(len(dict)) {
			return false
		}
		vs[i] = dict[k]
		next++
	}
	return true
}

// dictionary decodes the distinct texts of a column, MaxText bytes at most.
func (c *columnDecoder) dictionary(h *textHead) bool {
	t := &c.texts
	t.shared, t.lengths = sized(t.shared, h.entries), sized(t.lengths, h.entries)
	if !c.part(&h.shared, t.shared) || !c.part(&h.lengths, t.lengths) {
		return false
	}
	t.model = byteModel(t.model)
	clear(t.dict)
	t.dict, t.buf = t.dict[:0], t.buf[:0]
	total := int64(0)
	for i, n := range t.lengths {
		same := t.shared[i]
		if n < 0 || same < 0 || same > int64(len(t.buf)) || n > device.MaxTextLen || same+n > device.MaxTextLen {
			return false
		}
		total += same + n
		if total > MaxText {
			return false
		}
		t.buf = t.buf[:same]
		prev := 0
		if same > 0 {
			prev = int(t.buf[same-1])
		}
		for range n {
			prev = int(c.rc.tree(t.model[prev<<8:], 8))
			t.buf = append(t.buf, byte(prev))
		}
		v, err := device.Text(string(t.buf))
		if err != nil {
			return false
		}
		t.dict = append(t.dict, v)
	}
	return true
}
