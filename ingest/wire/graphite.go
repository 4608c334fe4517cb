package wire

import "bytes"

// graphiteFields parts a line at its blanks; ok when there are three parts.
func graphiteFields(line []byte) (fields [3][]byte, ok bool) {
	n := 0
	for len(line) > 0 {
		if line[0] == ' ' || line[0] == '\t' {
			line = line[1:]
			continue
		}
		i := bytes.IndexAny(line, " \t")
		if i < 0 {
			i = len(line)
		}
		if n == len(fields) {
			return fields, false
		}
		fields[n] = line[:i]
		n++
		line = line[i:]
	}
	return fields, n == len(fields)
}

// isGraphite tells a name and two numbers parted by blanks: in line protocol the
// second part has an equals sign.
func isGraphite(line []byte) bool {
	f, ok := graphiteFields(line)
	if !ok || !hasLetter(f[0]) {
		return false
	}
	if _, ok := number(f[1]); !ok {
		return false
	}
	_, ok = graphiteTime(f[2])
	return ok
}

// graphiteTime reads seconds since 1970; -1 and N leave the time to the server.
func graphiteTime(b []byte) (Time, bool) {
	if string(b) == "-1" || string(b) == "N" {
		return Time{}, true
	}
	if _, ok := scanDecimal(b); !ok || b[0] == '+' {
		return Time{}, false
	}
	return timeOfText(b)
}

// scanGraphite reads path[;tag=value] value time.
func (d *Decoder) scanGraphite(line []byte) (int, string) {
	f, ok := graphiteFields(line)
	if !ok {
		return 0, "want path, value and time, parted by spaces"
	}
	v, ok := number(f[1])
	if !ok {
		return bytes.Index(line, f[1]), "the value must be a number"
	}
	if d.msg.Time, ok = graphiteTime(f[2]); !ok {
		return len(line) - len(f[2]), "the time must be seconds since 1970"
	}
	path, tags, _ := bytes.Cut(f[0], []byte{';'})
	d.tags = d.tags[:0]
	for at := len(path) + 1; len(tags) > 0; {
		var t []byte
		t, tags, _ = bytes.Cut(tags, []byte{';'})
		key, value, ok := bytes.Cut(t, []byte{'='})
		if !ok || len(key) == 0 || len(value) == 0 {
			return at, "a tag must be ;key=value"
		}
		if !d.addTag(key, value, at) {
			return at, "more than 64 tags"
		}
		at += len(t) + 1
	}
	suffix, at, msg := d.takeTags()
	if msg != "" {
		return at, msg
	}
	if len(path) == 0 {
		return 0, "the path is missing"
	}
	d.addField(d.place(path, suffix), v)
	return 0, ""
}
