package listen

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"

	"github.com/pion/dtls/v2/pkg/crypto/ccm"
	"golang.org/x/crypto/chacha20poly1305"
)

// suite is what the record layer needs of a cipher suite. All are AEADs: there
// is no CBC.
type suite struct {
	id     uint16
	name   string // IANA's, without TLS_
	keyLen int
	// saltLen is the length of the part of the nonce that comes from the
	// handshake; explicit, of the part that each record carries.
	saltLen, explicit int
	tagLen            int
	hash              func() hash.Hash // of the key derivation
	aead              func(key []byte) (cipher.AEAD, error)
}

func gcm(id uint16, name string, keyLen int, hash func() hash.Hash) *suite {
	return &suite{id, name, keyLen, 4, 8, 16, hash, func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}}
}

func ccmOf(id uint16, name string, tagLen int) *suite {
	return &suite{id, name, 16, 4, 8, tagLen, sha256.New, func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return ccm.NewCCM(block, tagLen, 12)
	}}
}

func chacha(id uint16, name string) *suite {
	return &suite{id, name, 32, 12, 0, 16, sha256.New, chacha20poly1305.New}
}

// The cipher suites: those with a key that both sides have, and those with
// certificates on both sides.
var (
	ecdhePSKChaCha = chacha(0xccac, "ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256")
	pskChaCha      = chacha(0xccab, "PSK_WITH_CHACHA20_POLY1305_SHA256")

	pskSuites = []*suite{
		ecdhePSKChaCha,
		pskChaCha,
		ccmOf(0xc0a8, "PSK_WITH_AES_128_CCM_8", 8),
		ccmOf(0xc0a4, "PSK_WITH_AES_128_CCM", 16),
		gcm(0x00a8, "PSK_WITH_AES_128_GCM_SHA256", 16, sha256.New),
	}
	certificateSuites = []*suite{
		gcm(0xc02b, "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 16, sha256.New),
		gcm(0xc02f, "ECDHE_RSA_WITH_AES_128_GCM_SHA256", 16, sha256.New),
		gcm(0xc02c, "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 32, sha512.New384),
		gcm(0xc030, "ECDHE_RSA_WITH_AES_256_GCM_SHA384", 32, sha512.New384),
		ccmOf(0xc0ac, "ECDHE_ECDSA_WITH_AES_128_CCM", 16),
		ccmOf(0xc0ae, "ECDHE_ECDSA_WITH_AES_128_CCM_8", 8),
	}
)

// suiteOf returns the suite of this id; nil when it is none of ours.
func suiteOf(id uint16) *suite {
	for _, list := range [][]*suite{pskSuites, certificateSuites} {
		for _, s := range list {
			if s.id == id {
				return s
			}
		}
	}
	return nil
}

// keyLength is the length of the key block: the keys of client and server, then
// their salts.
func (s *suite) keyLength() int { return 2 * (s.keyLen + s.saltLen) }

// expand derives the key block from the master secret (RFC 5246, 6.3).
func (s *suite) expand(master, clientRandom, serverRandom []byte) []byte {
	seed := append(append([]byte("key expansion"), serverRandom...), clientRandom...)
	var out []byte
	mac := hmac.New(s.hash, master)
	a := seed
	for len(out) < s.keyLength() {
		mac.Reset()
		mac.Write(a)
		a = mac.Sum(nil)
		mac.Reset()
		mac.Write(a)
		mac.Write(seed)
		out = mac.Sum(out)
	}
	return out[:s.keyLength()]
}

// half protects the records of one direction. It is not for concurrent use.
type half struct {
	suite *suite
	aead  cipher.AEAD
	nonce [12]byte // the salt stands in it; the rest is that of the last record
	salt  [12]byte
	extra [recordHead]byte
}

// newHalves returns the directions from the client and from the server.
func (s *suite) newHalves(keys []byte) (client, server *half, err error) {
	if len(keys) != s.keyLength() {
		return nil, nil, errKeyBlock
	}
	salts := keys[2*s.keyLen:]
	if client, err = s.newHalf(keys[:s.keyLen], salts[:s.saltLen]); err != nil {
		return nil, nil, err
	}
	server, err = s.newHalf(keys[s.keyLen:2*s.keyLen], salts[s.saltLen:])
	return client, server, err
}

func (s *suite) newHalf(key, salt []byte) (*half, error) {
	aead, err := s.aead(key)
	if err != nil {
		return nil, err
	}
	h := &half{suite: s, aead: aead}
	copy(h.salt[:], salt)
	h.nonce = h.salt
	return h, nil
}

var (
	errKeyBlock = errors.New("listen: dtls: a key block of the wrong length")
	errForged   = errors.New("listen: dtls: record is not authentic")
	errTooLong  = errors.New("listen: dtls: payload too long for a record")
)

// open appends the payload of a record to dst, which must not overlap it. The
// record stays as it is.
func (h *half) open(dst []byte, r record) ([]byte, error) {
	n := len(r.body) - h.suite.explicit - h.suite.tagLen
	if n < 0 || n > maxPlain {
		return dst, errForged
	}
	if h.suite.explicit > 0 {
		copy(h.nonce[h.suite.saltLen:], r.body)
	} else {
		h.mixNonce(r.epoch, r.seq)
	}
	h.describe(r.kind, r.epoch, r.seq, n)
	out, err := h.aead.Open(dst, h.nonce[:], r.body[h.suite.explicit:], h.extra[:])
	if err != nil {
		return dst, errForged
	}
	return out, nil
}

// seal appends a record to dst. The nonce is the record's number, which the
// caller must never use twice.
func (h *half) seal(dst []byte, kind byte, epoch uint16, seq uint64, payload []byte) ([]byte, error) {
	if len(payload) > maxPlain {
		return dst, errTooLong
	}
	dst = appendHead(dst, kind, epoch, seq, h.suite.explicit+len(payload)+h.suite.tagLen)
	if h.suite.explicit > 0 {
		binary.BigEndian.PutUint64(h.nonce[h.suite.saltLen:], uint64(epoch)<<48|seq)
		dst = append(dst, h.nonce[h.suite.saltLen:]...)
	} else {
		h.mixNonce(epoch, seq)
	}
	h.describe(kind, epoch, seq, len(payload))
	return h.aead.Seal(dst, h.nonce[:], payload, h.extra[:]), nil
}

// mixNonce makes the nonce of a suite whose records carry no part of it (RFC
// 7905, 2): the salt, xored with the number.
func (h *half) mixNonce(epoch uint16, seq uint64) {
	h.nonce = h.salt
	tail := h.nonce[4:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^(uint64(epoch)<<48|seq))
}

// describe sets what is authenticated beside the payload: number, type, version
// and length (RFC 5246, 6.2.3.3).
func (h *half) describe(kind byte, epoch uint16, seq uint64, n int) {
	binary.BigEndian.PutUint64(h.extra[:], uint64(epoch)<<48|seq)
	h.extra[8], h.extra[9], h.extra[10] = kind, 0xfe, 0xfd
	binary.BigEndian.PutUint16(h.extra[11:], uint16(n))
}
