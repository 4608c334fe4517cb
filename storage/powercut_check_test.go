package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
)

// check opens the store that a power cut left, in a new folder that it removes
// again, and says what is wrong with it.
func (s *story) check(t *testing.T, dir string, c *powerCut) (*survivor, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	err := saveFiles(dir, c.files)
	left := &survivor{files: c.files, stored: map[uint64]int64{}}
	if err == nil {
		err = s.checkOpened(t.Context(), dir, c.at, left)
	}
	if err == nil {
		err = checkFolder(dir, s.unborn(c.at))
	}
	return left, errors.Join(err, os.RemoveAll(dir))
}

// unborn reports whether the store was still being made. It may be put aside
// then, since nothing has been in it.
func (s *story) unborn(at int) bool { return s.top(at) == 0 }

// checkOpened checks the store, appends to it, and checks that this and nothing
// else is new when it is opened again.
func (s *story) checkOpened(ctx context.Context, dir string, at int, left *survivor) error {
	found, err := withStore(dir, s.unborn(at), func(l *Log) ([]device.Stored, error) {
		found, err := answers(ctx, l)
		if err != nil {
			return nil, err
		}
		left.floor, left.head = l.Bounds()
		if err := errors.Join(s.checkFound(found, at, left), s.checkRegistry(l.Registry(), at, left)); err != nil {
			return nil, err
		}
		return appendMore(l, found, left.head)
	})
	if err != nil {
		return err
	}
	_, err = withStore(dir, false, func(l *Log) ([]device.Stored, error) {
		again, err := answers(ctx, l)
		if diff := diffStored(found, again); err == nil && diff != "" {
			err = fmt.Errorf("after another opening (-want +got):\n%s", diff)
		}
		return nil, err
	})
	return err
}

// withStore opens the store, calls fn, and closes it. Nothing may be damaged,
// unless the store is unborn.
func withStore(dir string, unborn bool, fn func(*Log) ([]device.Stored, error)) (rs []device.Stored, err error) {
	l, err := Open(powercutConfig(dir, nil))
	if err != nil {
		return nil, err
	}
	defer func() {
		if st := l.Stats(); st.Damaged+st.DamagedNames+st.FilesPutAside != 0 && !unborn {
			err = errors.Join(err, fmt.Errorf("%d batches and %d entries damaged, %d files put aside", st.Damaged, st.DamagedNames, st.FilesPutAside))
		}
		err = errors.Join(err, l.Close())
	}()
	return fn(l)
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
	_, head := l.Bounds()
	var after []device.Stored
	for next := uint64(0); next < head; {
		rs, n, err := l.After(ctx, device.Selector{}, next, 1000)
		if err != nil {
			return nil, err
		}
		if n <= next {
			return nil, fmt.Errorf("after %d comes %d", next, n)
		}
		after, next = append(after, rs...), n
	}
	if diff := diffStored(all, after); diff != "" {
		return nil, fmt.Errorf("after 0, and not what is read (-read +after):\n%s", diff)
	}
	n, err := l.Count(ctx, device.Query{})
	if err != nil {
		return nil, err
	}
	if n != int64(len(all)) {
		return nil, fmt.Errorf("%d readings are counted and %d read", n, len(all))
	}
	for _, info := range l.Series(device.Selector{}) {
		n -= info.Count
	}
	if n != 0 {
		return nil, fmt.Errorf("%d of %d readings belong to no series", n, len(all))
	}
	return all, nil
}

// checkFound compares the readings of a store with those that were given before
// the cut, and notes them in left.
func (s *story) checkFound(found []device.Stored, at int, left *survivor) error {
	last := left.floor
	for _, r := range found {
		n, given := s.numbers[r.Offset]
		if !given || r.Reading != powercutReading(n) {
			return fmt.Errorf("a reading that nobody appended: %+v", r)
		}
		if r.Offset <= last {
			return fmt.Errorf("offset %d after %d", r.Offset, last)
		}
		last = r.Offset
		left.stored[r.Offset] = n
		left.next = max(left.next, n+1)
	}
	if top := s.top(at); left.head < top {
		return fmt.Errorf("the head is %d, offset %d was given", left.head, top)
	}
	if floor := s.floor(at); left.floor > floor {
		return fmt.Errorf("the floor is %d, at most %d was dropped", left.floor, floor)
	}
	durable, lost := s.durable(at), 0
	for o := range s.numbers {
		if _, ok := left.stored[o]; !ok && o > left.floor && o <= durable {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d acknowledged readings up to offset %d are lost, floor %d", lost, durable, left.floor)
	}
	return nil
}

// checkRegistry compares the registry with what was said before the cut, and
// notes it in left.
func (s *story) checkRegistry(r *Registry, at int, left *survivor) error {
	left.registered = map[device.ID]int64{}
	for _, reg := range r.Registrations() {
		n, err := strconv.ParseInt(reg.Name, 10, 64)
		if err != nil || len(reg.Credentials) != 2 || len(r.Keys([]byte(reg.ID))) != 1 {
			return fmt.Errorf("a registration that nobody made: %+v", reg)
		}
		left.registered[reg.ID] = n
	}
	for id, says := range s.registered {
		if said := before(says, at); len(said) > 0 && left.registered[id] < said[len(said)-1].number {
			return fmt.Errorf("the registration %d of %s was shown, there is %d", said[len(said)-1].number, id, left.registered[id])
		}
	}
	return nil
}

// appendMore appends to a store and returns what must be in it then.
func appendMore(l *Log, all []device.Stored, head uint64) ([]device.Stored, error) {
	var more []device.Reading
	for n := range int64(3) {
		more = append(more, powercutReading(1<<30+n))
	}
	last, err := l.Append(more)
	if err != nil {
		return nil, err
	}
	if last != head+3 {
		return nil, fmt.Errorf("offset %d is given after the head %d", last-2, head)
	}
	for i, r := range more {
		all = append(all, device.Stored{Offset: head + 1 + uint64(i), Reading: r})
	}
	return all, nil
}

// checkFolder checks every database in a folder with bbolt's own check, and
// that no file is left that is neither needed nor named.
func checkFolder(dir string, unborn bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "hot.db" }) {
		return errors.New("there is no hot.db")
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") || strings.Contains(e.Name(), ".corrupt-") && !unborn {
			return fmt.Errorf("%s is left behind", e.Name())
		}
		if filepath.Ext(e.Name()) != ".db" {
			continue
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
