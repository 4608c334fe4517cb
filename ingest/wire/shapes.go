package wire

// objectShape is whose objects they are, where their members mean more than
// those of plain JSON do.
type objectShape uint8

const (
	shapePlain objectShape = iota
	shapeTasmota
	shapeZigbee
	shapeShelly
	shapeRTL433
)

// radioName is what names a device of rtl_433.
type radioName struct{ model, channel, id []byte }

// reshape looks at a member that no earlier one has followed, and tells by it
// whose object this is. It reports whether that has made the member mean
// something else.
func (r *objectReader) reshape(name []byte, t token) bool {
	d := r.d
	m := &d.msg
	if m.Format == FormatCBOR || t.kind != tokenText || len(m.Fields) > 0 || m.Time.Set || m.HasSeq || len(m.Device) > 0 {
		return false
	}
	switch string(name) {
	case "Time":
		if !d.Accept.Has(FormatTasmota) || !isLocalTime(t.text) {
			return false
		}
		r.shape, m.Format = shapeTasmota, FormatTasmota
	case "time":
		if !d.Accept.Has(FormatRTL433) || !isLocalTime(t.text) || !r.ahead("model", tokenText, "") {
			return false
		}
		r.shape, m.Format = shapeRTL433, FormatRTL433
	case "src":
		if !d.Accept.Has(FormatShelly) || !r.ahead("method", tokenText, "Notify") || !r.ahead("params", tokenObject, "") {
			return false
		}
		r.shape, m.Format = shapeShelly, FormatShelly
	}
	return r.shape != shapePlain
}

// ahead reports whether a member of the present object that has not been read
// yet has this name, a value of this kind and, in a text, this beginning.
func (r *objectReader) ahead(name string, kind tokenKind, prefix string) bool {
	look := r.d.json
	scratch := r.d.scratch
	look.scratch = &scratch
	for {
		key := look.next()
		if key.kind != tokenText {
			return false
		}
		t := look.next()
		if string(key.text) == name {
			return t.kind == kind && len(t.text) >= len(prefix) && string(t.text[:len(prefix)]) == prefix
		}
		if !look.skip(t) {
			return false
		}
	}
}

// isLocalTime tells the time of a device that does not say its distance from
// UTC, 2024-02-24T22:20:38 or with a space, with or without a fraction. Such a
// time means nothing here, since where the device stands is not known.
func isLocalTime(b []byte) bool {
	const clock = len("2024-02-24T22:20:38")
	if len(b) < clock {
		return false
	}
	var withZone [40]byte
	_, ok := timeOfRFC3339(append(append(withZone[:0], b[:min(len(b), 32)]...), 'Z'))
	return ok
}

// shaped reads the value t of a member of an object with a shape. It reports
// whether it is no reading, and whether the input was well-formed.
func (r *objectReader) shaped(name []byte, t token, outermost bool) (done, ok bool) {
	switch r.shape {
	case shapeTasmota:
		if string(name) == "Time" && t.kind == tokenText {
			r.moment(t)
			return true, true
		}
	case shapeZigbee:
		if outermost && r.zigbeeMember(name, t) {
			return true, r.tk.skip(t)
		}
	case shapeShelly:
		return r.shellyMember(name, t)
	case shapeRTL433:
		if outermost && r.radioMember(name, t) {
			return true, r.tk.skip(t)
		}
	case shapePlain:
	}
	return false, true
}

// moment takes a time that says what it means; others count as none.
func (r *objectReader) moment(t token) {
	at, ok := timeOf(t)
	if t.kind == tokenText {
		at, ok = timeOfRFC3339(t.text)
	}
	if ok && at.Unit() != Ago {
		r.d.msg.Time = at
	}
}

// zigbeeMember takes what Zigbee2MQTT says of a device beside its readings.
func (r *objectReader) zigbeeMember(name []byte, t token) bool {
	switch string(name) {
	case "last_seen":
		r.moment(t)
		return true
	case "device":
		return true
	}
	return false
}

// radioMember takes what names a device in the output of rtl_433.
func (r *objectReader) radioMember(name []byte, t token) bool {
	word := t.text
	if t.kind != tokenText && t.kind != tokenNumber {
		word = nil
	}
	switch string(name) {
	case "time":
		r.moment(t)
	case "model":
		r.radio.model = word
	case "channel":
		r.radio.channel = word
	case "id":
		r.radio.id = word
	default:
		return false
	}
	return true
}

// finish composes what the members together say.
func (r *objectReader) finish() {
	if r.shape != shapeRTL433 {
		return
	}
	d := r.d
	at := len(d.scratch)
	for _, part := range [][]byte{r.radio.model, r.radio.channel, r.radio.id} {
		if len(part) == 0 {
			continue
		}
		if len(d.scratch) > at {
			d.scratch = append(d.scratch, '-')
		}
		d.scratch = append(d.scratch, part...)
	}
	d.msg.Device = d.named(d.since(at))
}

// shellyMember reads a member of the frame of a notification, or of what it
// holds.
func (r *objectReader) shellyMember(name []byte, t token) (done, ok bool) {
	if len(r.d.path) > 0 {
		return false, true
	}
	switch string(name) {
	case "src":
		if t.kind == tokenText {
			r.d.msg.Device = t.text
		}
	case "params":
		if t.kind == tokenObject {
			return true, r.shellyParams()
		}
	}
	return true, r.tk.skip(t)
}

// shellyParams reads {"ts":…,"switch:0":{…},"events":[…]}.
func (r *objectReader) shellyParams() bool {
	for {
		key := r.tk.next()
		if key.kind == tokenEnd {
			return true
		}
		t := r.tk.next()
		var ok bool
		switch {
		case string(key.text) == "ts":
			r.moment(t)
			ok = r.tk.skip(t)
		case string(key.text) == "events" && t.kind == tokenArray:
			ok = r.shellyEvents()
		case t.kind == tokenObject:
			ok = r.shellyComponent(key.text)
		default:
			ok = r.descend(key.text, t)
		}
		if !ok {
			return false
		}
	}
}

// shellyComponent reads the state of a component. Its number stands in its name
// already.
func (r *objectReader) shellyComponent(name []byte) bool {
	d := r.d
	length := len(d.path)
	d.path = append(d.path, name...)
	defer func() { d.path = d.path[:length] }()
	for {
		key := r.tk.next()
		if key.kind == tokenEnd {
			return true
		}
		t := r.tk.next()
		ok := true
		if string(key.text) != "id" || t.kind != tokenNumber {
			ok = r.descend(key.text, t)
		}
		if !ok || t.kind == tokenError {
			return false
		}
	}
}

// shellyEvents reads [{"component":"input:0","event":"single_push",…},…] as
// texts of metrics like input:0.event.
func (r *objectReader) shellyEvents() bool {
	for {
		e := r.tk.next()
		if e.kind == tokenEnd {
			return true
		}
		if e.kind != tokenObject {
			if !r.tk.skip(e) {
				return false
			}
			continue
		}
		var component, what []byte
		for {
			key := r.tk.next()
			if key.kind == tokenEnd {
				break
			}
			t := r.tk.next()
			if !r.tk.skip(t) {
				return false
			}
			switch string(key.text) {
			case "component":
				component = t.text
			case "event":
				what = t.text
			}
		}
		if len(component) > 0 && len(what) > 0 {
			at := len(r.d.scratch)
			r.d.scratch = append(append(r.d.scratch, cutName(component)...), ".event"...)
			r.d.addField(cutName(r.d.since(at)), textValue(what))
		}
	}
}
