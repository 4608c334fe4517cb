package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
)

// bbolt trusts its pages: a damaged one ends the process, on a goroutine that
// cannot be recovered from. So the pages are walked here, before bbolt maps
// the file. The layout is bbolt's own, version 2, in the byte order of the
// machine:
//
//	page     id u64, flags u16, count u16, overflow u32; then the elements
//	meta     magic, version, page size, flags u32; root page, root sequence,
//	         free list, high water mark, transaction u64; FNV-1a of these
//	branch   elements pos, key size u32, page u64; pos is relative to the element
//	leaf     elements flags, pos, key size, value size u32; key and value at pos
//	bucket   a leaf value: root page, sequence u64; root 0: one leaf page follows
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHead    = 16
	metaLen     = 64
	elementLen  = 16
	bucketHead  = 16
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagBucket  = 0x01 // of a leaf element
	maxDepth    = 32   // of pages; a real tree of this fan-out has three or four
	minPageSize = 1 << 9
	maxPageSize = 1 << 16
)

// errStructure is wrapped by errors that say that a file cannot be opened
// because its structure is damaged or not bbolt's.
var errStructure = errors.New("damaged structure")

// checkStructure walks over all pages of a bbolt file of this size and reports
// the first that bbolt would stumble over.
func checkStructure(f io.ReaderAt, size int64) error {
	meta, err := readMeta(f, size)
	if err != nil {
		return err
	}
	if meta.pages > uint64(size)/uint64(meta.pageSize) {
		return fmt.Errorf("%w: %d bytes, want %d pages of %d", errStructure, size, meta.pages, meta.pageSize)
	}
	w := pageWalk{file: f, meta: meta, seen: make(bitmap, meta.pages/64+1)}
	return w.page(meta.root, 0)
}

type boltMeta struct {
	pageSize         int
	root, pages, txn uint64
}

// readMeta returns the newer of the sound meta pages.
func readMeta(f io.ReaderAt, size int64) (best boltMeta, err error) {
	first, ok, err := metaAt(f, 0)
	if err != nil {
		return best, err
	}
	found := ok
	best = first
	// Where the first is damaged, the page size is found by trying.
	lo, hi := int64(minPageSize), int64(maxPageSize)
	if ok {
		lo, hi = int64(first.pageSize), int64(first.pageSize)
	}
	for at := lo; at <= hi && at+pageHead+metaLen <= size; at *= 2 {
		m, ok, err := metaAt(f, at)
		if err != nil {
			return best, err
		}
		if ok && int64(m.pageSize) == at && (!found || m.txn > best.txn) {
			best, found = m, true
		}
	}
	if !found {
		return best, fmt.Errorf("%w: no sound meta page", errStructure)
	}
	return best, nil
}

func metaAt(f io.ReaderAt, at int64) (m boltMeta, ok bool, err error) {
	var buf [pageHead + metaLen]byte
	if _, err := f.ReadAt(buf[:], at); errors.Is(err, io.EOF) {
		return m, false, nil
	} else if err != nil {
		return m, false, err
	}
	e, b := binary.NativeEndian, buf[pageHead:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaLen-8]) // a hash never fails
	if e.Uint32(b) != boltMagic || e.Uint64(b[metaLen-8:]) != sum.Sum64() {
		return m, false, nil
	}
	if v := e.Uint32(b[4:]); v != boltVersion {
		return m, false, fmt.Errorf("%w: bbolt format %d", ErrNewerFormat, v)
	}
	m = boltMeta{pageSize: int(e.Uint32(b[8:])), root: e.Uint64(b[16:]), pages: e.Uint64(b[40:]), txn: e.Uint64(b[48:])}
	sane := m.pageSize >= minPageSize && m.pageSize <= maxPageSize && bits.OnesCount(uint(m.pageSize)) == 1
	return m, sane, nil
}

// pageWalk visits the pages of a tree depth first.
type pageWalk struct {
	file io.ReaderAt
	meta boltMeta
	seen bitmap
	free [][]byte // buffers of pages that were visited
}

// page checks the page and all below it. A tree of depth 32 is damaged.
func (w *pageWalk) page(id uint64, depth int) error {
	if id < 2 || id >= w.meta.pages || depth > maxDepth {
		return fmt.Errorf("%w: reference to page %d", errStructure, id)
	}
	buf, err := w.read(id)
	if err != nil {
		return err
	}
	defer func() { w.free = append(w.free, buf) }()
	h := parsePageHead(buf)
	if h.id != id || uint64(h.overflow) >= w.meta.pages-id {
		return fmt.Errorf("%w: head of page %d", errStructure, id)
	}
	for p := id; p <= id+uint64(h.overflow); p++ {
		if w.seen.has(uint32(p)) {
			return fmt.Errorf("%w: page %d is used twice", errStructure, p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	run := (int64(h.overflow) + 1) * int64(w.meta.pageSize)
	// The elements of a page with overflow may go beyond its first page.
	if need := pageHead + h.count*elementLen; need > len(buf) && int64(need) <= run {
		more := make([]byte, need)
		if _, err := w.file.ReadAt(more, int64(id)*int64(w.meta.pageSize)); err != nil {
			return err
		}
		buf = more
	}
	return w.elements(buf, h, run, depth)
}

type pageHeader struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint32
}

func parsePageHead(b []byte) pageHeader {
	e := binary.NativeEndian
	return pageHeader{id: e.Uint64(b), flags: e.Uint16(b[8:]), count: int(e.Uint16(b[10:])), overflow: e.Uint32(b[12:])}
}

func (w *pageWalk) read(id uint64) ([]byte, error) {
	var buf []byte
	if n := len(w.free); n > 0 {
		buf, w.free = w.free[n-1], w.free[:n-1]
	}
	if len(buf) < w.meta.pageSize {
		buf = make([]byte, w.meta.pageSize)
	}
	if _, err := w.file.ReadAt(buf[:w.meta.pageSize], int64(id)*int64(w.meta.pageSize)); err != nil {
		return nil, err
	}
	return buf, nil
}

// elements checks the element table at the front of a page run of this many
// bytes, and follows it. buf holds at least the first page.
func (w *pageWalk) elements(buf []byte, h pageHeader, run int64, depth int) error {
	end := int64(pageHead + h.count*elementLen)
	branch := h.flags == flagBranch
	if end > run || end > int64(len(buf)) || !branch && h.flags != flagLeaf || branch && h.count == 0 {
		return fmt.Errorf("%w: elements of page %d", errStructure, h.id)
	}
	e := binary.NativeEndian
	for i := range h.count {
		at := int64(pageHead + i*elementLen)
		el := buf[at:]
		if branch {
			if pos, ks := int64(e.Uint32(el)), int64(e.Uint32(el[4:])); at+pos < end || at+pos+ks > run {
				return fmt.Errorf("%w: key %d of page %d", errStructure, i, h.id)
			}
			if err := w.page(e.Uint64(el[8:]), depth+1); err != nil {
				return err
			}
			continue
		}
		flags, pos := e.Uint32(el), int64(e.Uint32(el[4:]))
		ks, vs := int64(e.Uint32(el[8:])), int64(e.Uint32(el[12:]))
		if at+pos < end || at+pos+ks+vs > run || flags > flagBucket {
			return fmt.Errorf("%w: value %d of page %d", errStructure, i, h.id)
		}
		if flags == flagBucket {
			if err := w.bucket(h, at+pos+ks, vs, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks the bucket whose header is the value of n bytes at this place
// of the page run.
func (w *pageWalk) bucket(h pageHeader, at, n int64, depth int) error {
	if n < bucketHead || n > int64(w.meta.pageSize) {
		return fmt.Errorf("%w: bucket of page %d", errStructure, h.id)
	}
	v := make([]byte, n)
	if _, err := w.file.ReadAt(v, int64(h.id)*int64(w.meta.pageSize)+at); err != nil {
		return err
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return w.page(root, depth+1)
	}
	inline := v[bucketHead:]
	if len(inline) < pageHead {
		return fmt.Errorf("%w: inline bucket of page %d", errStructure, h.id)
	}
	ih := parsePageHead(inline)
	if ih.id != 0 || ih.flags != flagLeaf {
		return fmt.Errorf("%w: inline bucket of page %d", errStructure, h.id)
	}
	ih.id = h.id // for the messages
	return w.inline(inline, ih)
}

// inline checks the leaf of an inline bucket, which holds no other buckets.
func (w *pageWalk) inline(buf []byte, h pageHeader) error {
	e := binary.NativeEndian
	end := int64(pageHead + h.count*elementLen)
	if end > int64(len(buf)) {
		return fmt.Errorf("%w: inline bucket of page %d", errStructure, h.id)
	}
	for i := range h.count {
		at := int64(pageHead + i*elementLen)
		el := buf[at:]
		pos, ks, vs := int64(e.Uint32(el[4:])), int64(e.Uint32(el[8:])), int64(e.Uint32(el[12:]))
		if e.Uint32(el) != 0 || at+pos < end || at+pos+ks+vs > int64(len(buf)) {
			return fmt.Errorf("%w: inline bucket of page %d", errStructure, h.id)
		}
	}
	return nil
}
