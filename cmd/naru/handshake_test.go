package main

import (
	"fmt"
	"testing"
	"time"
)

// What is sent once the handshake is over, a new viewer sees, also when it asks
// for nothing older.
func TestNothingMissedAfterHandshake(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	device := dial(t, "udp", g.UDP)
	for i := range 200 {
		v, err := dialViewer(t.Context(), g.HTTP, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(device, "climate,device=d n=%di", i); err != nil {
			t.Fatal(err)
		}
		if err := v.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		message, err := v.next()
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		eachValue(message, func(n int) {
			if n != i {
				t.Errorf("try %d: reading %d came first", i, n)
			}
		})
		v.close()
	}
}
