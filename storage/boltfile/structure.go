package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/bits"
)

// bbolt trusts its pages: a damaged one makes it panic on a goroutine of its
// own, which ends the process, or leaves that goroutine behind. So the pages
// are walked here, before bbolt maps the file. The layout is bbolt's own, version 2, in the byte order of the
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

	pageHead = 16
	metaLen  = 64
	// elementLen is what a page needs for each key beside key and value.
	elementLen  = 16
	bucketHead  = 16
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagBucket  = 0x01 // of a leaf element
	maxDepth    = 32   // of pages; a real tree of this fan-out has three or four
	minPageSize = 1 << 9
	maxPageSize = 1 << 16
)

// ErrStructure is wrapped by errors that say that a file cannot be opened
// because its structure is damaged or not bbolt's.
var ErrStructure = errors.New("damaged structure")

// CheckStructure walks over all pages of a bbolt file of this size and reports
// the first that bbolt would stumble over.
func CheckStructure(f io.ReaderAt, size int64) error {
	meta, err := checkMeta(f, size)
	if err != nil {
		return err
	}
	w := pageWalk{file: f, meta: meta, seen: make(pageSet, meta.pages/64+1)}
	_, err = w.page(meta.root, 0, nil, nil)
	return err
}

// checkMeta reports whether the file has a sound meta page, and the length that
// it tells.
func checkMeta(f io.ReaderAt, size int64) (boltMeta, error) {
	meta, err := readMeta(f, size)
	if err == nil && meta.pages > uint64(size)/uint64(meta.pageSize) {
		err = fmt.Errorf("%w: %d bytes, want %d pages of %d", ErrStructure, size, meta.pages, meta.pageSize)
	}
	return meta, err
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
		return best, fmt.Errorf("%w: no sound meta page", ErrStructure)
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

// pageSet is a set of pages, a bit each.
type pageSet []uint64

// pageWalk visits the pages of a tree depth first.
type pageWalk struct {
	file io.ReaderAt
	meta boltMeta
	seen pageSet
	free [][]byte // buffers of pages that were visited
}

// page checks the page and all below it: that nothing points out of its page
// or to a page twice, and that all keys ascend, from lo on and below hi, where
// nil means any. It returns the last key. A tree of depth 32 is damaged.
func (w *pageWalk) page(id uint64, depth int, lo, hi []byte) (last []byte, err error) {
	if id < 2 || id >= w.meta.pages || depth > maxDepth {
		return nil, fmt.Errorf("%w: reference to page %d", ErrStructure, id)
	}
	var head [pageHead]byte
	if err := w.read(head[:], id, 0); err != nil {
		return nil, err
	}
	h := parsePageHead(head[:])
	if h.id != id || h.overflow >= w.meta.pages-id || h.flags != flagBranch && h.flags != flagLeaf {
		return nil, fmt.Errorf("%w: head of page %d", ErrStructure, id)
	}
	for p := id; p <= id+h.overflow; p++ {
		if w.seen[p/64]>>(p%64)&1 == 1 {
			return nil, fmt.Errorf("%w: page %d is used twice", ErrStructure, p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	buf := w.buffer(int(h.overflow+1) * w.meta.pageSize)
	defer func() { w.free = append(w.free, buf) }()
	if err := w.read(buf, id, 0); err != nil {
		return nil, err
	}
	if h.flags == flagBranch {
		return w.branch(buf, h, depth, lo, hi)
	}
	last, err = w.leaf(buf, h, depth, lo, hi)
	return bytes.Clone(last), err
}

type pageHeader struct {
	id, overflow uint64
	flags        uint16
	count        int
}

func parsePageHead(b []byte) pageHeader {
	e := binary.NativeEndian
	return pageHeader{id: e.Uint64(b), flags: e.Uint16(b[8:]), count: int(e.Uint16(b[10:])), overflow: uint64(e.Uint32(b[12:]))}
}

func (w *pageWalk) read(buf []byte, id uint64, at int64) error {
	_, err := w.file.ReadAt(buf, int64(id)*int64(w.meta.pageSize)+at)
	return err
}

func (w *pageWalk) buffer(n int) []byte {
	if last := len(w.free) - 1; last >= 0 {
		buf := w.free[last]
		w.free = w.free[:last]
		if cap(buf) >= n {
			return buf[:n]
		}
	}
	return make([]byte, n)
}

// part returns n bytes of a page, pos bytes after its ith element.
func (h *pageHeader) part(buf []byte, i int, pos, n uint32) ([]byte, error) {
	from := int64(pageHead) + int64(i)*elementLen + int64(pos)
	if from < int64(pageHead)+int64(h.count)*elementLen || from+int64(n) > int64(len(buf)) {
		return nil, fmt.Errorf("%w: element %d of page %d", ErrStructure, i, h.id)
	}
	return buf[from : from+int64(n)], nil
}

// inOrder checks the ith key of a page against the one before it and the
// first key that is beyond the page.
func (h *pageHeader) inOrder(i int, key, before, hi []byte) error {
	c := bytes.Compare(before, key)
	if c > 0 || c == 0 && i > 0 || hi != nil && bytes.Compare(key, hi) >= 0 {
		return fmt.Errorf("%w: key %d of page %d is out of order", ErrStructure, i, h.id)
	}
	return nil
}

func (w *pageWalk) branch(buf []byte, h pageHeader, depth int, lo, hi []byte) ([]byte, error) {
	if h.count == 0 || pageHead+h.count*elementLen > len(buf) {
		return nil, fmt.Errorf("%w: elements of page %d", ErrStructure, h.id)
	}
	e := binary.NativeEndian
	key := func(i int) ([]byte, error) {
		el := buf[pageHead+i*elementLen:]
		return h.part(buf, i, e.Uint32(el), e.Uint32(el[4:]))
	}
	last := lo
	for i := range h.count {
		k, err := key(i)
		if err == nil {
			err = h.inOrder(i, k, last, hi)
		}
		if err != nil {
			return nil, err
		}
		end := hi
		if i+1 < h.count {
			if end, err = key(i + 1); err != nil {
				return nil, err
			}
		}
		child := e.Uint64(buf[pageHead+i*elementLen+8:])
		if last, err = w.page(child, depth+1, k, end); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// leaf checks the leaf page in buf; depth is negative for that of an inline
// bucket, which holds no other buckets.
func (w *pageWalk) leaf(buf []byte, h pageHeader, depth int, lo, hi []byte) ([]byte, error) {
	if pageHead+h.count*elementLen > len(buf) {
		return nil, fmt.Errorf("%w: elements of page %d", ErrStructure, h.id)
	}
	e := binary.NativeEndian
	last := lo
	for i := range h.count {
		el := buf[pageHead+i*elementLen:]
		flags, pos, keyLen, valueLen := e.Uint32(el), e.Uint32(el[4:]), e.Uint32(el[8:]), e.Uint32(el[12:])
		k, err := h.part(buf, i, pos, keyLen)
		if err == nil {
			err = h.inOrder(i, k, last, hi)
		}
		if err != nil {
			return nil, err
		}
		from := int64(pos) + int64(keyLen)
		if from > math.MaxUint32 {
			return nil, fmt.Errorf("%w: value %d of page %d", ErrStructure, i, h.id)
		}
		v, err := h.part(buf, i, uint32(from), valueLen)
		if err != nil {
			return nil, err
		}
		switch {
		case flags == flagBucket && depth >= 0:
			err = w.bucket(v, h, depth)
		case flags != 0:
			err = fmt.Errorf("%w: flags %#x of element %d of page %d", ErrStructure, flags, i, h.id)
		}
		if err != nil {
			return nil, err
		}
		last = k
	}
	return last, nil
}

// bucket checks the bucket whose header, and perhaps whose only page, is v.
func (w *pageWalk) bucket(v []byte, h pageHeader, depth int) error {
	if len(v) < bucketHead {
		return fmt.Errorf("%w: bucket in page %d", ErrStructure, h.id)
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		_, err := w.page(root, depth+1, nil, nil)
		return err
	}
	inline := v[bucketHead:]
	if len(inline) < pageHead {
		return fmt.Errorf("%w: inline bucket in page %d", ErrStructure, h.id)
	}
	ih := parsePageHead(inline)
	if ih.id != 0 || ih.overflow != 0 || ih.flags != flagLeaf {
		return fmt.Errorf("%w: inline bucket in page %d", ErrStructure, h.id)
	}
	ih.id = h.id // for the messages
	_, err := w.leaf(inline, ih, -1, nil, nil)
	return err
}
