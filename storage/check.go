package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// CheckOptions say how to check.
type CheckOptions struct {
	// Repair puts aside what cannot be opened, and writes files anew from what is
	// sound in them, rollups from the readings; the damaged ones are put aside
	// too. Nothing is deleted.
	Repair bool
	// Progress is told how many bytes have been looked at; nil: nobody is.
	Progress func(done, total int64)
}

// CheckReport is what a check has found.
type CheckReport struct {
	Files, Blocks, Readings int64
	Problems                []Problem
	Repaired                int // of the problems
}

// Problem is something that cannot be read.
type Problem struct {
	File, What string
	Lost       int64  // readings; -1: not known
	Aside      string // where the file is now; empty: where it was
}

// Check looks at every checksum in the folder, which no process may have open:
// ErrInUse. Problems are no error.
func Check(ctx context.Context, dir string, o CheckOptions) (CheckReport, error) {
	c := checker{dir: dir, options: o}
	if err := c.check(ctx); err != nil {
		return c.CheckReport, fmt.Errorf("storage: check: %w", err)
	}
	return c.CheckReport, nil
}

// checker is a check at work.
type checker struct {
	CheckReport
	dir         string
	options     CheckOptions
	done, total int64
	damaged     []string // files of the history that can be opened
	inBlocks    map[device.ID][]inBlocks
}

// inBlocks says that the readings of a device in a stretch of time and up to an
// offset are in a file of the history.
type inBlocks struct {
	start, end int64
	done       uint64
}

func (c *checker) check(ctx context.Context) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	// The lock of the log tells whether a gateway runs.
	if _, err := boltfile.Check(filepath.Join(c.dir, hotName)); err != nil && !errors.Is(err, boltfile.ErrStructure) {
		return err
	}
	c.inBlocks = map[device.ID][]inBlocks{}
	var names []string
	for _, e := range entries {
		if _, ok := kindOf(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	names = append(names, hotName) // last, for it tells what is not in the others
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(c.dir, name)); err == nil {
			c.total += info.Size()
		}
	}
	for _, name := range names {
		if err := c.file(ctx, name); err != nil {
			return err
		}
	}
	if c.options.Repair && len(c.damaged) > 0 {
		return c.repair(ctx)
	}
	return nil
}

// file looks at one file.
func (c *checker) file(ctx context.Context, name string) error {
	path := filepath.Join(c.dir, name)
	c.Files++
	size, err := boltfile.Check(path)
	switch {
	case err == nil && name == hotName:
		err = c.log(ctx, path)
	case err == nil:
		err = c.history(ctx, name)
	}
	if c.done += size; c.options.Progress != nil {
		c.options.Progress(c.done, c.total)
	}
	if !errors.Is(err, boltfile.ErrStructure) {
		return err
	}
	p := Problem{File: name, What: err.Error(), Lost: -1}
	if c.options.Repair {
		aside, err := boltfile.PutAside(path, time.Now())
		if err != nil {
			return err
		}
		p.Aside = filepath.Base(aside)
		c.Repaired++
	}
	c.Problems = append(c.Problems, p)
	return nil
}

// log looks at the batches of the log. A damaged one stays: it is left out, and
// leaves with its age.
func (c *checker) log(ctx context.Context, path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: boltfile.LockTimeout})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		log, cat := tx.Bucket(bucketLog), tx.Bucket(bucketCat)
		if log == nil || cat == nil {
			return fmt.Errorf("%w: not a store of readings", boltfile.ErrStructure)
		}
		devices := map[uint32]device.ID{}
		for id, s := range readCatalog(cat, func(k []byte) { c.problem(hotName, fmt.Errorf("catalogue entry %x", k), -1) }).byID {
			devices[id] = s.Device
		}
		if err := c.entries(tx); err != nil {
			return err
		}
		var b batch
		cur := log.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.Blocks++
			if err := c.batch(&b, k, v, devices); err != nil {
				c.problem(hotName, fmt.Errorf("batch %d: %w", keyNumber(k), err), -1)
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// sealed looks at the entries of a bucket, which stores of earlier versions may not
// have: look tells of an entry what it is, and whether it is sound.
func (c *checker) sealed(b *bolt.Bucket, look func(k, v []byte) (what string, good bool)) error {
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		if what, good := look(k, v); !good {
			c.problem(hotName, errors.New(what), -1)
		}
		return nil
	})
}

// entries looks at what hot.db holds beside readings.
func (c *checker) entries(tx *bolt.Tx) error {
	return errors.Join(
		c.sealed(tx.Bucket(bucketRegistry), func(k, v []byte) (string, bool) {
			_, good := decodeRegistration(k, v)
			return fmt.Sprintf("registration of device %q", k), good
		}),
		c.sealed(tx.Bucket(bucketCommands), func(k, v []byte) (string, bool) {
			_, good := decodeCommand(k, v)
			return fmt.Sprintf("command %x", k), good
		}),
		c.sealed(tx.Bucket(bucketGrants), func(k, v []byte) (string, bool) {
			_, good := decodeGrant(k, v)
			return fmt.Sprintf("access token %d", keyNumber(k)), good
		}),
	)
}

// batch looks at a batch and counts its readings that are in no block.
func (c *checker) batch(b *batch, key, value []byte, devices map[uint32]device.ID) error {
	if err := b.parse(keyNumber(key), value); err != nil {
		return err
	}
	if _, err := b.unpack(nil); err != nil {
		return err
	}
	r := b.reader()
	for {
		ok, err := r.next(nil)
		if !ok {
			return err
		}
		there := false
		for _, in := range c.inBlocks[devices[b.dict[r.row.index].id]] {
			at := int64(r.row.time)
			there = there || at >= in.start && at < in.end && r.row.offset <= in.done
		}
		if !there {
			c.Readings++
		}
	}
}

func (c *checker) problem(file string, what error, lost int64) {
	c.Problems = append(c.Problems, Problem{File: file, What: what.Error(), Lost: lost})
}

// history looks at the entries and blocks of a file of the history.
func (c *checker) history(ctx context.Context, name string) error {
	kind, _ := kindOf(name)
	f, err := stretch.Open(filepath.Join(c.dir, name), kind.Sealed(), nil)
	if err != nil {
		return err
	}
	before := len(c.Problems)
	err = f.View(func(tx stretch.Tx) error {
		damaged := func(err error) { c.problem(name, err, -1) }
		err := tx.Devices(func(d *stretch.Device) error {
			c.inBlocks[d.Name] = append(c.inBlocks[d.Name], inBlocks{f.Start, f.End, d.Done})
			return nil
		}, func(_ uint32, err error) { damaged(err) })
		if err != nil {
			return err
		}
		for t := range stretch.Tiers {
			err := tx.AllPieces(stretch.Tier(t), func(p *stretch.Piece) error {
				c.Blocks++
				return c.block(ctx, name, tx, p)
			}, damaged)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if len(c.Problems) > before {
		c.damaged = append(c.damaged, name)
	}
	return errors.Join(err, f.Close())
}

func (c *checker) block(ctx context.Context, name string, tx stretch.Tx, p *stretch.Piece) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var h block.Header
	b, err := tx.Block(p)
	if err == nil {
		err = h.Parse(b)
	}
	lost := int64(0) // rollups are made anew
	if p.Tier == stretch.Readings {
		lost = int64(p.Count)
	}
	if err != nil {
		c.problem(name, fmt.Errorf("block of device %d from %s: %w", p.Device, time.UnixMicro(p.MinTime).UTC().Format(time.RFC3339), err), lost)
		return nil
	}
	c.Readings += lost
	return nil
}

// repair writes the damaged files anew from what is sound in them.
func (c *checker) repair(ctx context.Context) error {
	l, err := Open(Config{Dir: c.dir, RetainAge: -1, RetainMinutes: -1, RetainHours: -1, RetainSize: 1 << 62})
	if err != nil {
		return err
	}
	asides := map[string]string{}
	for _, name := range c.damaged {
		aside, err := l.rewrite(ctx, name)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), l.Close())
		}
		if aside != "" {
			asides[name] = filepath.Base(aside)
		}
	}
	for i := range c.Problems {
		if p := &c.Problems[i]; p.Aside == "" && asides[p.File] != "" {
			p.Aside = asides[p.File]
			c.Repaired++
		}
	}
	return l.Close()
}

// rewrite seals the periods anew that a file has a part of, its rollups from the
// readings, and puts the file aside. It returns where that is; empty when the
// file was replaced before.
func (l *Log) rewrite(ctx context.Context, name string) (aside string, err error) {
	var v *volume
	for _, one := range l.shelf.volumes() {
		if one.name == name {
			v = one
		}
	}
	if v == nil {
		return "", nil
	}
	if aside, err = boltfile.LinkAside(v.path, time.Now()); err != nil {
		return "", err
	}
	for _, p := range l.shelf.periods {
		if p.start < v.meta.End && p.end > v.meta.Start {
			if err := l.sealAs(ctx, &sealer{log: l, periods: []*period{p}, anew: true}); err != nil {
				return "", err
			}
		}
	}
	if slices.Contains(l.shelf.volumes(), v) { // rollups of readings that are gone: what is sound is all there is
		return aside, l.rewriteTier(ctx, v)
	}
	return aside, nil
}

// rewriteTier writes a file of rollups anew.
func (l *Log) rewriteTier(ctx context.Context, v *volume) error {
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		if v.meta.Kind != tier.Kind() {
			continue
		}
		s := &sealer{log: l, anew: true}
		if err := s.writeTier(ctx, tier, v.meta.Start, v.meta.End); err != nil {
			return s.abandon(err)
		}
		if err := s.name(); err != nil {
			return s.abandon(err)
		}
		l.install(s)
	}
	return nil
}

// Renew gives the store in the folder, which no process may have open, a new
// id. So the cursors of the store that it was copied from, which has gone on
// giving offsets since, are told reset.
func Renew(dir string) error {
	db, err := boltfile.Open(filepath.Join(dir, hotName), boltfile.Options{NoFreelist: true})
	if err != nil {
		return fmt.Errorf("storage: renew: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: not a store of readings", boltfile.ErrStructure)
		}
		// The files of the history say the old one.
		kin, _ := boltfile.Unseal(keyKin, meta.Get(keyKin))
		old, _ := getMeta(meta, keyStore, storeIDLen)
		if err := putMeta(meta, keyKin, append(append([]byte(nil), kin...), old...)); err != nil {
			return err
		}
		return putMeta(meta, keyStore, []byte(strings.ToLower(rand.Text()[:storeIDLen])))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("storage: renew: %w", err)
	}
	return nil
}
