package stretch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// ErrDamaged is wrapped by errors that say that an entry of a file is not what
// was written. Blocks have an error of their own.
var ErrDamaged = errors.New("damaged entry")

// Piece is where a block stands, and what its run tells of it.
type Piece struct {
	Tier             Tier
	Device           uint32
	Count            int // readings or rollups
	MinTime, MaxTime int64
	// MinOffset and MaxOffset are 0 for rollups.
	MinOffset, MaxOffset uint64

	key     runKey
	at, len int // in the run
}

// Bytes returns the length of the block.
func (p *Piece) Bytes() int { return p.len }

const keyLen = 4 + 8 + 4

type runKey [keyLen]byte

func makeKey(device uint32, time int64, series uint32) (k runKey) {
	binary.BigEndian.PutUint32(k[:], device)
	binary.BigEndian.PutUint64(k[4:], uint64(time)^1<<63)
	binary.BigEndian.PutUint32(k[12:], series)
	return k
}

func (k *runKey) device() uint32 { return binary.BigEndian.Uint32(k[:]) }
func (k *runKey) time() int64    { return int64(binary.BigEndian.Uint64(k[4:]) ^ 1<<63) }

// Tx is a transaction. What it returns is valid until its function returns.
type Tx struct{ tx *bolt.Tx }

// ID tells states of the file apart: it is another after every Update.
func (t Tx) ID() int { return t.tx.ID() }

// Pieces calls fn with the blocks of a device that may have times from from to
// to, both included, in the order of time. Runs that cannot be read are left
// out; damaged tells of each.
func (t Tx) Pieces(tier Tier, device uint32, from, to int64, fn func(*Piece) error, damaged func(error)) error {
	cur := t.tx.Bucket(bucketTiers[tier]).Cursor()
	for k, v := seekRun(cur, device, from); k != nil; k, v = cur.Next() {
		if len(k) != keyLen {
			damaged(fmt.Errorf("%w: key %x", ErrDamaged, k))
			continue
		}
		key := runKey(k)
		if key.device() != device || key.time() > to {
			return nil
		}
		if err := eachPiece(tier, key, v, from, to, fn, damaged); err != nil {
			return err
		}
	}
	return nil
}

// AllPieces is Pieces for every device and all times.
func (t Tx) AllPieces(tier Tier, fn func(*Piece) error, damaged func(error)) error {
	cur := t.tx.Bucket(bucketTiers[tier]).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if len(k) != keyLen {
			damaged(fmt.Errorf("%w: key %x", ErrDamaged, k))
			continue
		}
		if err := eachPiece(tier, runKey(k), v, math.MinInt64, math.MaxInt64, fn, damaged); err != nil {
			return err
		}
	}
	return nil
}

// seekRun moves to the first run of the device that may reach to the time from.
func seekRun(cur *bolt.Cursor, device uint32, from int64) (k, v []byte) {
	at := makeKey(device, from, 0)
	if k, _ = cur.Seek(at[:]); k == nil {
		k, _ = cur.Last()
	} else {
		k, _ = cur.Prev()
	}
	if len(k) == keyLen && binary.BigEndian.Uint32(k) == device {
		// Runs of one time stand for the same stretch: go to the first of them.
		before := runKey(k)
		at = makeKey(device, before.time(), 0)
	}
	return cur.Seek(at[:])
}

func eachPiece(tier Tier, key runKey, v []byte, from, to int64, fn func(*Piece) error, damaged func(error)) error {
	pieces, err := parseRun(tier, key, v)
	if err != nil {
		damaged(err)
		return nil
	}
	for i := range pieces {
		if p := &pieces[i]; p.MaxTime >= from && p.MinTime <= to {
			if err := fn(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Block returns the bytes of a piece that this transaction, or another of the
// same ID, has found.
func (t Tx) Block(p *Piece) ([]byte, error) {
	v := t.tx.Bucket(bucketTiers[p.Tier]).Get(p.key[:])
	if p.at+p.len > len(v) {
		return nil, fmt.Errorf("%w: run %x", ErrDamaged, p.key)
	}
	return v[p.at : p.at+p.len], nil
}

// maxRun bounds the blocks of a run, and so what a damaged one can cost.
const maxRun = 1 << 16

func parseRun(tier Tier, key runKey, v []byte) ([]Piece, error) {
	bad := fmt.Errorf("%w: run %x", ErrDamaged, key)
	if len(v) < 4 {
		return nil, bad
	}
	r := entry{buf: v[4:]}
	n := r.uvarint()
	if r.bad || n == 0 || n > maxRun || n > uint64(len(v)) {
		return nil, bad
	}
	pieces := make([]Piece, n)
	for i := range pieces {
		p := &pieces[i]
		p.Tier, p.Device, p.key = tier, key.device(), key
		p.MinTime = int64(uint64(key.time()) + r.uvarint())
		p.MaxTime = int64(uint64(p.MinTime) + r.uvarint())
		p.Count = int(min(r.uvarint(), block.MaxReadings))
		p.MinOffset = r.uvarint()
		p.MaxOffset = p.MinOffset + r.uvarint()
		p.len = int(min(r.uvarint(), uint64(len(v))))
		r.bad = r.bad || p.MinTime < key.time() || p.MaxTime < p.MinTime || p.MaxOffset < p.MinOffset
	}
	head := len(v) - len(r.buf)
	if r.bad || runSum(key, v[4:head]) != binary.LittleEndian.Uint32(v) {
		return nil, bad
	}
	at := head
	for i := range pieces {
		pieces[i].at = at
		at += pieces[i].len
	}
	if at != len(v) {
		return nil, bad
	}
	return pieces, nil
}

func runSum(key runKey, directory []byte) uint32 {
	return crc32.Update(crc32.Checksum(key[:], boltfile.Castagnoli), boltfile.Castagnoli, directory)
}

// Put stores blocks as a run of the device, which replaces one with the same
// time and series. No block has a time below time.
func (t Tx) Put(tier Tier, device uint32, time int64, series uint32, blocks ...[]byte) error {
	key := makeKey(device, time, series)
	size := 64
	for _, b := range blocks {
		size += len(b) + 48
	}
	v := make([]byte, 4, size)
	v = binary.AppendUvarint(v, uint64(len(blocks)))
	var h block.Header
	for _, b := range blocks {
		if err := h.Parse(b); err != nil {
			return err
		}
		v = binary.AppendUvarint(v, uint64(h.MinTime-time))
		v = binary.AppendUvarint(v, uint64(h.MaxTime-h.MinTime))
		v = binary.AppendUvarint(v, uint64(h.Count))
		v = binary.AppendUvarint(v, h.MinOffset)
		v = binary.AppendUvarint(v, h.MaxOffset-h.MinOffset)
		v = binary.AppendUvarint(v, uint64(len(b)))
	}
	binary.LittleEndian.PutUint32(v, runSum(key, v[4:]))
	for _, b := range blocks {
		v = append(v, b...)
	}
	bucket := t.tx.Bucket(bucketTiers[tier])
	bucket.FillPercent = 0.95 // the setting lives as long as the transaction
	return bucket.Put(key[:], v)
}

// Delete deletes the whole run that the piece stands in.
func (t Tx) Delete(p *Piece) error {
	return t.tx.Bucket(bucketTiers[p.Tier]).Delete(p.key[:])
}
