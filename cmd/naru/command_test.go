package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/push/api"
)

// The commands do the same with a folder and with the gateway that has it open.
func TestDeviceCommand(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "gateway"} {
		t.Run(kind, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			if kind == "gateway" {
				startGateway(t, data)
			}
			must(t, "device", "approve", "gh1", "--data", data)
			for _, c := range []struct {
				args string
				code int
				want string // regular expression
			}{
				{"commands gh1", 0, `^$`},
				{"command gh1 relay true", 0, `^\d+  waiting    relay true  until 20.*, for the next message of gh1 that asks for an answer\n$`},
				{"command gh1 say hello --ttl 24h --json", 0, `^\{"id":\d+,"device":"gh1","name":"say","value":"hello","state":"waiting",.*"tries":0\}\n$`},
				{"command gh1 reboot --ttl 1s --wait", 1, `it was not done`},
				{"commands gh1", 0, `^\d+  expired    reboot\n\d+  waiting    say "hello"  until .*\n\d+  waiting    relay true  until .*\n$`},
				{"commands gh1 --json", 0, `^\{"commands":\[\{"id":\d+,"device":"gh1","name":"reboot","state":"expired"`},
				{"command nobody relay", 1, `no such device: nobody`},
				{"commands nobody", 1, `no such device: nobody`},
				{"command gh1", 2, `accepts between 2 and 3 arg`},
				{"command gh1 a/b", 2, `invalid name of a command`},
				{"command a/b x", 2, `invalid device id`},
				{"command gh1 x --ttl 1ms", 2, `time to live`},
			} {
				args := append([]string{"device"}, strings.Fields(c.args)...)
				code, stdout, stderr := command(t, nil, append(args, "--data", data)...)
				got := stdout
				if c.code != 0 {
					got = stderr
				}
				if code != c.code || !regexp.MustCompile(c.want).MatchString(got) {
					t.Errorf("%s: exit code %d, want %d and %s:\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
				}
			}
		})
	}
}

// A command reaches its device in the answer to the next message, survives kill -9
// before that, and its outcome survives it after.
func TestCommandKilled(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startProcess(t, "", data)
	sendTo(t, "udp", p.UDP, "climate,device=gh1 temp=21.5")
	eventually(t, "the device", func() bool { return p.count(t, "device=gh1") == 1 })
	stdout, _ := must(t, "device", "command", "gh1", "relay", "true", "--json", "--data", data)
	var c api.Command
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatal(err)
	}
	p.kill()
	p = startProcess(t, "", data)
	udp := ask(t, "udp", p.UDP)
	if got, want := udp.send("climate,device=gh1,seq=1,ack=1 temp=21.5"), fmt.Sprintf(`{"ack":1,"command":{"id":%d,"device":"gh1","name":"relay","value":true}}`, c.ID); got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	if got := udp.send(fmt.Sprintf(`{"device":"gh1","seq":2,"ack":true,"outcome":"%d was on"}`, c.ID)); got != `{"ack":2}` {
		t.Errorf("answer to the outcome: %s", got)
	}
	p.kill()
	p = startProcess(t, "", data)
	if got := get(t, p.url("/api/v1/devices/gh1/commands")); !strings.Contains(got, `"state":"done"`) || !strings.Contains(got, `"result":"was on"`) {
		t.Errorf("after the crash: %s", got)
	}
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.output)
	}
}
