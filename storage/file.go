package storage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// The buckets of hot.db. Every value but a log batch, which has its own
// checksum, is sealed with a CRC32C in front.
var (
	bucketMeta = []byte("meta")
	bucketCat  = []byte("cat")  // series id uv → device 0x00 metric
	bucketLast = []byte("last") // series id uv → batch of its last reading, once the log no longer has it
	bucketLog  = []byte("log")  // first offset u64 big-endian → batch

	keyFormat = []byte("format") // u32: version of the buckets
	keyStore  = []byte("store")  // the store id
	keyBound  = []byte("bound")  // u64: offsets up to here may have been handed out
	keyFloor  = []byte("floor")  // u64: offsets up to here were dropped by retention
	// keyFlushed is u64: readings up to here are in the files of the history, or
	// were dropped.
	keyFlushed = []byte("flushed")
	// keyKin are the ids of the stores whose files of the history are taken for
	// the store's own, one behind the other.
	keyKin   = []byte("kin")
	keyClean = []byte("clean") // 0 or 1: bound is the last offset handed out
)

const (
	formatVersion = 2
	// allocSize is by how much the file grows at a time.
	allocSize  = 4 << 20
	storeIDLen = 8
)

// openFile opens or creates the database and replays it. A file whose
// structure is damaged is put aside first.
func (l *Log) openFile() error {
	err := l.openOnce()
	if !errors.Is(err, boltfile.ErrStructure) {
		return err
	}
	aside, renameErr := boltfile.PutAside(l.path, time.Now())
	if renameErr != nil {
		return errors.Join(err, renameErr)
	}
	l.cfg.Logger.Error("store was damaged: put aside, a new one is begun",
		"error", err, "aside", aside)
	l.stats.putAside.Add(1)
	return l.openOnce()
}

func (l *Log) openOnce() (err error) {
	defer func() {
		if err != nil && l.db != nil {
			l.files.closeAll()
			_ = l.db.Close() // err is the one that matters
		}
	}()
	l.cat, l.db = newCatalog(), nil
	// An empty file is what an older version left when the power went.
	if info, err := os.Stat(l.path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		if err := l.createFile(); err != nil {
			return err
		}
	}
	maxSize := int(l.cfg.LogSize) + sizeHeadroom
	l.db, err = boltfile.Open(l.path, boltfile.Options{
		NoFreelist: true, MaxSize: maxSize, Mmap: maxSize, Grow: allocSize, Written: &l.written,
	})
	if err != nil {
		return err
	}
	return l.load()
}

// Compact makes the store in the folder, which no process may have open, as small
// as it gets: everything goes into sealed files, and the log keeps nothing of
// what they have, so that older cursors are served from blocks.
func Compact(ctx context.Context, dir string) error {
	l, err := Open(Config{Dir: dir, LogAge: -1, RetainAge: -1, RetainMinutes: -1, RetainHours: -1, RetainSize: 1 << 62})
	if err != nil {
		return err
	}
	err = l.sealAll(ctx)
	for trimmed := true; err == nil && trimmed; {
		job := commitJob{last: l.next - 1, flushed: l.flushed}
		err = l.db.Update(func(tx *bolt.Tx) error { return l.trim(tx, &job, 1<<40) })
		if trimmed = job.dropped.floor > 0; trimmed && err == nil {
			l.forget(&job.dropped)
		}
	}
	if err = errors.Join(err, l.Close()); err != nil {
		return fmt.Errorf("storage: compact: %w", err)
	}
	if err := l.shrink(); err != nil {
		return fmt.Errorf("storage: compact: %w", err)
	}
	return nil
}

// shrink writes hot.db anew, without the pages that are free.
func (l *Log) shrink() error {
	path := l.path + unfinished
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from, err := boltfile.Open(l.path, boltfile.Options{NoFreelist: true})
	if err != nil {
		return err
	}
	to, err := boltfile.Open(path, boltfile.Options{NoFreelist: true, Grow: boltfile.PageSize})
	if err != nil {
		return errors.Join(err, from.Close())
	}
	if err := errors.Join(bolt.Compact(to.DB, from.DB, allocSize), to.Close(), from.Close()); err != nil {
		return err
	}
	if err := os.Rename(path, l.path); err != nil {
		return err
	}
	return boltfile.SyncDir(l.cfg.Dir)
}

// createFile makes hot.db and gives it its name when it is whole: a power cut
// would leave a part of a first page.
func (l *Log) createFile() error {
	path := l.path + unfinished
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := boltfile.Open(path, boltfile.Options{NoFreelist: true})
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(create), db.Close()); err != nil {
		return err
	}
	if err := os.Rename(path, l.path); err != nil {
		return err
	}
	return boltfile.SyncDir(l.cfg.Dir)
}

// load reads or makes the buckets, and reserves offsets for this run.
func (l *Log) load() error {
	return l.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: not a store of readings", boltfile.ErrStructure)
		}
		format, ok := getMeta(meta, keyFormat, 4)
		if !ok {
			return fmt.Errorf("%w: format", boltfile.ErrStructure)
		}
		if v := binary.LittleEndian.Uint32(format); v > formatVersion {
			return fmt.Errorf("%w: version %d, known %d", ErrNewerFormat, v, formatVersion)
		}
		for _, name := range [][]byte{bucketCat, bucketLast, bucketLog} {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no bucket %q", boltfile.ErrStructure, name)
			}
		}
		if err := l.loadStoreID(meta); err != nil {
			return err
		}
		if err := l.loadNames(tx, meta); err != nil {
			return err
		}
		if err := l.registry.load(tx); err != nil {
			return err
		}
		if err := l.mailbox.load(tx); err != nil {
			return err
		}
		if err := l.grants.load(tx); err != nil {
			return err
		}
		l.age.load(meta, l.cfg.Now())
		l.replay(tx)
		return l.loadOffsets(tx, meta)
	})
}

// create makes the buckets of a new file.
func create(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketCat, bucketLast, bucketLog} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return putMeta(tx.Bucket(bucketMeta), keyFormat, binary.LittleEndian.AppendUint32(nil, formatVersion))
}

func (l *Log) loadStoreID(meta *bolt.Bucket) error {
	id, ok := getMeta(meta, keyStore, storeIDLen)
	if ok {
		l.storeID = string(id)
		return nil
	}
	if meta.Get(keyStore) != nil {
		l.cfg.Logger.Error("store id was damaged: a new one is made, cursors start anew")
		l.stats.damagedEntries.Add(1)
	}
	l.storeID = strings.ToLower(rand.Text()[:storeIDLen])
	return putMeta(meta, keyStore, []byte(l.storeID))
}

// loadNames reads the catalogue and the files of the history. A store whose
// catalogue is empty takes any files: they may be all that damage has left.
func (l *Log) loadNames(tx *bolt.Tx, meta *bolt.Bucket) error {
	names := readCatalog(tx.Bucket(bucketCat), l.damagedEntry)
	kin := []string{l.storeID}
	if text, ok := boltfile.Unseal(keyKin, meta.Get(keyKin)); ok {
		for id := range slices.Chunk(text, storeIDLen) {
			kin = append(kin, string(id))
		}
	}
	if len(names.byID) == 0 {
		kin = nil
	}
	if err := l.loadShelf(names, kin); err != nil {
		return err
	}
	if kin == nil {
		if err := l.adoptKin(meta); err != nil {
			return err
		}
	}
	return l.fillCatalog(names, tx.Bucket(bucketCat))
}

// adoptKin notes the stores that the files of the history are from.
func (l *Log) adoptKin(meta *bolt.Bucket) error {
	var kin []string
	for _, v := range l.shelf.volumes() {
		if id := v.meta.Store; len(id) == storeIDLen && id != l.storeID && !slices.Contains(kin, id) {
			kin = append(kin, id)
		}
	}
	if kin == nil {
		return nil
	}
	l.cfg.Logger.Warn("the history of another store is taken over", "stores", kin)
	return putMeta(meta, keyKin, []byte(strings.Join(kin, "")))
}

// loadOffsets finds where counting goes on: right after the last offset when
// the file was closed cleanly, otherwise above everything that was reserved.
func (l *Log) loadOffsets(tx *bolt.Tx, meta *bolt.Bucket) error {
	last := max(l.durable.Load(), l.floor)
	for _, p := range l.shelf.periods {
		for _, v := range p.volumes() {
			for _, r := range v.devices {
				last = max(last, r.maxOffset, r.done)
			}
		}
	}
	bound, ok := getMeta(meta, keyBound, 8)
	switch {
	case ok:
		reserved := binary.LittleEndian.Uint64(bound)
		if clean, ok := getMeta(meta, keyClean, 1); !ok || clean[0] == 0 {
			l.cfg.Logger.Info("store was not closed: offsets go on above the reserved ones",
				"last_offset", last, "reserved", reserved)
		}
		last = max(last, reserved)
	case meta.Get(keyBound) != nil:
		// The reservation cannot be read. It was at most one step ahead of
		// the newest batch, and that batch, readable or not, has its bound.
		l.cfg.Logger.Error("offset reservation was damaged: offsets go on above the largest possible one")
		l.stats.damagedEntries.Add(1)
		if k, _ := tx.Bucket(bucketLog).Cursor().Last(); k != nil {
			last = max(last, keyNumber(k)+maxBatchReadings)
		}
		last += 2 * offsetStep
	}
	if k, _ := tx.Bucket(bucketLog).Cursor().First(); k == nil {
		l.logFloor = last
	}
	l.next, l.bound = last+1, last+offsetStep
	l.taken = last
	l.durable.Store(last)
	if err := putMeta(meta, keyClean, []byte{0}); err != nil {
		return err
	}
	return putMeta(meta, keyBound, le64(l.bound))
}

// putMeta stores a value with its checksum.
func putMeta(b *bolt.Bucket, key, value []byte) error {
	return b.Put(key, boltfile.Seal(key, value))
}

// getMeta returns the value of this key if it is there, sound and n bytes long.
func getMeta(b *bolt.Bucket, key []byte, n int) ([]byte, bool) {
	v, ok := boltfile.Unseal(key, b.Get(key))
	return v, ok && len(v) == n
}

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// numberKey returns the key of what has a number: a batch of the log its first offset,
// a command or a grant its id. Keys are in the order of the numbers.
func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// keyNumber returns the number in such a key; 0 for a key that is none.
func keyNumber(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

func seriesKey(id uint32) []byte { return binary.AppendUvarint(nil, uint64(id)) }

func seriesValue(s device.Series) []byte {
	return append(append([]byte(s.Device), 0), s.Metric...)
}
