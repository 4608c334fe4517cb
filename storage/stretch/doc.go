// Package stretch is the files of the history, each a bbolt file with the
// readings, or the rollups, of all devices for one stretch of time.
//
// A cold file takes what is flushed into its stretch, readings and rollups
// together, until the stretch is over. The sealed files that replace it never
// change: one with the readings, and for the rollups of minutes and of hours one
// each, for a longer stretch, so that every tier can leave by itself, by a file
// that is deleted. A file says which others it replaces; it counts from the
// moment it has its name, so that there is no moment without one or the other.
//
// The package refuses to know what a series is beyond its number, to choose what
// goes where, and to merge. It is the layout of one file:
//
//	meta     "meta" → JSON, see Meta
//	devices  device u32 → Device, see device.go
//	raw      device u32, time u64, series u32 → run of blocks of readings
//	1m, 1h   the same with blocks of rollups
//
// Integers in keys are big-endian, time is in microseconds since the Unix epoch
// plus 1<<63. Meta and devices carry the checksum of boltfile.Seal, blocks their
// own.
//
// A run is a directory and blocks of one device one behind the other. Time is not
// above the smallest of the run; series tells runs of the same time apart, when
// one device has more series than fit into a block. In all other cases the blocks
// of a device and tier in one file do not overlap in time.
//
//	crc      4      little-endian CRC32C of key and directory
//	blocks   uv     how many; then for each:
//	                uv  smallest time − time of the key
//	                uv  largest − smallest time
//	                uv  readings or rollups
//	                uv  smallest offset, 0 for rollups
//	                uv  largest − smallest offset
//	                uv  length in bytes
//	payload         the blocks
//
// where uv is an unsigned varint of encoding/binary, and the directory ends
// before the payload.
package stretch
