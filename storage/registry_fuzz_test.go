package storage

import (
	"bytes"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// FuzzRegistration: whatever stands in the file is refused, or means the same
// when it is written again.
func FuzzRegistration(f *testing.F) {
	for _, c := range []device.Change{
		{Act: device.Register, ID: "gh1", Name: "Glass house", PSK: true, Token: true}, {Act: device.Approve, ID: "gh1"}, {Act: device.Revoke, ID: "gh1"},
	} {
		reg, _, err := c.Apply(nil, 7)
		if err != nil {
			f.Fatal(err)
		}
		text, err := encodeRegistration(reg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte("gh1"), text)
	}
	f.Add([]byte("gh 1"), []byte("{}"))
	f.Add([]byte("gh1"), []byte(`{"credentials":[{"kind":"passkey"}],"created":-1}`))
	f.Fuzz(func(t *testing.T, key, text []byte) {
		reg, ok := decodeRegistration(key, boltfile.Seal(key, text))
		if _, damaged := decodeRegistration(key, text); damaged && len(text) < 4 {
			t.Fatal("a value without a checksum is taken")
		}
		if !ok {
			return
		}
		first, err := encodeRegistration(reg)
		if err != nil {
			t.Fatal(err)
		}
		again, ok := decodeRegistration(key, boltfile.Seal(key, first))
		if !ok || again.ID != device.ID(key) {
			t.Fatalf("%s is not read again", first)
		}
		if second, err := encodeRegistration(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s, then %s: %v", first, second, err)
		}
		again.MatchToken(key)
		for i := range again.Credentials {
			again.Use(i, 9)
		}
	})
}
