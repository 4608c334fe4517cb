//go:build unix

package main

import (
	"strings"
	"testing"
)

// cborBombs are items that claim more than they hold, or hold too much.
var cborBombs = []string{
	"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\xa0",
	"\xa1\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "\xa1\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x7a\xff\xff\xff\xffx", "\xbf", "\x9f",
	strings.Repeat("\x81", 60_000), strings.Repeat("\x9f", 60_000), strings.Repeat("\xa1\x00", 30_000), strings.Repeat("\xbf\x61a", 20_000),
	"\xa1\x61a" + strings.Repeat("\xc1", 60_000), "\xa1\x7f" + strings.Repeat("\x60", 60_000), "\xa1" + strings.Repeat("\x81", 100) + "\x00\x00",
	"\x82\xa1\x61", "\xa1\x61\xff\x01", "\xa1\xfc\x01", "\xa2\x61a\x01",
}

func malformedCBOR(_ *testing.T, g *process) (int, error) {
	const rounds = 100
	for i := range rounds {
		for _, b := range cborBombs {
			if err := sendFrom(i, g.UDP, []byte(b)); err != nil {
				return 0, err
			}
		}
	}
	return rounds * len(cborBombs), nil
}

// coapPost is a request to /r, not confirmable, with options behind its path.
func coapPost(id int, rest string) []byte {
	return append([]byte{0x50, 2, byte(id >> 8), byte(id)}, "\xb1r"+rest...)
}

func malformedCoAP(_ *testing.T, g *process) (int, error) {
	ends := []string{
		"\xff", "\xf0", "\x0f", "\xd0", "\x0e\x00", "\xe0\xff\xff", "\x13", "\x1e\xff\xff" + strings.Repeat("x", 60_000), strings.Repeat("\x00", 50_000),
		strings.Repeat("\x10", 50_000), strings.Repeat("\x0d\x00"+strings.Repeat("q", 13), 40),
	}
	const rounds = 400
	for i := range rounds {
		for j, end := range ends {
			if err := sendFrom(i, g.UDP, coapPost(i*len(ends)+j, end)); err != nil {
				return 0, err
			}
		}
	}
	return rounds * len(ends), nil
}

func cborInCoAP(_ *testing.T, g *process) (int, error) {
	const rounds = 100
	for i := range rounds {
		for j, b := range cborBombs {
			if err := sendFrom(i, g.UDP, coapPost(i*len(cborBombs)+j, "\x11\x3c\xff"+b)); err != nil {
				return 0, err
			}
		}
	}
	return rounds * len(cborBombs), nil
}
