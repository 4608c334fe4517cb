package main

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const testKey = "000102030405060708090a0b0c0d0e0f"

// dtlsDevice is openssl as a device that says what is written to it.
type dtlsDevice struct {
	in  io.WriteCloser
	out outputBuffer
}

func startDTLSDevice(t *testing.T, addr string, args ...string) *dtlsDevice {
	t.Helper()
	d := &dtlsDevice{}
	cmd := exec.CommandContext(t.Context(), program(t, "openssl", "openssl"), append([]string{"s_client", "-dtls1_2", "-quiet", "-connect", addr}, args...)...)
	cmd.Stdout, cmd.Stderr = &d.out, &d.out
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return d
}

// asks sends a message and waits for its acknowledgement.
func (d *dtlsDevice) asks(t *testing.T, seq int) {
	t.Helper()
	if _, err := fmt.Fprintf(d.in, "climate,seq=%d,ack=1 temp=%d\n", seq, seq); err != nil {
		t.Fatalf("%v: %s", err, d.out.String())
	}
	eventually(t, fmt.Sprint("acknowledgement ", seq), func() bool {
		return strings.Contains(d.out.String(), fmt.Sprintf(`{"ack":%d}`, seq))
	})
}

// TestRestartUnderDTLS: sessions, by key and by certificate, go on when the gateway
// has been restarted, or killed: the devices notice nothing, there is no second
// handshake, and everything they were acknowledged is there.
func TestRestartUnderDTLS(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start := func(udp string) *process {
		return startProcess(t, "", data, "--udp", udp, "--psk", "gh1="+testKey, "--dtls-certificates", "--commit-interval", "10ms")
	}
	g := start("127.0.0.1:0")
	own := certificateOf(t, data, "gh2")
	devices := map[string]*dtlsDevice{
		"gh1": startDTLSDevice(t, g.UDP, "-psk_identity", "gh1", "-psk", testKey),
		"gh2": startDTLSDevice(t, g.UDP, "-cert", own, "-key", own),
	}
	ask := func(seq int) {
		for _, d := range devices {
			d.asks(t, seq)
		}
	}
	seq := 0
	for _, end := range []string{"terminate", "kill", "kill", "terminate"} {
		for range 3 {
			seq++
			ask(seq)
		}
		eventually(t, "the sessions to be saved", func() bool { return g.metric(t, "naru_dtls_sessions_kept", "") == 2 })
		if end == "kill" {
			g.kill()
		} else if code := g.terminate(t); code != 0 {
			t.Fatalf("exit code %d: %s", code, g.output.String())
		}
		g = start(g.UDP)
	}
	seq++
	ask(seq)
	if n := g.metric(t, "naru_dtls_handshakes_total", ""); n != 0 {
		t.Errorf("%v handshakes after the restart", n)
	}
	for id := range devices {
		if n := g.count(t, "device="+id+"&metric=climate.temp"); n != seq {
			t.Errorf("%s: %d readings are stored, %d were acknowledged", id, n, seq)
		}
	}
}

// TestPSKSetting: what is wrong is told without the key.
func TestPSKSetting(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"gh1":                       "psk: want id=key, number 1 has no =",
		"a=" + testKey + ",x":       "psk: want id=key, number 2 has no =",
		"g h=" + testKey:            `psk: invalid device id "g h": byte 2`,
		"gh1=0011":                  "psk: gh1: want a key of 16 to 64 bytes in hex",
		"gh1=" + testKey[:31] + "x": "psk: gh1: want a key of 16 to 64 bytes in hex",
	} {
		code, _, stderr := command(t, nil, "serve", "--psk", value)
		if code != 2 || !strings.Contains(stderr, want) || strings.Contains(stderr, testKey[:31]) {
			t.Errorf("--psk %s: exit code %d, %s", value, code, stderr)
		}
	}
}
