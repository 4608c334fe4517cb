package push

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Cursor is a position in the log in its public form, <store id>-<offset>: what
// lies behind it can be asked for again.
type Cursor struct {
	Store  string
	Offset uint64
}

// ErrCursor is wrapped by ParseCursor's errors.
var ErrCursor = errors.New("malformed cursor")

// maxStoreLen bounds the store id of a cursor from outside.
const maxStoreLen = 32

// ParseCursor reads the form that String writes.
func ParseCursor(s string) (Cursor, error) {
	store, digits, ok := strings.Cut(s, "-")
	if !ok || store == "" || len(store) > maxStoreLen {
		return Cursor{}, fmt.Errorf("%w: want <store>-<offset>", ErrCursor)
	}
	for _, c := range []byte(store) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return Cursor{}, fmt.Errorf("%w: want <store>-<offset>", ErrCursor)
		}
	}
	offset, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || digits[0] == '+' {
		return Cursor{}, fmt.Errorf("%w: the offset is no number", ErrCursor)
	}
	return Cursor{store, offset}, nil
}

// String returns the cursor as it stands in messages.
func (c Cursor) String() string { return string(c.Append(nil)) }

// Append appends what String returns.
func (c Cursor) Append(dst []byte) []byte {
	dst = append(dst, c.Store...)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, c.Offset, 10)
}
