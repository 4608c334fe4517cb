package listen

import (
	"fmt"
	"time"

	"github.com/naru-telemetry/naru/ingest/coap"
)

const (
	// maxUpload is the longest payload that comes in blocks, and maxUploading how
	// much of such payloads there may be that are not whole.
	maxUpload    = 64 << 10
	maxUploading = 4 << 20
	// uploadLife is how long a peer may take for a block, with all retransmissions.
	uploadLife = 100 * time.Second
)

// upload is a payload that comes in blocks (RFC 7959), one of a peer at a time.
type upload struct {
	key  string // what all its requests have in common
	at   time.Time
	body []byte
}

func (c *CoAP) dropUploadLocked(p *coapPeer) {
	if p.upload != nil {
		c.uploading -= len(p.upload.body)
		p.upload = nil
	}
}

// gather adds a block. It returns the whole payload when this was the last, else
// what the peer is to hear.
func (c *CoAP) gather(p *coapPeer, q *query, payload []byte, now time.Time) ([]byte, *coapAnswer) {
	b := *q.block1
	echo := b.Option(coap.Block1)
	if q.size > maxUpload {
		return nil, tooLarge()
	}
	if b.More && len(payload) != b.Size() {
		return nil, refusal(coap.BadRequest, fmt.Sprintf("block %d has %d bytes, not %d, and is not the last", b.Number, len(payload), b.Size()))
	}
	if len(payload) > b.Size() {
		return nil, refusal(coap.BadRequest, fmt.Sprintf("block %d has %d bytes, more than its size %d", b.Number, len(payload), b.Size()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Number == 0 {
		c.dropUploadLocked(p)
		if !b.More {
			return payload, nil
		}
		p.upload = &upload{key: q.key}
	}
	u := p.upload
	switch {
	case u == nil:
		return nil, refusal(coap.RequestEntityIncomplete, fmt.Sprintf("block %d, and those before it are not here: begin with block 0", b.Number))
	case u.key != q.key || uint64(b.Number)*uint64(b.Size()) != uint64(len(u.body)):
		have := len(u.body)
		c.dropUploadLocked(p)
		return nil, refusal(coap.RequestEntityIncomplete, fmt.Sprintf("block %d of %d does not follow the %d bytes before it: begin with block 0", b.Number, b.Size(), have))
	case len(u.body)+len(payload) > maxUpload:
		c.dropUploadLocked(p)
		return nil, tooLarge()
	case c.uploading+len(payload) > maxUploading:
		c.dropUploadLocked(p)
		return nil, c.busy(time.Second)
	}
	u.body, u.at = append(u.body, payload...), now
	c.uploading += len(payload)
	if b.More {
		return nil, &coapAnswer{code: coap.Continue, options: []coap.Option{echo}}
	}
	body := u.body
	c.dropUploadLocked(p)
	return body, nil
}

func tooLarge() *coapAnswer {
	return &coapAnswer{
		code: coap.RequestEntityTooLarge, options: []coap.Option{coap.UintOption(coap.Size1, maxUpload)},
		text: fmt.Sprintf("more than %d bytes", maxUpload),
	}
}
