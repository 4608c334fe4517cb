package storage

import (
	"errors"
	"math"

	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// packer gathers the tracks of one device into blocks and runs.
type packer struct {
	*sealer
	tier   stretch.Tier
	number uint32
	target int
	held   []track
	run    [][]byte
	time   int64 // of the run
	length int
}

// add takes tracks that lie behind those before.
func (p *packer) add(ts []track) error {
	p.held = merge(p.held, ts)
	if size(p.held) < 2*p.target {
		return nil
	}
	parts := split(p.held, p.target)
	last := parts[len(parts)-1]
	for len(parts) > 1 && parts[len(parts)-2].time == last.time { // series of one time
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 1 {
		return nil
	}
	cut := parts[len(parts)-1].time
	for _, c := range parts[:len(parts)-1] {
		if err := p.emit(c); err != nil {
			return err
		}
	}
	p.held = clones(between(p.held, cut, math.MaxInt64))
	return nil
}

// clones returns tracks with memory of their own.
func clones(ts []track) []track {
	for i := range ts {
		ts[i] = join(&track{id: ts[i].id}, &ts[i])
	}
	return ts
}

// emit encodes tracks as a block, or as several when one cannot hold them.
func (p *packer) emit(c parcel) error {
	b, err := p.encode(nil, p.tier, c.tracks)
	if errors.Is(err, block.ErrTooLarge) {
		return p.eachBlock(p.tier, c.tracks, (size(c.tracks)+1)/2, p.put)
	}
	if err != nil {
		return err
	}
	return p.put(c, b)
}

// put adds a block to the run, which it ends when it is long enough.
func (p *packer) put(c parcel, b []byte) error {
	if c.series != 0 { // a run of its own: it has the time of another
		p.puts = append(p.puts, coldPut{p.tier, p.number, c.time, c.series, [][]byte{b}})
		p.bytes += len(b)
		return nil
	}
	if len(p.run) == 0 {
		p.time = c.time
	}
	p.run = append(p.run, b)
	if p.length += len(b); p.length < runBytes {
		return nil
	}
	return p.endRun()
}

func (p *packer) endRun() error {
	if len(p.run) == 0 {
		return nil
	}
	p.puts = append(p.puts, coldPut{p.tier, p.number, p.time, 0, p.run})
	p.bytes += p.length
	p.run, p.length = nil, 0
	if p.bytes >= commitBytes {
		return p.commit()
	}
	return nil
}

func (p *packer) finish() error {
	for _, c := range split(p.held, p.target) {
		if err := p.emit(c); err != nil {
			return err
		}
	}
	p.held = nil
	return p.endRun()
}
