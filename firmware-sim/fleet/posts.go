package fleet

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of writing over HTTP.
const (
	postQueue   = 64
	postTimeout = 60 * time.Second // the server answers when the disk has it
	// longestRetryAfter bounds what a server may ask for.
	longestRetryAfter = 10 * time.Minute
	// firstRetryAfter is for a server that does not say when to come again.
	firstRetryAfter = time.Second
)

// post is a request that waits for its turn.
type post struct {
	body []byte
	seq  uint64
}

// posts puts each message into a request of HTTP, one after the other, over a
// connection that stays open. The requests are made by receive.
type posts struct {
	client *http.Client
	// request returns one that Close ends.
	request func(body io.Reader) (*http.Request, error)
	stats   *stats
	queue   chan post
	done    <-chan struct{}
	cancel  context.CancelFunc
}

// openPosts connects, so that a server that cannot be reached is known at once.
func (s *sender) openPosts(ctx context.Context) (*posts, error) {
	url, host := writeURL(s.route.address)
	conn, err := s.target.Dial(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	first := &firstConn{conn: conn}
	context.AfterFunc(ctx, first.drop)
	return &posts{
		client: &http.Client{Timeout: postTimeout, Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if conn := first.take(); conn != nil {
					return conn, nil
				}
				return s.target.Dial(ctx, network, address)
			},
			TLSClientConfig: &tls.Config{RootCAs: s.target.Roots, MinVersion: tls.VersionTLS12},
		}},
		request: func(body io.Reader) (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
			if err == nil && s.target.AccessToken != "" {
				req.Header.Set("Authorization", "Bearer "+s.target.AccessToken)
			}
			return req, err
		},
		stats: s.stats, queue: make(chan post, postQueue), done: ctx.Done(), cancel: cancel,
	}, nil
}

// firstConn is a connection that is there before a request needs it.
type firstConn struct {
	mu   sync.Mutex // guards conn
	conn net.Conn   // nil once it is taken
}

func (f *firstConn) take() net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn := f.conn
	f.conn = nil
	return conn
}

// drop closes the connection, unless it was taken.
func (f *firstConn) drop() {
	if conn := f.take(); conn != nil {
		_ = conn.Close() // nothing is waiting in it
	}
}

// writeURL returns where to write, and the address to connect to. The address of a
// route may be one of either kind.
func writeURL(address string) (url, host string) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "http", address
	}
	host, _, _ = strings.Cut(rest, "/")
	url = scheme + "://" + strings.TrimSuffix(rest, "/") + "/api/v1/write"
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), scheme)
	}
	return url, host
}

func (p *posts) frame(dst []byte, m *message) []byte {
	said := *m
	said.ack = false // every request is answered
	return appendPayload(dst, &said, false)
}

func (p *posts) send(framed []byte, seq uint64) error {
	select {
	case p.queue <- post{bytes.Clone(framed), seq}:
		return nil
	case <-p.done:
		return net.ErrClosed
	}
}

// finish lets receive end when everything has been answered.
func (p *posts) finish() (follows bool, err error) {
	select {
	case <-p.done:
		return false, net.ErrClosed
	default:
	}
	close(p.queue)
	return true, nil
}

// Close ends the request that is under way.
func (p *posts) Close() error {
	p.cancel()
	p.client.CloseIdleConnections()
	return nil
}

func (p *posts) receive() (answer, error) {
	select {
	case <-p.done:
		return answer{}, net.ErrClosed
	case next, ok := <-p.queue:
		if !ok {
			return answer{}, io.EOF
		}
		a, err := p.write(next.body)
		a.seq, a.hasSeq = next.seq, true
		return a, err
	}
}

// write makes a request and returns what the server says.
func (p *posts) write(body []byte) (answer, error) {
	req, err := p.request(bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	p.stats.bytes.Add(int64(len(body)))
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, err
	}
	switch {
	case resp.StatusCode/100 == 2:
		return answer{verdict: acked}, nil
	case resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests:
		return answer{verdict: refused, reason: overloaded, again: retryAfter(resp.Header.Get("Retry-After"))}, nil
	}
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(text, &said) // a proxy answers in other words
	return answer{verdict: refused, reason: strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, said.Error))}, nil
}

// retryAfter reads a number of seconds.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return firstRetryAfter
	}
	return min(time.Duration(seconds)*time.Second, longestRetryAfter)
}
