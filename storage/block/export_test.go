package block

// OffsetBytes returns how many bytes of the sound block b are for offsets.
func OffsetBytes(b []byte) (n int) {
	h, err := Parse(b)
	if err != nil {
		panic(err)
	}
	for i := range h.columns {
		n += h.columns[i].offsetsLen
	}
	for i := range h.Series {
		n += h.Series[i].offsetsLen
	}
	return n
}

// Seal sets the checksum of b, whatever it holds.
func Seal(b []byte) {
	if len(b) >= prefix {
		putChecksum(b)
	}
}
