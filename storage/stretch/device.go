package stretch

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// Device sums up what a file has of a device, and names its series, so that the
// file can be read without anything else:
//
//	name     uv  length, bytes
//	done     uv
//	time     zz uv  smallest; largest − smallest
//	offset   uv uv  smallest; largest − smallest
//	series   uv     how many, in the order of their numbers; then for each:
//	                uv  number − the previous one, at first 0
//	                uv  4·readings + 1 with rollups of minutes + 2 of hours
//	                uv  length of the metric, bytes
type Device struct {
	Number uint32
	Name   device.ID
	// Done is the offset up to which all readings of the device with times of
	// this stretch are in the file, or in what it replaces.
	Done uint64
	// The bounds are those of the readings; without readings they are 0.
	MinTime, MaxTime     int64
	MinOffset, MaxOffset uint64
	// Series are in ascending order of their numbers.
	Series []Series
}

// Series is one series of a device in a file.
type Series struct {
	ID     uint32
	Metric device.Metric
	Count  int64 // readings
	// Rolled tells by tier whether the rollups of all these readings are stored,
	// in this file or in the sealed one of the tier. Readings that are far apart
	// have none; see storage.
	Rolled [Tiers]bool
}

// Count returns the readings of all series.
func (d *Device) Count() (n int64) {
	for i := range d.Series {
		n += d.Series[i].Count
	}
	return n
}

// Devices calls fn with every device of the file, in the order of their numbers.
// Those that cannot be read are left out; damaged tells of each, with its number,
// or 0 where not even that is known.
func (t Tx) Devices(fn func(*Device) error, damaged func(number uint32, err error)) error {
	cur := t.tx.Bucket(bucketDevices).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		var d Device
		if err := d.parse(k, v); err != nil {
			damaged(d.Number, err)
			continue
		}
		if err := fn(&d); err != nil {
			return err
		}
	}
	return nil
}

// Device returns what the file has of one device; false: nothing.
func (t Tx) Device(number uint32) (d Device, ok bool, err error) {
	k := binary.BigEndian.AppendUint32(nil, number)
	v := t.tx.Bucket(bucketDevices).Get(k)
	if v == nil {
		return d, false, nil
	}
	err = d.parse(k, v)
	return d, err == nil, err
}

// PutDevice stores d in the place of what was there of the device.
func (t Tx) PutDevice(d *Device) error {
	k := binary.BigEndian.AppendUint32(nil, d.Number)
	return t.tx.Bucket(bucketDevices).Put(k, boltfile.Seal(k, d.encode()))
}

func (d *Device) encode() []byte {
	v := binary.AppendUvarint(nil, uint64(len(d.Name)))
	v = append(v, d.Name...)
	v = binary.AppendUvarint(v, d.Done)
	v = binary.AppendVarint(v, d.MinTime)
	v = binary.AppendUvarint(v, uint64(d.MaxTime-d.MinTime))
	v = binary.AppendUvarint(v, d.MinOffset)
	v = binary.AppendUvarint(v, d.MaxOffset-d.MinOffset)
	v = binary.AppendUvarint(v, uint64(len(d.Series)))
	last := uint32(0)
	for i := range d.Series {
		s := &d.Series[i]
		v = binary.AppendUvarint(v, uint64(s.ID-last))
		n := uint64(s.Count) << 2
		if s.Rolled[ByMinute] {
			n |= 1
		}
		if s.Rolled[ByHour] {
			n |= 2
		}
		v = binary.AppendUvarint(v, n)
		v = binary.AppendUvarint(v, uint64(len(s.Metric)))
		v = append(v, s.Metric...)
		last = s.ID
	}
	return v
}

func (d *Device) parse(key, sealed []byte) error {
	if len(key) != 4 {
		return fmt.Errorf("%w: device %x", ErrDamaged, key)
	}
	d.Number = binary.BigEndian.Uint32(key)
	v, ok := boltfile.Unseal(key, sealed)
	if !ok {
		return fmt.Errorf("%w: device %x", ErrDamaged, key)
	}
	r := entry{buf: v}
	d.Name = device.ID(r.text(device.MaxIDLen))
	d.Done = r.uvarint()
	d.MinTime = r.varint()
	d.MaxTime = int64(uint64(d.MinTime) + r.uvarint())
	d.MinOffset = r.uvarint()
	d.MaxOffset = d.MinOffset + r.uvarint()
	n := r.uvarint()
	id := uint64(0)
	for ; n > 0 && !r.bad; n-- {
		gap := r.uvarint()
		id = min(id+gap, math.MaxUint32+1)
		r.bad = r.bad || gap > math.MaxUint32 || gap == 0 && len(d.Series) > 0
		count := r.uvarint()
		s := Series{ID: uint32(id), Count: int64(count >> 2)}
		s.Rolled[ByMinute], s.Rolled[ByHour] = count&1 != 0, count&2 != 0
		s.Metric = device.Metric(r.text(device.MaxMetricLen))
		r.bad = r.bad || id > math.MaxUint32 || device.CheckMetric(s.Metric) != nil
		d.Series = append(d.Series, s)
	}
	if r.bad || len(r.buf) != 0 || device.CheckID(d.Name) != nil || d.MaxTime < d.MinTime || d.MaxOffset < d.MinOffset {
		return fmt.Errorf("%w: device %x", ErrDamaged, key)
	}
	return nil
}

// entry reads a value from the front; bad is set, and stays, when something is
// cut off.
type entry struct {
	buf []byte
	bad bool
}

func (r *entry) uvarint() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *entry) varint() int64 {
	n, size := binary.Varint(r.buf)
	if size <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *entry) text(most int) string {
	n := r.uvarint()
	if n > uint64(most) || n > uint64(len(r.buf)) {
		r.bad, r.buf = true, nil
		return ""
	}
	s := string(r.buf[:n])
	r.buf = r.buf[n:]
	return s
}
