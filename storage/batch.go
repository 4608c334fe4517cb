package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// # The log batch, version 1
//
// A batch holds readings with consecutive offsets. Its key is the offset of
// the first one, as 8 bytes big-endian. Integers below are unsigned varints
// (uv) or zigzag varints (zz) of encoding/binary; times are microseconds.
//
//	version   1 byte   1: rows as they are, 0x81: rows compressed with s2
//	crc       4 bytes  little-endian CRC32C of key, version and all that follows crc
//	count     uv       readings, 1 to maxBatchReadings
//	time      zz       base: the time of the first reading
//	          uv uv    base − smallest time, largest time − base
//	received  zz       base: the receive time of the first reading
//	          uv uv    base − smallest, largest − base
//	series    uv       entries of the dictionary, in order of first appearance
//	          entries  uv   zigzag(id − previous id − 1)·2 + same
//	                   then, when same is 0:
//	                   uv   rows of this series in the batch
//	                   uv   first offset of the batch − key of the previous batch
//	                        that holds the series; 0: there is none
//	                   same is 1 when both equal those of the previous entry
//	                   (before the first entry: id 0, 1 row, 0)
//	rows      the rest; see row.go
//
// The dictionary lets a reader skip a batch without decoding rows, and the
// pointers to previous batches lead from any reading of a series to the older
// ones.

const (
	batchVersion = 0x01
	batchPacked  = 0x80 // flag in the version byte: rows are an s2 block

	// maxBatchReadings bounds what one damaged value can cost and what a reader
	// has to decode to find one reading.
	maxBatchReadings = 4096
	// sealBytes ends a batch of long texts early, so that one value stays far
	// below what a transaction can rewrite cheaply.
	sealBytes = 256 << 10
	// maxRowBytes is the longest row: tag, three varints, length and text.
	maxRowBytes = 1 + 3*binary.MaxVarintLen64 + 2 + device.MaxTextLen
	// maxRowsBytes bounds the memory that decompression of a hostile batch takes.
	maxRowsBytes = sealBytes + maxRowBytes
	// maxSeries bounds series ids, and with them the tables indexed by id.
	maxSeries = 1 << 22
	// packFrom is the smallest rows section that compression is tried on.
	packFrom = 64

	batchPrefix = 5 // version and crc
)

// errDamaged is wrapped by every decoding error.
var errDamaged = errors.New("damaged batch")

var castagnoli = boltfile.Castagnoli

// batch is the decoded header of a log batch and its rows. The zero batch may
// be reused with parse.
type batch struct {
	first    uint64 // offset of the first reading, the key
	count    int
	time     span
	received span
	dict     []dictEntry
	rows     []byte
	packed   bool // rows are compressed
}

// span is a base moment and the smallest and largest of a batch.
type span struct{ base, min, max device.Time }

// dictEntry is one series of a batch.
type dictEntry struct {
	id   uint32
	rows uint32
	prev uint64 // key of the previous batch with this series, 0: none
}

// last returns the offset of the batch's last reading.
func (b *batch) last() uint64 { return b.first + uint64(b.count) - 1 }

// appendBatch appends the encoded batch, whose rows are not packed, to dst.
// scratch is used for compression and returned for the next call.
func appendBatch(dst []byte, b *batch, scratch []byte) (out, nextScratch []byte) {
	start := len(dst)
	dst = append(dst, batchVersion, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(b.count))
	dst = appendSpan(dst, b.time)
	dst = appendSpan(dst, b.received)
	dst = binary.AppendUvarint(dst, uint64(len(b.dict)))
	var id uint32
	rows, back := uint32(1), uint64(0)
	for _, e := range b.dict {
		var eback uint64
		if e.prev != 0 {
			eback = b.first - e.prev
		}
		step := zigzag(int64(e.id)-int64(id)-1) << 1
		if e.rows == rows && eback == back {
			dst = binary.AppendUvarint(dst, step|1)
		} else {
			dst = binary.AppendUvarint(dst, step)
			dst = binary.AppendUvarint(dst, uint64(e.rows))
			dst = binary.AppendUvarint(dst, eback)
		}
		id, rows, back = e.id, e.rows, eback
	}
	packed := false
	if len(b.rows) > packFrom {
		if n := s2.MaxEncodedLen(len(b.rows)); cap(scratch) < n {
			scratch = make([]byte, n)
		}
		if p := s2.EncodeBetter(scratch[:cap(scratch)], b.rows); len(p) < len(b.rows) {
			dst, packed = append(dst, p...), true
		}
	}
	if packed {
		dst[start] |= batchPacked
	} else {
		dst = append(dst, b.rows...)
	}
	binary.LittleEndian.PutUint32(dst[start+1:], batchSum(b.first, dst[start:]))
	return dst, scratch
}

func appendSpan(dst []byte, s span) []byte {
	dst = binary.AppendVarint(dst, int64(s.base))
	dst = binary.AppendUvarint(dst, uint64(s.base)-uint64(s.min))
	return binary.AppendUvarint(dst, uint64(s.max)-uint64(s.base))
}

// batchSum is the checksum of an encoded batch, its own bytes left out. The
// key is part of it, so that a value in the wrong place is found too.
func batchSum(key uint64, enc []byte) uint32 {
	var head [9]byte
	binary.BigEndian.PutUint64(head[:], key)
	head[8] = enc[0]
	sum := crc32.Update(0, castagnoli, head[:])
	return crc32.Update(sum, castagnoli, enc[batchPrefix:])
}

// parse checks enc, the value at key, and decodes all but its rows. b.rows
// aliases enc.
func (b *batch) parse(key uint64, enc []byte) error {
	if err := checkBatch(key, enc); err != nil {
		return err
	}
	return b.header(key, enc)
}

func checkBatch(key uint64, enc []byte) error {
	if len(enc) < batchPrefix {
		return fmt.Errorf("%w: %d bytes", errDamaged, len(enc))
	}
	if binary.LittleEndian.Uint32(enc[1:]) != batchSum(key, enc) {
		return fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	if enc[0]&^batchPacked != batchVersion {
		return fmt.Errorf("%w: unknown version %#x", errDamaged, enc[0])
	}
	return nil
}

// header is parse for a value that has been checked.
func (b *batch) header(key uint64, enc []byte) error {
	b.first, b.packed = key, enc[0]&batchPacked != 0
	r := varints{buf: enc[batchPrefix:]}
	n := r.uvarint()
	b.time, b.received = r.span(), r.span()
	entries := r.uvarint()
	if r.bad || n == 0 || n > maxBatchReadings || entries == 0 || entries > n {
		return fmt.Errorf("%w: header", errDamaged)
	}
	if key == 0 || key > 1<<63 {
		return fmt.Errorf("%w: key %d", errDamaged, key)
	}
	b.count = int(n)
	if err := b.parseDict(&r, int(entries)); err != nil {
		return err
	}
	b.rows = r.buf
	return nil
}

func (b *batch) parseDict(r *varints, entries int) error {
	b.dict = b.dict[:0]
	var id int64
	rows, back, total := uint64(1), uint64(0), uint64(0)
	for range entries {
		step := r.uvarint()
		id += unzigzag(step>>1) + 1
		if step&1 == 0 {
			rows, back = r.uvarint(), r.uvarint()
		}
		if r.bad || id < 1 || id > maxSeries || rows == 0 || rows > maxBatchReadings || back >= b.first {
			return fmt.Errorf("%w: dictionary", errDamaged)
		}
		e := dictEntry{id: uint32(id), rows: uint32(rows)}
		if back != 0 {
			e.prev = b.first - back
		}
		total += rows
		b.dict = append(b.dict, e)
	}
	if total != uint64(b.count) {
		return fmt.Errorf("%w: dictionary counts %d readings, header %d", errDamaged, total, b.count)
	}
	return nil
}

// unpack decompresses the rows into scratch, which it may grow and returns for
// the next call. b.rows then aliases scratch.
func (b *batch) unpack(scratch []byte) ([]byte, error) {
	if !b.packed {
		return scratch, nil
	}
	n, err := s2.DecodedLen(b.rows)
	if err != nil || n > maxRowsBytes {
		return scratch, fmt.Errorf("%w: compressed rows", errDamaged)
	}
	if cap(scratch) < n {
		scratch = make([]byte, n)
	}
	rows, err := s2.Decode(scratch[:cap(scratch)], b.rows)
	if err != nil {
		return scratch, fmt.Errorf("%w: compressed rows", errDamaged)
	}
	b.rows, b.packed = rows, false
	return scratch, nil
}

// varints reads integers from the front of buf; bad is set, and stays, when
// one is cut off or too long.
type varints struct {
	buf []byte
	bad bool
}

func (r *varints) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *varints) span() span {
	base := unzigzag(r.uvarint())
	lo, hi := r.uvarint(), r.uvarint()
	s := span{base: device.Time(base), min: device.Time(base - int64(lo)), max: device.Time(base + int64(hi))}
	if s.min > s.base || s.max < s.base {
		r.bad = true
	}
	return s
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
