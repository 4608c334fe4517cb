package boltfile

import (
	"encoding/binary"
	"hash/crc32"
)

// Castagnoli is the table of every checksum in the store.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sealLen = 4

// Seal returns value with the little-endian CRC32C of key and value in front.
func Seal(key, value []byte) []byte {
	out := make([]byte, sealLen, sealLen+len(value))
	binary.LittleEndian.PutUint32(out, sum(key, value))
	return append(out, value...)
}

// Unseal returns the value that Seal was given, and whether it is sound and
// stands under its key.
func Unseal(key, sealed []byte) ([]byte, bool) {
	if len(sealed) < sealLen {
		return nil, false
	}
	v := sealed[sealLen:]
	return v, binary.LittleEndian.Uint32(sealed) == sum(key, v)
}

func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, Castagnoli), Castagnoli, value)
}
