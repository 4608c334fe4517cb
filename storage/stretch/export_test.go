package stretch

// ParseRun is parseRun for a device and time.
func ParseRun(tier Tier, device uint32, time int64, v []byte) ([]Piece, error) {
	return parseRun(tier, makeKey(device, time, 0), v)
}

// SealRun sets the checksum of a run, whose directory ends at n.
func SealRun(device uint32, time int64, v []byte, n int) {
	sum := runSum(makeKey(device, time, 0), v[4:n])
	v[0], v[1], v[2], v[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}

// Encode is encode.
func (d *Device) Encode() []byte { return d.encode() }

// Parse is parse.
func (d *Device) Parse(key, sealed []byte) error { return d.parse(key, sealed) }
