package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// A ping of centrifuge may come with publications in one message.
func TestHasLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		message, line string
		want          bool
	}{
		{"{}", "{}", true},
		{"{}\n{\"push\":{}}", "{}", true},
		{"{\"push\":{}}\n{}", "{}", true},
		{"{\"push\":{}}\n{}\n{\"push\":{}}", "{}", true},
		{"{\"push\":{}}", "{}", false},
		{"{\"push\":{}}\n{\"push\":{}}", "{}", false},
		{"2", "2", true},
		{`42["reading",2]`, "2", false},
		{"", "{}", false},
	} {
		if got := hasLine([]byte(c.message), c.line); got != c.want {
			t.Errorf("hasLine(%q, %q) = %v", c.message, c.line, got)
		}
	}
}

// What is published over MQTT is read as it was written, whatever its size, and nothing
// else is taken for it.
func TestMQTTPackets(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 122, 123, 16_000, 20_000, 3_000_000} {
		body := strings.Repeat("x", size)
		written := appendMQTT(nil, 0x30, nil, []byte("d7"), []byte(body))
		v := &rawViewer{r: bufio.NewReader(bytes.NewReader(append(written, mqttGranted...)))}
		opcode, err := v.packet()
		if err != nil || opcode != 1 || string(v.buf) != "\x00\x02d7"+body {
			t.Errorf("%d bytes: opcode %d, %d bytes, %v", size, opcode, len(v.buf), err)
		}
		if _, err := v.packet(); err == nil {
			t.Error("a packet that publishes nothing was taken")
		}
		v = &rawViewer{r: bufio.NewReader(bytes.NewReader(written[:len(written)-1]))}
		if _, err := v.packet(); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("a packet of %d bytes that is cut short: %v", size, err)
		}
	}
}
