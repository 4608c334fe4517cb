package listen

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v2/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v2/pkg/crypto/prf"
	"github.com/pion/dtls/v2/pkg/protocol"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors: the ciphers of the suites give what their specifications print.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		source, suite, key, nonce, extra, plain, sealed string
	}{
		{
			"NIST SP 800-38C, example 3", "PSK_WITH_AES_128_CCM_8",
			"404142434445464748494a4b4c4d4e4f", "101112131415161718191a1b",
			"000102030405060708090a0b0c0d0e0f10111213",
			"202122232425262728292a2b2c2d2e2f3031323334353637",
			"e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951",
		},
		{
			"McGrew and Viega, GCM, test case 4", "PSK_WITH_AES_128_GCM_SHA256",
			"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
			"feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
				"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e" +
				"21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091" + "5bc94fbc3221a5db94fae95ae7121a47",
		},
		{
			"McGrew and Viega, GCM, test case 16", "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
			"feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
				"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
				"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" + "76fc6ece0f4e1768cddf8853bb2d551b",
		},
		{
			"RFC 8439, 2.8.2", "PSK_WITH_CHACHA20_POLY1305_SHA256",
			"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647",
			"50515253c0c1c2c3c4c5c6c7",
			hex.EncodeToString([]byte("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")),
			"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6" +
				"3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36" +
				"92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc" +
				"3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
		},
	} {
		for _, s := range append(slices.Clip(pskSuites), certificateSuites...) {
			if s.name != v.suite {
				continue
			}
			aead, err := s.aead(unhex(t, v.key))
			if err != nil {
				t.Fatal(err)
			}
			checkVector(t, v.source, aead, v.nonce, v.extra, v.plain, v.sealed)
			// The same through a half, whose nonce and extra are set by hand.
			if aead.Overhead() != s.tagLen {
				t.Errorf("%s: tag of %d bytes, want %d", s.name, aead.Overhead(), s.tagLen)
			}
		}
	}
}

func checkVector(t *testing.T, source string, aead cipher.AEAD, nonce, extra, plain, sealed string) {
	t.Helper()
	got := aead.Seal(nil, unhex(t, nonce), unhex(t, plain), unhex(t, extra))
	if d := cmp.Diff(sealed, hex.EncodeToString(got)); d != "" {
		t.Errorf("%s: sealed (-want +got):\n%s", source, d)
	}
	back, err := aead.Open(nil, unhex(t, nonce), got, unhex(t, extra))
	if err != nil || hex.EncodeToString(back) != plain {
		t.Errorf("%s: opened %x, %v", source, back, err)
	}
	got[len(got)-1] ^= 1
	if _, err := aead.Open(nil, unhex(t, nonce), got, unhex(t, extra)); err == nil {
		t.Errorf("%s: a forged one was opened", source)
	}
}

// TestKeyBlock: the keys are those that pion derives.
func TestKeyBlock(t *testing.T) {
	master, client, server := bytes.Repeat([]byte{1}, 48), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	for _, s := range append(slices.Clip(pskSuites), certificateSuites...) {
		want, err := prf.GenerateEncryptionKeys(master, client, server, 0, s.keyLen, s.saltLen, s.hash)
		if err != nil {
			t.Fatal(err)
		}
		all := bytes.Join([][]byte{want.ClientWriteKey, want.ServerWriteKey, want.ClientWriteIV, want.ServerWriteIV}, nil)
		if d := cmp.Diff(all, s.expand(master, client, server)); d != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, d)
		}
	}
}

// TestRecordsOfPion: our records are read by pion's record layer, an independent
// one, and pion's by ours.
func TestRecordsOfPion(t *testing.T) {
	for _, s := range append(pskSuites[2:len(pskSuites):len(pskSuites)], certificateSuites...) {
		keys := s.expand(bytes.Repeat([]byte{1}, 48), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32))
		up, down, err := s.newHalves(keys)
		if err != nil {
			t.Fatal(err)
		}
		n := s.keyLen
		ours, theirs := keys[:n], keys[n:2*n]
		salt := keys[2*n:]
		type peer interface {
			Encrypt(pkt *recordlayer.RecordLayer, raw []byte) ([]byte, error)
			Decrypt(in []byte) ([]byte, error)
		}
		var p peer // the server's side
		switch s.tagLen {
		case 8:
			p, err = ciphersuite.NewCCM(ciphersuite.CCMTagLength8, theirs, salt[4:8], ours, salt[:4])
		default:
			if p, err = ciphersuite.NewGCM(theirs, salt[4:8], ours, salt[:4]); err == nil && bytes.Contains([]byte(s.name), []byte("CCM")) {
				p, err = ciphersuite.NewCCM(ciphersuite.CCMTagLength, theirs, salt[4:8], ours, salt[:4])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(3) {
			text := []byte(fmt.Sprint("t v=", seq))
			b, err := up.seal(nil, typeData, epoch, seq, text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Decrypt(b)
			if err != nil || !bytes.Equal(got[recordHead:], text) {
				t.Errorf("%s: pion reads %q, %v", s.name, got, err)
			}
			pkt := &recordlayer.RecordLayer{
				Header:  recordlayer.Header{ContentType: protocol.ContentTypeApplicationData, Version: protocol.Version1_2, Epoch: epoch, SequenceNumber: seq},
				Content: &protocol.ApplicationData{Data: text},
			}
			raw, err := pkt.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			raw, err = p.Encrypt(pkt, raw)
			if err != nil {
				t.Fatal(err)
			}
			r, rest, ok := cutRecord(raw)
			if !ok || len(rest) > 0 {
				t.Fatalf("%s: pion's record %x", s.name, raw)
			}
			if got, err := down.open(nil, r); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: we read %q, %v", s.name, got, err)
			}
		}
	}
}

// TestRecordBounds: what does not fit a record is refused on both sides, and every
// byte of a record counts.
func TestRecordBounds(t *testing.T) {
	for _, s := range pskSuites {
		up, _, err := s.newHalves(bytes.Repeat([]byte{9}, s.keyLength()))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, maxPlain} {
			b, err := up.seal([]byte("before"), typeData, epoch, 7, make([]byte, n))
			if err != nil {
				t.Errorf("%s: %d bytes: %v", s.name, n, err)
				continue
			}
			r, _, ok := cutRecord(b[len("before"):])
			if got, err := up.open([]byte("x"), r); !ok || err != nil || len(got) != n+1 || got[0] != 'x' {
				t.Errorf("%s: %d bytes: read %d, %v", s.name, n, len(got), err)
			}
		}
		if _, err := up.seal(nil, typeData, epoch, 7, make([]byte, maxPlain+1)); !errors.Is(err, errTooLong) {
			t.Errorf("%s: %v", s.name, err)
		}
		good, err := up.seal(nil, typeData, epoch, 7, []byte("t v=1"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			b := bytes.Clone(good)
			b[i] ^= 1
			r, _, ok := cutRecord(b)
			if !ok || i == 1 || i == 2 { // the version is always taken for that of DTLS 1.2
				continue
			}
			if got, err := up.open([]byte("x"), r); !errors.Is(err, errForged) || string(got) != "x" {
				t.Errorf("%s: byte %d: %q, %v", s.name, i, got, err)
			}
		}
		long := append(appendHead(nil, typeData, epoch, 1, maxPlain+1+s.explicit+s.tagLen), make([]byte, maxPlain+1+s.explicit+s.tagLen)...)
		if r, _, ok := cutRecord(long); ok {
			if _, err := up.open(nil, r); !errors.Is(err, errForged) {
				t.Errorf("%s: an oversize record: %v", s.name, err)
			}
		}
		if _, _, err := s.newHalves(make([]byte, s.keyLength()-1)); !errors.Is(err, errKeyBlock) {
			t.Errorf("%s: a short key block: %v", s.name, err)
		}
	}
}

func TestReplayWindow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		seqs  []uint64
		taken string // 1 or 0 each
		want  replay
	}{
		{"in order", []uint64{0, 1, 2}, "111", replay{highest: 2, bits: 7, unique: 3}},
		{"twice", []uint64{0, 0, 5, 5}, "1010", replay{highest: 5, bits: 1<<5 | 1, unique: 2, again: 2}},
		{"late", []uint64{9, 3, 3}, "110", replay{highest: 9, bits: 1<<6 | 1, unique: 2, late: 1, again: 1}},
		{"at the edge", []uint64{100, 37, 36}, "110", replay{highest: 100, bits: 1<<63 | 1, unique: 2, late: 1, again: 1}},
		{"a leap of the window", []uint64{1, 64, 1}, "110", replay{highest: 64, bits: 1<<63 | 1, unique: 2, again: 1}},
		{"a leap beyond it", []uint64{1, 65, 1}, "110", replay{highest: 65, bits: 1, unique: 2, again: 1}},
		{"the end", []uint64{maxSeq - 1, maxSeq, 0}, "110", replay{highest: maxSeq, bits: 3, unique: 2, again: 1}},
	} {
		var w replay
		taken := ""
		for _, seq := range tt.seqs {
			if w.take(seq) {
				taken += "1"
			} else {
				taken += "0"
			}
		}
		if taken != tt.taken || w != tt.want {
			t.Errorf("%s: taken %s, %+v, want %s, %+v", tt.name, taken, w, tt.taken, tt.want)
		}
		if lost := w.lost(); lost != w.highest+1-w.unique {
			t.Errorf("%s: %d lost", tt.name, lost)
		}
	}
	if n := (&replay{}).lost(); n != 0 {
		t.Errorf("%d lost of nothing", n)
	}
}

// TestIsRecord: the demultiplexer takes records of DTLS, and nothing that a device
// sends in clear.
func TestIsRecord(t *testing.T) {
	for _, b := range [][]byte{
		helloRecord(1), inClear(typeAlert, 0, 1, 0), appendHead(nil, typeData, 1, 2, 0),
		append([]byte{typeHandshake, 0xfe, 0xff}, make([]byte, 10)...), // DTLS 1.0 in its first record
	} {
		if !isRecord(b) {
			t.Errorf("%x is none", b)
		}
	}
	for _, s := range []string{
		"", "t v=1", "climate,device=gh1 temp=21.5", `{"device":"gh1","v":1}`, "\xa1\x61v\x01", "[]", "\x16\xfe\xfd",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x00\x00\x00", "\x16\xfe\xfc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x1a\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x13\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		if isRecord([]byte(s)) {
			t.Errorf("%q is one", s)
		}
	}
}
