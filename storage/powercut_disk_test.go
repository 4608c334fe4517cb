package storage

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// diskOp is one thing that a process did to a folder. begun and done are
// positions in the recording: a power cut may fall between the two.
type diskOp struct {
	kind        diskOpKind
	file        int    // number of the file, for all but opRename, opRemove and opSyncDir
	name, to    string // of opCreate, opRename, opRemove
	at          int64  // offset of opWrite, length of opResize
	data        []byte
	begun, done int
}

type diskOpKind int

const (
	opWrite diskOpKind = iota
	opResize
	opSync
	opCreate // or link to a file that exists
	opRename
	opRemove
	opSyncDir
)

// never is when an operation ends that the recording does not see ending.
const never = math.MaxInt

func (o *diskOp) String() string {
	switch o.kind {
	case opWrite:
		return fmt.Sprintf("write %d+%d", o.at, len(o.data))
	case opResize:
		return fmt.Sprintf("resize to %d", o.at)
	case opCreate:
		return "create " + o.name
	case opRename:
		return "rename " + o.name + " to " + o.to
	case opRemove:
		return "remove " + o.name
	case opSync, opSyncDir:
		return "sync"
	}
	return "nothing"
}

const (
	sectorSize = 512 // what a disk writes whole or not at all
	blockSize  = 4096
)

// content is what a file holds, in blocks; a block that is missing is zeros. A
// block never changes, so that copies of a content share them.
type content struct {
	size   int64
	blocks map[int64][]byte
}

func (c *content) clone() *content { return &content{size: c.size, blocks: maps.Clone(c.blocks)} }

func (c *content) write(at int64, data []byte) {
	c.size = max(c.size, at+int64(len(data)))
	for len(data) > 0 {
		b, from := at/blockSize, at%blockSize
		block := make([]byte, blockSize)
		copy(block, c.blocks[b])
		n := copy(block[from:], data)
		c.blocks[b] = block
		at, data = at+int64(n), data[n:]
	}
}

func (c *content) resize(size int64) {
	for b, old := range c.blocks {
		switch from := b * blockSize; {
		case from >= size:
			delete(c.blocks, b)
		case from+blockSize > size:
			block := make([]byte, blockSize)
			copy(block, old[:size-from])
			c.blocks[b] = block
		}
	}
	c.size = size
}

func (c *content) save(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for b, block := range c.blocks {
		if _, err := f.WriteAt(block[:min(blockSize, c.size-b*blockSize)], b*blockSize); err != nil {
			return err
		}
	}
	if err := f.Truncate(c.size); err != nil {
		return err
	}
	return f.Close()
}

// disk is a folder as a power cut would find it: what is surely there, and what
// has been done since, in order, of which anything may be there.
type disk struct {
	files   map[int]*diskFile
	names   map[string]int
	pending []*diskOp // of the names
}

type diskFile struct {
	content
	pending []*diskOp
}

func newDisk(start map[string]*content) (*disk, map[string]int) {
	d := &disk{files: map[int]*diskFile{}, names: map[string]int{}}
	for _, name := range slices.Sorted(maps.Keys(start)) {
		d.names[name] = len(d.files)
		d.files[len(d.files)] = &diskFile{content: *start[name].clone()}
	}
	return d, maps.Clone(d.names)
}

// begin takes up an operation, sync makes sure what such an operation does once
// it is over.
func (d *disk) begin(o *diskOp) {
	switch o.kind {
	case opSync, opSyncDir:
		return
	case opWrite, opResize:
		f := d.files[o.file]
		f.pending = append(f.pending, o)
		return
	case opCreate:
		if d.files[o.file] == nil {
			d.files[o.file] = &diskFile{content: content{blocks: map[int64][]byte{}}}
		}
	case opRename, opRemove:
	}
	d.pending = append(d.pending, o)
}

// sync counts for what was over when it began.
func (d *disk) sync(o *diskOp) {
	if o.kind == opSyncDir {
		d.pending = slices.DeleteFunc(d.pending, func(p *diskOp) bool {
			if p.done < o.begun {
				apply(d.names, p)
				return true
			}
			return false
		})
		return
	}
	f := d.files[o.file]
	f.pending = slices.DeleteFunc(f.pending, func(p *diskOp) bool {
		if p.done < o.begun {
			if p.kind == opWrite {
				f.write(p.at, p.data)
			} else {
				f.resize(p.at)
			}
			return true
		}
		return false
	})
}

func apply(names map[string]int, o *diskOp) {
	switch o.kind {
	case opCreate:
		names[o.name] = o.file
	case opRename:
		names[o.to] = names[o.name]
		delete(names, o.name)
	case opRemove:
		delete(names, o.name)
	case opWrite, opResize, opSync, opSyncDir:
	}
}

// unsynced names the files of which something may be lost, "." for the names.
func (d *disk) unsynced() (names []string) {
	if len(d.pending) > 0 {
		names = append(names, ".")
	}
	live := maps.Clone(d.names)
	for _, o := range d.pending {
		apply(live, o)
	}
	for name, file := range live {
		if len(d.files[file].pending) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// cut returns the files that a power cut leaves, and tells in fate what became
// of everything that was not synced. It is the same for the same rng.
func (d *disk) cut(rng *rand.Rand) (files map[string]*content, fate string) {
	var told strings.Builder
	names := d.cutNames(rng, &told)
	files = map[string]*content{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := d.files[names[name]]
		c := f.clone()
		keep := []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
		for _, o := range f.pending {
			fmt.Fprintf(&told, "%s: %s: %s\n", name, o, cutOp(c, o, keep, rng))
		}
		files[name] = c
	}
	return files, told.String()
}

// cutOp does what a power cut leaves of a write or a change of the length.
func cutOp(c *content, o *diskOp, keep float64, rng *rand.Rand) string {
	kept := rng.Float64() < keep
	switch {
	case o.kind == opResize && kept:
		c.resize(o.at)
		return "kept"
	case o.kind == opResize:
		return "lost"
	case keep > 0 && keep < 1 && rng.IntN(4) == 0:
		return "torn " + tear(c, o, rng)
	case kept:
		c.write(o.at, o.data)
		return "kept"
	}
	return "lost"
}

// tear writes some of the sectors. The file may become as long as with all of
// them, with zeros where nothing was written.
func tear(c *content, o *diskOp, rng *rand.Rand) string {
	if rng.IntN(2) == 0 {
		c.size = max(c.size, o.at+int64(len(o.data)))
	}
	var told strings.Builder
	for at, rest := o.at, o.data; len(rest) > 0; {
		n := min(int64(len(rest)), sectorSize-at%sectorSize)
		bit := rng.IntN(2)
		if bit == 1 {
			c.write(at, rest[:n])
		}
		if told.Len() < 100 {
			fmt.Fprint(&told, bit)
		}
		at, rest = at+n, rest[n:]
	}
	return told.String()
}

// cutNames does what a power cut leaves of creations, renames and removals. A
// journal keeps them up to some point; where there is none, any of them may be
// lost, except that a name's later ones do not survive its earlier ones.
func (d *disk) cutNames(rng *rand.Rand, told *strings.Builder) map[string]int {
	names := maps.Clone(d.names)
	journal := rng.IntN(4) > 0
	until := rng.IntN(len(d.pending) + 1)
	lost := map[string]bool{}
	for i, o := range d.pending {
		keep := rng.IntN(2) == 0
		if journal {
			keep = i < until
		}
		if !keep || lost[o.name] || lost[o.to] {
			lost[o.name] = true
			if o.kind == opRename {
				lost[o.to] = true
			}
			fmt.Fprintf(told, "%s: lost\n", o)
			continue
		}
		apply(names, o)
		fmt.Fprintf(told, "%s: kept\n", o)
	}
	return names
}

// saveFiles makes a folder of files.
func saveFiles(dir string, files map[string]*content) error {
	for name, c := range files {
		if err := c.save(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// TestDisk lists what the cut of a disk may leave of operations on a file a
// whose durable content is "old", and that it leaves nothing else.
func TestDisk(t *testing.T) {
	write := func(at int64, text string) diskOp { return diskOp{kind: opWrite, at: at, data: []byte(text)} }
	long := func(c string) string { return strings.Repeat(c, sectorSize) }
	for _, tt := range []struct {
		name string
		ops  []diskOp // each begins when the one before it is done
		want []string // name=content, …; as showFiles has it
	}{
		{"synced", []diskOp{write(0, "new"), {kind: opSync}}, []string{"a=new"}},
		{"written", []diskOp{write(0, "new")}, []string{"a=new", "a=old"}},
		{"written twice", []diskOp{write(0, "n"), write(1, "ew")}, []string{"a=new", "a=nld", "a=oew", "a=old"}},
		{"written after the sync", []diskOp{write(0, "n"), {kind: opSync}, write(1, "ew")}, []string{"a=new", "a=nld"}},
		{"another file's sync", []diskOp{{kind: opCreate, file: 1, name: "b"}, {kind: opSyncDir}, write(0, "new"), {kind: opSync, file: 1}}, []string{"a=new b=", "a=old b="}},
		{"torn", []diskOp{{kind: opResize}, {kind: opSync}, write(0, long("x")+long("y"))}, []string{
			"a=", "a=0*512 0*512", "a=0*512 y*512", "a=x*512", "a=x*512 0*512", "a=x*512 y*512",
		}},
		{"grown", []diskOp{{kind: opResize, at: 5}}, []string{"a=old", "a=old00"}},
		{"shortened and written", []diskOp{{kind: opResize, at: 1}, write(1, "k")}, []string{"a=o", "a=o0", "a=ok", "a=okd", "a=old"}},
		{"created", []diskOp{{kind: opCreate, file: 1, name: "b"}, {kind: opWrite, file: 1, data: []byte("B")}, {kind: opSync, file: 1}}, []string{"a=old", "a=old b=B"}},
		{"created, the folder synced", []diskOp{{kind: opCreate, file: 1, name: "b"}, {kind: opSyncDir}}, []string{"a=old b="}},
		{"renamed over", []diskOp{
			{kind: opCreate, file: 1, name: "b"},
			{kind: opWrite, file: 1, data: []byte("B")},
			{kind: opSync, file: 1},
			{kind: opSyncDir},
			{kind: opRename, name: "b", to: "a"},
		}, []string{"a=B", "a=old b=B"}},
		{"removed before its replacement is named", []diskOp{
			{kind: opCreate, file: 1, name: "b"}, {kind: opRemove, name: "a"},
		}, []string{"", "a=old", "a=old b=", "b="}},
		{"renamed and made anew", []diskOp{{kind: opRename, name: "a", to: "b"}, {kind: opCreate, file: 1, name: "a"}}, []string{"a= b=old", "a=old", "b=old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := &content{blocks: map[int64][]byte{}}
			old.write(0, []byte("old"))
			d, _ := newDisk(map[string]*content{"a": old})
			for i := range tt.ops {
				o := &tt.ops[i]
				o.begun, o.done = 2*i, 2*i+1
				d.begin(o)
				if o.kind == opSync || o.kind == opSyncDir {
					d.sync(o)
				}
			}
			got := map[string]bool{}
			rng := rand.New(rand.NewPCG(3, 4))
			for range 1000 {
				files, _ := d.cut(rng)
				got[showFiles(files)] = true
			}
			if s := slices.Sorted(maps.Keys(got)); !slices.Equal(s, tt.want) {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

// showFiles returns name=content of all files, the sectors that are of one
// character only shortened.
func showFiles(files map[string]*content) string {
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c := files[name]
		data := make([]byte, c.size)
		for b, block := range c.blocks {
			copy(data[b*blockSize:], block)
		}
		var parts []string
		for sector := range slices.Chunk(bytes.ReplaceAll(data, []byte{0}, []byte("0")), sectorSize) {
			part := string(sector)
			if len(sector) == sectorSize && strings.Trim(part, part[:1]) == "" {
				part = part[:1] + "*512"
			}
			parts = append(parts, part)
		}
		shown = append(shown, name+"="+strings.Join(parts, " "))
	}
	return strings.Join(shown, " ")
}
