package listen

import (
	"errors"
	"hash"

	"github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/crypto/clientcertificate"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// chachaSuite brings a suite of ChaCha20-Poly1305 (RFC 7905), which pion does not
// have, to its handshake.
type chachaSuite struct {
	*suite
	in, out *half
}

// chachaSuites returns fresh ones for a handshake; pion calls it more than once.
func chachaSuites() []dtls.CipherSuite {
	return []dtls.CipherSuite{&chachaSuite{suite: ecdhePSKChaCha}, &chachaSuite{suite: pskChaCha}}
}

func (c *chachaSuite) String() string                          { return "TLS_" + c.name }
func (c *chachaSuite) ID() dtls.CipherSuiteID                  { return dtls.CipherSuiteID(c.id) }
func (c *chachaSuite) CertificateType() clientcertificate.Type { return 0 }
func (c *chachaSuite) HashFunc() func() hash.Hash              { return c.hash }
func (c *chachaSuite) ECC() bool                               { return c.suite == ecdhePSKChaCha }
func (c *chachaSuite) IsInitialized() bool                     { return c.in != nil }
func (c *chachaSuite) AuthenticationType() dtls.CipherSuiteAuthenticationType {
	return dtls.CipherSuiteAuthenticationTypePreSharedKey
}

func (c *chachaSuite) KeyExchangeAlgorithm() dtls.CipherSuiteKeyExchangeAlgorithm {
	if c.ECC() {
		return dtls.CipherSuiteKeyExchangeAlgorithmPsk | dtls.CipherSuiteKeyExchangeAlgorithmEcdhe
	}
	return dtls.CipherSuiteKeyExchangeAlgorithmPsk
}

// Init makes the keys of both directions.
func (c *chachaSuite) Init(master, clientRandom, serverRandom []byte, isClient bool) error {
	client, server, err := c.newHalves(c.expand(master, clientRandom, serverRandom))
	if err != nil {
		return err
	}
	if isClient {
		client, server = server, client
	}
	c.in, c.out = client, server
	return nil
}

var errNotReady = errors.New("listen: dtls: no keys yet")

// Encrypt protects a record, which raw is with its header.
func (c *chachaSuite) Encrypt(pkt *recordlayer.RecordLayer, raw []byte) ([]byte, error) {
	if c.out == nil || len(raw) < recordHead {
		return nil, errNotReady
	}
	h := &pkt.Header
	return c.out.seal(nil, byte(h.ContentType), h.Epoch, h.SequenceNumber, raw[recordHead:])
}

// Decrypt returns a record with its payload in clear.
func (c *chachaSuite) Decrypt(in []byte) ([]byte, error) {
	r, _, ok := cutRecord(in)
	switch {
	case !ok || c.in == nil:
		return nil, errNotReady
	case r.kind == typeChangeCipherSpec:
		return in, nil
	}
	return c.in.open(append([]byte(nil), in[:recordHead]...), r)
}
