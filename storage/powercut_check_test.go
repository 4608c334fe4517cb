package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// powercutMore is how many readings are appended to what a power cut left.
const powercutMore = 60

// cutChecker checks what one power cut left.
type cutChecker struct {
	*story
	at   int
	gone []gone
	dir  string
	rng  *rand.Rand
	left *survivor
}

// check opens the store that a power cut left, in a new folder that it removes
// again, and says what is wrong with it.
func (s *story) check(t *testing.T, dir string, c *powerCut) (*survivor, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	k := cutChecker{
		story: s, at: c.at, gone: s.gone(c.at), dir: dir, rng: rand.New(rand.NewPCG(uint64(c.at), 1)),
		left: &survivor{files: c.files, numbers: map[uint64]int64{}},
	}
	err := saveFiles(dir, c.files)
	if err == nil {
		err = k.checkStore(t.Context())
	}
	if err == nil {
		err = checkFolder(dir)
	}
	return k.left, errors.Join(err, os.RemoveAll(dir))
}

// checkStore checks the store, appends to it and goes on with it as a keeper may,
// and checks that this and nothing else is new when it is opened again. Not every
// cut is followed by every check, for they take long.
func (k *cutChecker) checkStore(ctx context.Context) error {
	var all []device.Stored
	err := k.withStore(func(l *Log) error {
		found, err := answers(ctx, l)
		if err != nil {
			return err
		}
		if err := k.checkFound(l, found); err != nil {
			return err
		}
		if err := k.checkTrends(ctx, l, found); err != nil {
			return fmt.Errorf("when opened: %w", err)
		}
		if all, err = k.appendMore(l, found); err != nil {
			return err
		}
		if err := k.goOn(ctx, l); err != nil || k.rng.IntN(3) > 0 {
			return err
		}
		return k.checkAgain(ctx, l, all, "after more")
	})
	if err != nil {
		return err
	}
	return k.withStore(func(l *Log) error {
		if err := k.checkAgain(ctx, l, all, "after another opening"); err != nil || k.rng.IntN(3) > 0 {
			return err
		}
		if err := l.sealAll(ctx); err != nil {
			return err
		}
		if err := k.checkAgain(ctx, l, all, "after sealing"); err != nil {
			return err
		}
		return errors.Join(checkCounts(l, len(all)), checkBlocks(l))
	})
}

// goOn does some of what a keeper does.
func (k *cutChecker) goOn(ctx context.Context, l *Log) (err error) {
	for range k.rng.IntN(4) {
		switch k.rng.IntN(4) {
		case 0:
			err = l.commit(commitDue)
		case 1:
			err = l.flush(ctx, allDevices)
		case 2:
			err = l.sealDue(ctx)
		case 3:
			if cold, _ := l.coldPeriods(); len(cold) > 0 {
				err = l.cut(cold[len(cold)-1])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkAgain checks that these readings are there, and no others.
func (k *cutChecker) checkAgain(ctx context.Context, l *Log, want []device.Stored, when string) error {
	again, err := answers(ctx, l)
	if diff := diffStored(want, again); err == nil && diff != "" {
		err = fmt.Errorf("-want +got:\n%s", diff)
	}
	if err == nil {
		err = k.checkTrends(ctx, l, want)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	return nil
}

// withStore opens the store, calls fn, and closes it. Nothing may be damaged.
func (k *cutChecker) withStore(fn func(*Log) error) error {
	cfg := powercutConfig(k.dir)
	if k.rng.IntN(2) == 0 { // the opening flushes what it finds
		cfg.MaxUnflushed = 2 * powercutMore
	}
	var told bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := Open(cfg)
	if err != nil {
		return err
	}
	err = fn(l)
	if told.Len() > 0 {
		err = errors.Join(err, errors.New(told.String()))
	}
	if st := l.Stats(); st.Damaged+st.DamagedParts+st.DamagedNames+st.FilesPutAside != 0 {
		err = errors.Join(err, fmt.Errorf("%d batches, %d parts and %d entries damaged, %d files put aside",
			st.Damaged, st.DamagedParts, st.DamagedNames, st.FilesPutAside))
	}
	return errors.Join(err, l.Close())
}

// answers returns all readings of the store, for which every way to ask must
// give the same answer.
func answers(ctx context.Context, l *Log) (all []device.Stored, err error) {
	err = l.Read(ctx, device.Query{}, func(r *device.Stored) error {
		all = append(all, *r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := checkFollowed(ctx, l, all); err != nil {
		return nil, err
	}
	n, err := l.Count(ctx, device.Query{})
	if err != nil {
		return nil, err
	}
	if n != int64(len(all)) {
		return nil, fmt.Errorf("%d readings are counted and %d read", n, len(all))
	}
	return all, nil
}

// checkFollowed checks that After gives what can be read, and else what was
// replaced and the log still has.
func checkFollowed(ctx context.Context, l *Log, all []device.Stored) error {
	floor, head := l.Bounds()
	var after []device.Stored
	for next := uint64(0); next < head; {
		rs, n, err := l.After(ctx, device.Selector{}, next, 1000)
		if err != nil {
			return err
		}
		if n <= next {
			return fmt.Errorf("after %d comes %d", next, n)
		}
		after, next = append(after, rs...), n
	}
	want := make([]device.Stored, 0, len(all))
	for _, r := range all {
		if r.Offset > floor {
			want = append(want, r)
		}
	}
	newest := newestOf(all)
	last := floor
	for _, r := range after {
		if r.Offset <= last {
			return fmt.Errorf("after %d comes %d", last, r.Offset)
		}
		last = r.Offset
	}
	after = slices.DeleteFunc(after, func(r device.Stored) bool { return newest[keyOf(&r.Reading)] > r.Offset })
	if diff := diffStored(want, after); diff != "" {
		return fmt.Errorf("after 0, and not what is read (-read +after):\n%s", diff)
	}
	return nil
}

// readingKey is what only one reading can be read of.
type readingKey struct {
	device.Series
	device.Time
}

func keyOf(r *device.Reading) readingKey {
	return readingKey{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}
}

// newestOf returns the largest offset of each key.
func newestOf(all []device.Stored) map[readingKey]uint64 {
	newest := make(map[readingKey]uint64, len(all))
	for i := range all {
		k := keyOf(&all[i].Reading)
		newest[k] = max(newest[k], all[i].Offset)
	}
	return newest
}

// checkFound compares the readings of a store with those that were given before
// the cut, and notes them in left.
func (k *cutChecker) checkFound(l *Log, found []device.Stored) error {
	left := k.left
	left.floor, left.head = l.Bounds()
	last := uint64(0)
	for _, r := range found {
		n, given := k.numbers[r.Offset]
		if want := k.readings[r.Offset]; !given || !sameReading(&r.Reading, &want) {
			return fmt.Errorf("a reading that nobody appended: %+v", r)
		}
		if r.Offset <= last {
			return fmt.Errorf("offset %d after %d", r.Offset, last)
		}
		last = r.Offset
		left.numbers[r.Offset] = n
		left.next = max(left.next, n+1)
	}
	newest := newestOf(found)
	if len(newest) != len(found) {
		return fmt.Errorf("%d of %d readings were replaced", len(found)-len(newest), len(found))
	}
	if top := k.top(k.at); left.head < top {
		return fmt.Errorf("the head is %d, offset %d was given", left.head, top)
	}
	durable, lost := k.durable(k.at), uint64(0)
	for o, r := range k.readings {
		switch {
		case k.took(o, r.Time):
			left.numbers[o] = k.numbers[o]
			left.next = max(left.next, k.numbers[o]+1)
		case o <= durable && newest[keyOf(&r)] < o:
			lost = max(lost, o)
		}
	}
	if lost > 0 {
		return fmt.Errorf("acknowledged readings are lost, the last is %d of %d: %+v", lost, durable, k.readings[lost])
	}
	return k.checkFloor()
}

func sameReading(r, want *device.Reading) bool {
	return (r.Received == 0 || r.Received == want.Received) &&
		r.Device == want.Device && r.Metric == want.Metric && r.Time == want.Time && r.Value == want.Value
}

// took reports whether retention has taken the reading, or may have.
func (k *cutChecker) took(offset uint64, t device.Time) bool {
	return slices.ContainsFunc(k.gone, func(g gone) bool { return g.has(offset, t) })
}

// checkFloor checks that the floor is what retention has made it, and notes for
// the left store what has gone.
func (k *cutChecker) checkFloor() error {
	least, most := k.start.floor, k.start.floor
	for _, g := range k.gone {
		most = max(most, g.last)
		if g.at >= 0 && g.at < k.stepAt(k.at) {
			least = max(least, g.last)
		}
		k.left.gone = append(k.left.gone, gone{-1, g.start, g.end, g.last})
	}
	if f := k.left.floor; f < least || f > most {
		return fmt.Errorf("the floor is %d, what was dropped says from %d to %d", f, least, most)
	}
	return nil
}

// appendMore appends to a store and returns what must be in it then.
func (k *cutChecker) appendMore(l *Log, all []device.Stored) ([]device.Stored, error) {
	var more []device.Reading
	for n := range int64(powercutMore) {
		more = append(more, powercutReading(k.left.next+n))
	}
	last, err := l.Append(more)
	if err != nil {
		return nil, err
	}
	head := k.left.head
	if last != head+powercutMore {
		return nil, fmt.Errorf("offset %d is given after the head %d", last-powercutMore+1, head)
	}
	all = slices.Clone(all)
	for i, r := range more {
		all = append(all, device.Stored{Offset: head + 1 + uint64(i), Reading: r})
	}
	newest := newestOf(all)
	return slices.DeleteFunc(all, func(r device.Stored) bool { return newest[keyOf(&r.Reading)] > r.Offset }), nil
}

// checkCounts checks what series say of their readings, which is exact when
// everything is sealed.
func checkCounts(l *Log, want int) error {
	n := int64(0)
	for _, info := range l.Series(device.Selector{}) {
		n += info.Count
	}
	if n != int64(want) {
		return fmt.Errorf("series have %d readings, %d can be read", n, want)
	}
	return nil
}

// checkBlocks checks the sum over every block of the history.
func checkBlocks(l *Log) (all error) {
	damaged := func(err error) { all = errors.Join(all, err) }
	for _, v := range l.shelf.volumes() {
		err := l.files.with(v, func(f *stretch.File) error {
			return f.View(func(tx stretch.Tx) error {
				for tier := range stretch.Tiers {
					err := tx.AllPieces(stretch.Tier(tier), func(p *stretch.Piece) error {
						b, err := tx.Block(p)
						if err == nil {
							_, err = block.Parse(b)
						}
						return err
					}, damaged)
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			damaged(fmt.Errorf("%s: %w", v.name, err))
		}
	}
	return all
}

// checkFolder checks every database in a folder with bbolt's own check, and
// that no file is left that is neither needed nor named.
func checkFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == hotName }) {
		return errors.New("there is no hot.db")
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".db" || strings.Contains(e.Name(), ".corrupt-") {
			return fmt.Errorf("%s is left behind", e.Name())
		}
		if err := checkBolt(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// checkBolt turns the panics that damaged pages can cause in bbolt into errors.
func checkBolt(path string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bbolt: %v", p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	return errors.Join(err, db.Close())
}
