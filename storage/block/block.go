package block

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/naru-telemetry/naru/device"
)

const (
	// MaxReadings bounds a block, and with it what a reader needs memory for.
	// A rollup counts as one reading.
	MaxReadings = 1 << 16
	// MaxText bounds the distinct texts of one series in a block, in bytes; it
	// is enough for 16,384 of the longest.
	MaxText = 16384 * device.MaxTextLen
)

var (
	// ErrDamaged is wrapped by every error that says that bytes are no block,
	// or not what a block holds.
	ErrDamaged = errors.New("damaged block")
	// ErrTooLarge is wrapped when readings do not fit into one block.
	ErrTooLarge = errors.New("too large for a block")
	// ErrInvalid is wrapped when readings are not what Append asks for.
	ErrInvalid = errors.New("invalid readings")
)

// Series is the readings of one series in a block. The ith reading is Times[i],
// Offsets[i], Values[i].
type Series struct {
	// ID is the caller's number of the series.
	ID uint32
	// Times are microseconds since the Unix epoch, strictly ascending.
	Times []int64
	// Offsets are the positions in the log, below 1<<63.
	Offsets []uint64
	Values  []device.Value
}

// Rollup is the sums over the readings of one series, a bucket of time each.
type Rollup struct {
	ID uint32
	// Starts are where the buckets begin, in microseconds, strictly ascending.
	Starts []int64
	// Min, Max and Sum are finite. Their size is small where Min and Max are
	// short decimals and Sum lies between Counts·Min and Counts·Max.
	Min, Max, Sum []float64
	// Counts is how many readings the bucket sums up.
	Counts []int64
}

// content says what a block holds.
type content byte

const (
	contentReadings content = 1
	contentRollups  content = 2
)

// maxOffset is the largest offset there is.
const maxOffset = 1<<63 - 1

const (
	version = 1
	prefix  = 5 // version and checksum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of an encoded block, its own bytes left out.
func checksum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:1])
	return crc32.Update(sum, castagnoli, b[prefix:])
}

func putChecksum(b []byte) { binary.LittleEndian.PutUint32(b[1:], checksum(b)) }
