package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bySocketIO returns Socket.IO of a client that has been there before, and was told
// pid then.
func bySocketIO(pid string) technique {
	return func(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error) {
		auth, err := json.Marshal(map[string]string{"pid": pid, "offset": after})
		if err != nil {
			return nil, err
		}
		v, _, err := joinSocketIO(ctx, new(net.Dialer), g.HTTP, query.Encode()+"&batch=1", string(auth))
		if err != nil {
			return nil, err
		}
		defer v.close()
		return gather(want, func() ([]byte, error) {
			b, err := v.next()
			if err != nil {
				return nil, err
			}
			var event []json.RawMessage
			var m message
			var at string
			if err := json.Unmarshal(b[len("42"):], &event); err != nil || len(event) != 3 {
				return nil, fmt.Errorf("want an event with a message and a cursor, not %.200s", b)
			}
			if json.Unmarshal(event[1], &m) != nil || json.Unmarshal(event[2], &at) != nil || at != m.Cursor {
				return nil, fmt.Errorf("the event does not end with the cursor of its message: %.200s", b)
			}
			return event[1], nil
		})
	}
}

// writeHistory writes texts that cannot be compressed, from a past of many stretches on
// the disk, and returns how many.
func writeHistory(t *testing.T, g addresses) int {
	t.Helper()
	const stretches, each = 16, 1000
	random := rand.NewChaCha8([32]byte{})
	raw := make([]byte, 700)
	for i := range stretches {
		var body strings.Builder
		start := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, 28*i)
		for n := range each {
			_, _ = random.Read(raw) // cannot fail
			fmt.Fprintf(&body, "log,device=away text=\"%06d %s\" %d\n", i*each+n,
				base64.RawStdEncoding.EncodeToString(raw), start.Add(time.Duration(n)*time.Second).UnixNano())
		}
		eventually(t, "the writing of a stretch", func() bool {
			status, answer, _ := request(t, http.MethodPost, g.url("/api/v1/write"), strings.NewReader(body.String()))
			if status != http.StatusNoContent && status != http.StatusServiceUnavailable {
				t.Fatal(status, answer)
			}
			return status == http.StatusNoContent
		})
	}
	return stretches * each
}

// A viewer that stays away for longer than readings are kept is told what it has
// missed, and gets the rest, each reading once.
func TestAwayBeyondRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("the gateway looks once a minute what is to leave")
	}
	t.Parallel()
	g := startGateway(t, t.TempDir(), "--retain-size", "8MiB", "--max-rate", "-1")
	query := url.Values{"device": {"away"}}
	before := presentCursor(t, g.addresses)
	v, joined, err := joinSocketIO(t.Context(), new(net.Dialer), g.HTTP, query.Encode()+"&batch=1", "")
	if err != nil {
		t.Fatal(err)
	}
	v.close()
	var session struct {
		PID string `json:"pid"`
	}
	if err := json.Unmarshal([]byte(joined), &session); err != nil || session.PID == "" {
		t.Fatalf("%v: %s", err, joined)
	}

	written := writeHistory(t, g.addresses)
	another := dial(t, "udp", g.UDP)
	if err := another.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Minute, "readings to leave", func() bool {
		// With its commit the log lets go of what is in blocks.
		if _, err := fmt.Fprint(another, "there,device=another value=1"); err != nil {
			t.Fatal(err)
		}
		return g.metric(t, "naru_kept_offset_floor", "") > 0 && g.metric(t, "naru_store_used_bytes", "")+g.metric(t, "naru_history_bytes", "") <= 8<<20
	})
	want := keptSince(t, g.addresses, before, written)
	techniques := map[string]technique{"websocket": byWebSocket, "sse": bySSE, "longpoll": byPolling("25s"), "socketio": bySocketIO(session.PID)}
	for name, watch := range techniques {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		got, err := watch(ctx, g.addresses, query, before, len(want))
		cancel()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %d: %.200s, want %.200s", name, i, got[i], want[i])
				break
			}
		}
	}
}

// keptSince returns what a viewer is to get that was there before the first of the
// readings that were written: the gap, and the readings that are kept, which must be the
// newest.
func keptSince(t *testing.T, g addresses, before string, written int) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(get(t, g.url("/api/v1/readings?device=away&order=asc&format=ndjson"))), "\n")
	if len(lines) < 1000 || len(lines) >= written {
		t.Fatalf("%d of %d readings are kept", len(lines), written)
	}
	var first uint64
	for i, line := range lines {
		var r struct {
			Offset uint64 `json:"offset"`
			Value  string `json:"value"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = r.Offset
		}
		number, _, _ := strings.Cut(r.Value, " ")
		if n, err := strconv.Atoi(number); err != nil || n != written-len(lines)+i || r.Offset != first+uint64(i) {
			t.Fatalf("%d of %d: %.200s", i, len(lines), line)
		}
	}
	store, _, _ := strings.Cut(before, "-")
	gap := fmt.Sprintf(`{"type":"gap","cursor":"%s-%d","from":"%s","reason":"retention"}`, store, first-1, before)
	return append([]string{gap}, lines...)
}
