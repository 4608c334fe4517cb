package wire

import "bytes"

// splitTopic parts a line that an MQTT client has written, topic and payload
// with a space between, or as Tasmota writes it into its log, topic = payload.
// A friendly name in the topic of an object may hold spaces.
func splitTopic(line []byte) (topic, payload []byte, ok bool) {
	i := bytes.IndexByte(line, ' ')
	if i > 0 && line[len(line)-1] == '}' {
		if j := bytes.Index(line, []byte(" {")); j >= 0 {
			i = j
		}
	} else if bytes.HasPrefix(line, []byte(zigbeeBase)) {
		i = bytes.LastIndexByte(line, ' ')
	}
	if i <= 0 {
		return nil, nil, false
	}
	topic, payload = bytes.TrimSuffix(line[:i], []byte(" =")), bytes.TrimLeft(line[i:], " ")
	if rest, ok := bytes.CutPrefix(payload, []byte("= ")); ok {
		payload = rest
	}
	return topic, payload, len(payload) > 0
}

// isTopic tells a topic by its slashes and what follows it: an object, a number,
// a boolean, or anything behind a topic of Tasmota or Zigbee2MQTT. Line protocol
// would have an equals sign there before anything else, and does not end with a
// brace.
func isTopic(line []byte) bool {
	if line == nil || bytes.IndexByte(line, '/') < 0 {
		return false
	}
	topic, payload, ok := splitTopic(line)
	if !ok || bytes.IndexByte(topic, '/') < 0 || bytes.ContainsAny(topic, "=\"{") {
		return false
	}
	if payload[0] == '{' || topicFormat(topic) != FormatTopic || isSilent(topic) {
		return true
	}
	_, ok = scalar(payload)
	return ok
}

// topicLevels returns the last level of a topic, the one before it without those
// that Tasmota puts there for the kind, and whether there was such a one.
func topicLevels(topic []byte) (last, parent []byte, tasmota bool) {
	for len(topic) > 0 {
		i := bytes.LastIndexByte(topic, '/')
		level := topic[i+1:]
		topic = topic[:max(i, 0)]
		switch {
		case string(level) == "tele" || string(level) == "stat" || string(level) == "cmnd":
			tasmota = true
		case len(level) == 0:
		case last == nil:
			last = level
		case parent == nil:
			parent = level
		}
	}
	return last, parent, tasmota
}

// topicFormat tells whose topic it is.
func topicFormat(topic []byte) Format {
	if bytes.HasPrefix(topic, []byte(zigbeeBase)) {
		return FormatZigbee2MQTT
	}
	if _, parent, tasmota := topicLevels(topic); tasmota && parent != nil {
		return FormatTasmota
	}
	return FormatTopic
}

const zigbeeBase = "zigbee2mqtt/"

// isSilent reports whether what a topic carries is no reading: commands,
// discovery, logs.
func isSilent(topic []byte) bool {
	for _, prefix := range []string{"cmnd/", "homeassistant/", "tasmota/discovery/", zigbeeBase + "bridge/"} {
		if bytes.HasPrefix(topic, []byte(prefix)) {
			return true
		}
	}
	for _, suffix := range []string{"/set", "/get", "/LOGGING"} {
		if bytes.HasSuffix(topic, []byte(suffix)) {
			return true
		}
	}
	return bytes.Contains(topic, []byte("/cmnd/"))
}

// scanTopic reads a line of topic and payload that begins at the place in the
// line that stands at pos.
func (d *Decoder) scanTopic(line []byte, begin int) (int, string) {
	topic, payload, ok := splitTopic(line[begin:])
	if !ok {
		return begin, "want a topic and a payload, parted by a space"
	}
	d.begin(topicFormat(topic))
	if isSilent(topic) {
		return 0, ""
	}
	name, shape := d.topicName(topic, payload[0] == '{')
	at := len(line) - len(payload)
	if payload[0] == '{' {
		return d.scanObject(line, at, shape, name)
	}
	last, parent, _ := topicLevels(topic)
	metric := last
	if d.msg.Format != FormatZigbee2MQTT {
		d.msg.Device = d.named(parent)
	} else if i := bytes.LastIndexByte(name, '/'); i > 0 {
		d.msg.Device = d.named(name[:i])
	}
	v, ok := scalar(payload)
	if !ok && d.msg.Format != FormatTopic {
		v, ok = textValue(payload), true
	}
	if !ok {
		return at, "want an object, a number or a boolean behind the topic"
	}
	d.addField(cutName(metric), v)
	return 0, ""
}

// topicName returns what names the device in the topic of an object, and the
// shape of the object.
func (d *Decoder) topicName(topic []byte, object bool) ([]byte, objectShape) {
	last, parent, _ := topicLevels(topic)
	if d.msg.Format == FormatTasmota {
		return parent, shapeTasmota
	}
	if d.msg.Format == FormatZigbee2MQTT {
		name := topic[len(zigbeeBase):]
		if object {
			name = bytes.TrimSuffix(name, []byte("/availability"))
		}
		return name, shapeZigbee
	}
	return last, shapePlain
}

// scanObject reads the object that stands at the place in the line that begins
// at pos. name is that of the device where the object has none.
func (d *Decoder) scanObject(line []byte, at int, shape objectShape, name []byte) (int, string) {
	end := d.pos + len(line)
	d.json.reset(d.buf[:end], d.pos+at, &d.scratch)
	d.json.next()
	d.path = d.path[:0]
	r := objectReader{d: d, tk: &d.json, shape: shape}
	ok := r.members(true)
	if !ok {
		i, msg := d.json.where()
		d.msg.Fields = d.msg.Fields[:0]
		return i - d.pos, msg
	}
	r.finish()
	if len(d.msg.Device) == 0 {
		d.msg.Device = d.named(name)
	}
	if r.bad != "" {
		return r.badAt - d.pos, r.bad
	}
	if d.json.pos != end {
		return d.json.pos - d.pos, "unexpected text after the object"
	}
	return 0, ""
}
