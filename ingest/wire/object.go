package wire

import (
	"strconv"

	"github.com/naru-telemetry/naru/device"
)

// decodeJSON reads the JSON text at pos: an object, or the beginning of an
// array. It reports whether a message, good or bad, came of it.
func (d *Decoder) decodeJSON() bool {
	d.midLine = d.lines
	d.json.reset(d.buf[:d.end()], d.pos, &d.scratch)
	return d.beginText(&d.json, FormatJSON)
}

// decodeCBOR does the same for the CBOR item at pos.
func (d *Decoder) decodeCBOR() bool {
	d.cbor.reset(d.buf, d.pos, &d.scratch)
	return d.beginText(&d.cbor, FormatCBOR)
}

func (d *Decoder) beginText(tk tokens, f Format) bool {
	start := d.pos
	t := tk.next()
	if t.kind == tokenObject {
		d.readElement(tk, f)
		return true
	}
	if t.kind == tokenArray {
		d.array = arrayState{open: true, cbor: f == FormatCBOR}
		d.array.senml = d.looksLikeSenML()
		d.senml.reset()
		return d.nextElement()
	}
	if !tk.skip(t) {
		d.giveUp(tk, f)
		return true
	}
	d.fail(f, start, "want a map or an array of maps")
	d.msg.Raw = d.buf[start:tk.behind()]
	d.advance(f, tk.behind())
	return true
}

// nextElement reads the next element of the open array. It reports false at the
// array's end.
func (d *Decoder) nextElement() bool {
	if d.array.dialect == FormatTeleplot {
		return d.nextTeleplot()
	}
	if d.array.dialect == FormatCollectd {
		return d.nextCollectd()
	}
	var tk tokens = &d.json
	f := FormatJSON
	if d.array.cbor {
		tk, f = &d.cbor, FormatCBOR
	}
	if d.array.senml {
		f += FormatSenML - FormatJSON
	}
	t := tk.next()
	start, _ := tk.where()
	d.advance(f, start)
	switch {
	case t.kind == tokenEnd:
		d.array.open = false
		d.advance(f, tk.behind())
		return false
	case t.kind == tokenObject:
		d.readElement(tk, f)
	case !tk.skip(t):
		d.giveUp(tk, f)
	default:
		d.fail(f, start, "want an object in the array")
		d.msg.Raw = d.buf[start:tk.behind()]
	}
	return true
}

// readElement reads the object at pos, whose opening has been read.
func (d *Decoder) readElement(tk tokens, f Format) {
	d.begin(f)
	r := objectReader{d: d, tk: tk}
	d.path = d.path[:0]
	var ok bool
	if f == FormatSenML || f == FormatSenMLCBOR {
		ok = r.record()
	} else {
		ok = r.members(true)
	}
	if !ok {
		d.giveUp(tk, f)
		return
	}
	r.finish()
	d.msg.Raw = d.buf[d.pos:tk.behind()]
	if r.bad != "" {
		d.fail(f, r.badAt, r.bad)
	}
	if !d.array.open {
		d.advance(f, tk.behind())
	}
}

// giveUp records the error that the tokens met in the message at pos, and moves
// to where reading can go on: the next element of the array, or else the next
// line. A JSON text that begins the line on which the error was met is not part
// of the malformed one. CBOR has no such marks. Records of SenML build on those
// before them, so after a malformed one the others mean nothing.
func (d *Decoder) giveUp(tk tokens, f Format) {
	at, msg := tk.where()
	d.fail(f, at, msg)
	start := d.pos
	switch {
	case f.binary():
		d.advance(f, len(d.buf))
	case d.beginsText(f, at):
		d.advance(f, at)
	case f == FormatJSON && d.array.open && start < len(d.buf) && d.buf[start] == '{' && d.json.resume(start):
		d.msg.Raw = d.buf[start:d.json.pos]
		return
	default:
		d.advance(f, at)
		d.skipLine()
	}
	d.array.open = false
	d.msg.Raw = d.buf[start:d.pos]
}

// beginsText reports whether a text may begin at the place where one of format f
// was found malformed. A record of SenML is none by itself.
func (d *Decoder) beginsText(f Format, at int) bool {
	if at == 0 || at >= len(d.buf) || d.buf[at-1] != '\n' {
		return false
	}
	return d.buf[at] == '[' || d.buf[at] == '{' && f == FormatJSON
}

// looksLikeSenML reports whether the array whose opening has been read holds
// SenML records. It looks at the names of the first object and goes back.
func (d *Decoder) looksLikeSenML() bool {
	if d.array.cbor {
		start := d.cbor
		defer func() { d.cbor = start }()
		return probeSenML(&d.cbor)
	}
	start := d.json
	defer func() { d.json = start }()
	return probeSenML(&d.json)
}

func probeSenML(tk tokens) bool {
	if tk.next().kind != tokenObject {
		return false
	}
	found := false
	for {
		key := tk.next()
		if key.kind != tokenText && key.kind != tokenNumber {
			return found && key.kind != tokenError
		}
		value := tk.next()
		switch label := senmlLabelOf(key); {
		case string(key.text) == "device":
			return false
		case (label == senmlName || label == senmlBaseName) && value.kind == tokenText,
			label == senmlBaseTime && value.kind == tokenNumber:
			found = true
		}
		if !tk.skip(value) {
			return found
		}
	}
}

// objectReader maps one object onto the decoder's message. What is well-formed
// but wrong is remembered in bad, so that reading can go on behind the object.
type objectReader struct {
	d     *Decoder
	tk    tokens
	shape objectShape
	radio radioName
	bad   string
	badAt int
}

func (r *objectReader) complain(msg string) {
	if r.bad == "" {
		r.badAt, _ = r.tk.where()
		r.bad = msg
	}
}

// members reads the members of a plain object up to its end; outermost tells
// whether the reserved names mean something. It reports false on malformed
// input.
func (r *objectReader) members(outermost bool) bool {
	var digits [20]byte
	for {
		key := r.tk.next()
		name := key.text
		switch {
		case key.kind == tokenEnd:
			return true
		case key.kind == tokenText:
		case key.kind == tokenNumber && key.value.Kind == device.KindInt:
			name = strconv.AppendInt(digits[:0], int64(key.value.Bits), 10)
		default:
			if key.kind != tokenError {
				r.complain("a member name must be a text or an integer")
			}
			if !r.tk.skip(key) {
				return false
			}
		}
		t := r.tk.next()
		done, ok := false, true
		if outermost && r.shape == shapePlain {
			done, ok = r.reserved(name, t)
		}
		if r.shape != shapePlain {
			done, ok = r.shaped(name, t, outermost)
		}
		if !done {
			ok = r.descend(name, t)
		}
		if !ok {
			return false
		}
	}
}

// descend reads the value t under the name, below the present path.
func (r *objectReader) descend(name []byte, t token) bool {
	d := r.d
	length := len(d.path)
	if length > 0 {
		d.path = append(d.path, '.')
	}
	d.path = append(d.path, name...)
	ok := r.value(t)
	d.path = d.path[:length]
	return ok
}

func (r *objectReader) value(t token) bool {
	switch t.kind {
	case tokenError:
		return false
	case tokenObject:
		return r.members(false)
	case tokenArray:
		var digits [8]byte
		for i := 0; ; i++ {
			e := r.tk.next()
			if e.kind == tokenEnd {
				return true
			}
			if !r.descend(strconv.AppendInt(digits[:0], int64(i), 10), e) {
				return false
			}
		}
	case tokenNumber, tokenBool:
		r.add(t.value)
	case tokenText:
		r.add(textValue(t.text))
	case tokenOther:
		if r.bad != "" {
			break
		}
		r.complain("the value of " + strconv.Quote(string(cutName(r.d.path))) + " is neither number, boolean nor text")
	case tokenNull, tokenEnd: // no reading; a value is never an end
	}
	return true
}

func (r *objectReader) add(v Value) {
	if len(r.d.msg.Fields) == maxFields {
		r.complain("more than 4096 readings in one object")
		return
	}
	r.d.addField(r.d.keep(cutName(r.d.path)), v)
}

// reserved reads the value t of a reserved member. It reports whether name is
// one, and whether the input was well-formed.
func (r *objectReader) reserved(name []byte, t token) (done, ok bool) {
	m := &r.d.msg
	var good bool
	switch string(name) {
	case "Time", "src":
		r.reshape(name, t)
		return false, true
	case "device":
		m.Device, good = deviceName(r.d, t)
	case "time":
		if m.Time, good = timeOf(t); t.kind == tokenText {
			m.Time, good = timeOfRFC3339(t.text)
		}
		if !good && r.reshape(name, t) {
			return false, true
		}
	case "seq":
		good = t.kind == tokenNumber && t.value.Kind == device.KindInt && int64(t.value.Bits) >= 0
		m.Seq, m.HasSeq = 0, good
		if good {
			m.Seq = t.value.Bits
		}
	case "token":
		m.Token, good = nil, t.kind == tokenText
		if good {
			m.Token = t.text
		}
	case "outcome":
		if m.Outcome, good = outcomeOf(t); !good {
			return false, true
		}
	case "ack":
		good = t.kind == tokenBool || t.kind == tokenNumber && t.value.Kind == device.KindInt
		m.Ack = good && t.value.Bits != 0
	default:
		return false, true
	}
	if !good && t.kind != tokenNull && t.kind != tokenError {
		r.complain(reservedWants(name))
	}
	return true, r.tk.skip(t)
}

func reservedWants(name []byte) string {
	switch string(name) {
	case "device":
		return "device must be a text"
	case "time":
		return "time must be a number (seconds, milli-, micro- or nanoseconds since 1970, or seconds ago) or a text like 2026-11-23T10:00:00Z"
	case "seq":
		return "seq must be an integer, not negative"
	case "token":
		return "token must be a text"
	}
	return "ack must be true or false"
}

// outcomeOf takes the number of a command, or a text that begins with one. Anything
// else is a reading of that name.
func outcomeOf(t token) (device.Outcome, bool) {
	switch {
	case t.kind == tokenText:
		return device.ParseOutcome(t.text)
	case t.kind == tokenNumber && t.value.Kind == device.KindInt && int64(t.value.Bits) > 0:
		return device.Outcome{Command: t.value.Bits}, true
	}
	return device.Outcome{}, false
}

// deviceName takes a text, or an integer as its decimal notation.
func deviceName(d *Decoder, t token) ([]byte, bool) {
	switch {
	case t.kind == tokenText:
		return t.text, true
	case t.kind == tokenNumber && t.value.Kind == device.KindInt:
		at := len(d.scratch)
		d.scratch = strconv.AppendInt(d.scratch, int64(t.value.Bits), 10)
		return d.since(at), true
	}
	return nil, false
}

// timeOf takes a number; JSON's decimal fractions stay exact.
func timeOf(t token) (Time, bool) {
	switch {
	case t.kind != tokenNumber:
		return Time{}, false
	case t.text != nil:
		return timeOfText(t.text)
	case t.value.Kind == device.KindInt:
		return Time{Int: int64(t.value.Bits), Set: true}, true
	}
	return timeOfFloat(floatOf(t.value))
}
