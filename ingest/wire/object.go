package wire

import (
	"strconv"

	"github.com/naru-telemetry/naru/device"
)

// decodeJSON reads the JSON text at pos: an object, or the beginning of an
// array. It reports whether a message, good or bad, came of it.
func (d *Decoder) decodeJSON() bool {
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
	switch t := tk.next(); t.kind {
	case tokenObject:
		d.readElement(tk, f, start)
		return true
	case tokenArray:
		d.array = arrayState{open: true, cbor: f == FormatCBOR}
		d.array.senml = d.looksLikeSenML()
		d.senml.reset()
		return d.nextElement() || d.err != nil
	default:
		d.failText(tk, f)
		d.abandon(start)
		return true
	}
}

// nextElement reads the next element of the open array. It reports false at the
// array's end.
func (d *Decoder) nextElement() bool {
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
	switch t.kind {
	case tokenEnd:
		d.array.open = false
		d.advance(tk.behind())
		return false
	case tokenError:
		d.failText(tk, f)
		d.abandon(start)
		return true
	case tokenObject:
		d.readElement(tk, f, start)
		return true
	}
	if !skipValue(tk, t) {
		d.failText(tk, f)
		d.abandon(start)
		return true
	}
	d.fail(f, start, "want an object in the array")
	d.msg.Raw = d.buf[start:tk.behind()]
	return true
}

// readElement reads the object whose opening has been read.
func (d *Decoder) readElement(tk tokens, f Format, start int) {
	d.msg.Format = f
	r := objectReader{d: d, tk: tk}
	d.path = d.path[:0]
	ok := false
	if f == FormatSenML || f == FormatSenMLCBOR {
		ok = r.record()
	} else {
		ok = r.members(true)
	}
	if !ok {
		d.failText(tk, f)
		d.abandon(start)
		return
	}
	d.msg.Raw = d.buf[start:tk.behind()]
	if r.bad != "" {
		d.fail(f, r.badAt, r.bad)
	}
	if !d.array.open {
		d.advance(tk.behind())
	}
}

// failText records the error that the tokens met.
func (d *Decoder) failText(tk tokens, f Format) {
	at, msg := tk.where()
	d.fail(f, at, msg)
}

// abandon gives up the text that began at start: JSON is taken up again on the
// next line, CBOR has no such mark.
func (d *Decoder) abandon(start int) {
	if d.err.Format == FormatJSON || d.err.Format == FormatSenML {
		d.pos = max(d.pos, start)
		at, _ := d.json.where()
		d.advance(max(d.pos, min(at, len(d.buf))))
		d.skipLine()
	} else {
		d.pos = len(d.buf)
	}
	d.array.open = false
	d.msg.Raw = d.buf[start:d.pos]
}

// looksLikeSenML reports whether the array whose opening has been read holds
// SenML records. It looks at the names of the first object.
func (d *Decoder) looksLikeSenML() bool {
	if d.array.cbor {
		probe := d.cbor
		return probeSenML(&probe)
	}
	probe := d.json
	return probeSenML(&probe)
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
		if !skipValue(tk, value) {
			return found
		}
	}
}

// objectReader maps one object onto the decoder's message. What is well-formed
// but wrong is remembered in bad, so that reading can go on behind the object.
type objectReader struct {
	d     *Decoder
	tk    tokens
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
	for {
		key := r.tk.next()
		var name []byte
		switch key.kind {
		case tokenEnd:
			return true
		case tokenError:
			return false
		case tokenText:
			name = key.text
		case tokenNumber:
			if key.value.Kind == device.KindInt {
				name = strconv.AppendInt(nil, int64(key.value.Bits), 10)
			}
		}
		if name == nil {
			r.complain("a member name must be a text or an integer")
			if !skipValue(r.tk, key) {
				return false
			}
		}
		t := r.tk.next()
		if outermost {
			if done, ok := r.reserved(name, t); done {
				if !ok {
					return false
				}
				continue
			}
		}
		if !r.descend(name, t) {
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
		r.complain("the value of " + strconv.Quote(string(r.d.path)) + " is neither number, boolean nor text")
	}
	return true
}

func (r *objectReader) add(v Value) {
	if !r.d.addField(r.d.keep(r.d.path), v) {
		r.complain("more than 4096 readings in one object")
	}
}

// reserved reads the value t of a reserved member. It reports whether name is
// one, and whether the input was well-formed.
func (r *objectReader) reserved(name []byte, t token) (done, ok bool) {
	m := &r.d.msg
	good := true
	switch string(name) {
	case "device":
		m.Device, good = deviceName(r.d, t)
	case "time":
		m.Time, good = timeOf(t)
	case "seq":
		good = t.kind == tokenNumber && t.value.Kind == device.KindInt && int64(t.value.Bits) >= 0
		m.Seq, m.HasSeq = t.value.Bits, good
	case "token":
		good = t.kind == tokenText
		m.Token = t.text
	case "ack":
		good = t.kind == tokenBool || t.kind == tokenNumber && t.value.Kind == device.KindInt
		m.Ack = good && t.value.Bits != 0
	default:
		return false, true
	}
	if !good && t.kind != tokenNull && t.kind != tokenError {
		r.complain(reservedWants(name))
	}
	return true, skipValue(r.tk, t)
}

func reservedWants(name []byte) string {
	switch string(name) {
	case "device":
		return "device must be a text"
	case "time":
		return "time must be a number: seconds, milli-, micro- or nanoseconds since 1970, or seconds ago"
	case "seq":
		return "seq must be an integer, not negative"
	case "token":
		return "token must be a text"
	}
	return "ack must be true or false"
}

// deviceName takes a text, or an integer as its decimal notation.
func deviceName(d *Decoder, t token) ([]byte, bool) {
	switch {
	case t.kind == tokenText:
		return t.text, true
	case t.kind == tokenNumber && t.value.Kind == device.KindInt:
		at := len(d.scratch)
		d.scratch = strconv.AppendInt(d.scratch, int64(t.value.Bits), 10)
		return d.scratch[at:len(d.scratch):len(d.scratch)], true
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
