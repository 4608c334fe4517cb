package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/firmware-sim/fleet"
	"github.com/naru-telemetry/naru/ingest/wire"
	"github.com/naru-telemetry/naru/push/api"
)

// trusting returns whom devices of the gateway trust.
func trusting(t *testing.T, g *gatewayUnderTest) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(get(t, g.url(rootPath)))) {
		t.Fatal("the gateway shows no certificate authority")
	}
	return roots
}

// everywhere is a target with all transports of the gateway, so that devices take
// turns among them.
func everywhere(t *testing.T, g *gatewayUnderTest) fleet.Target {
	t.Helper()
	return fleet.Target{
		UDP: g.UDP, TCP: g.TCP, TLS: g.TCP, DTLS: g.UDP, CoAP: g.UDP, CoAPS: g.UDP, HTTP: g.HTTP, Roots: trusting(t, g),
	}
}

// registerFleet gives each device the secrets that its transport can show.
func registerFleet(t *testing.T, g *gatewayUnderTest, cfg *fleet.Config) []fleet.Member {
	t.Helper()
	members, err := fleet.Members(*cfg)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[device.ID]fleet.Secret{}
	for _, m := range members {
		made := register(t, g, "add", string(m.ID), "--psk", "--token").Secrets
		psk, err := hex.DecodeString(made.PSK)
		if err != nil {
			t.Fatal(err)
		}
		secrets[m.ID] = fleet.Secret{PSK: psk, Token: made.Token}
	}
	cfg.Secrets = func(id device.ID) fleet.Secret { return secrets[id] }
	return members
}

// runFleet runs a fleet beside the test and returns what ends it and reports.
func runFleet(t *testing.T, cfg fleet.Config) (stop func() fleet.Report) {
	t.Helper()
	f, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceValue(func() fleet.Report {
		cancel()
		running.Wait()
		return f.Report()
	})
	t.Cleanup(func() { stop() })
	return stop
}

// A reading of a simulated device arrives over each transport in each format that
// the transport can carry, of devices that are spoken for and with nobody else
// admitted where the format has a place for a secret.
func TestSimulatedDevices(t *testing.T) {
	t.Parallel()
	for _, format := range fleet.Formats() {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			plain := format == wire.FormatStatsD || format == wire.FormatSenML || format == wire.FormatSenMLCBOR
			g := startGateway(t, t.TempDir(), "--commit-interval", "20ms")
			cfg := fleet.Config{Target: everywhere(t, g), Devices: 7, Kinds: []string{"weather"}, Interval: 100 * time.Millisecond}
			cfg.Format = format
			if plain {
				cfg.DTLS, cfg.CoAPS, cfg.Devices = "", "", 5
			} else {
				registerFleet(t, g, &cfg)
				cfg.Acks.Share = 1
			}
			members, err := fleet.Members(cfg)
			if err != nil {
				t.Fatal(err)
			}
			stop := runFleet(t, cfg)
			for _, m := range members {
				eventually(t, fmt.Sprintf("readings of %s over %s", m.ID, m.Transport), func() bool {
					return g.count(t, "metric=outdoor.temperature&device="+string(m.ID)) >= 3
				})
			}
			if r := stop(); r.Errors > 0 || len(r.Refused) > 0 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// commandOf returns a command of a device as the API tells it.
func commandOf(t *testing.T, g *gatewayUnderTest, id device.ID, n uint64) api.Command {
	t.Helper()
	var all struct {
		Commands []api.Command `json:"commands"`
	}
	if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/devices/"+string(id)+"/commands"))), &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Commands {
		if c.ID == n {
			return c
		}
	}
	t.Fatalf("%s has no command %d", id, n)
	return api.Command{}
}

// A command that is posted reaches a simulated device over each transport, is
// carried out once, and its outcome shows; what it changes is among the readings.
func TestSimulatedDevicesObey(t *testing.T) {
	t.Parallel()
	orders := []struct{ body, state, result, metric string }{
		{`{"name":"identify"}`, "done", "9 sensors, up ", ""},
		{`{"name":"relay","value":true}`, "done", "on", "relay"},
		{`{"name":"set","value":{"target":21.5,"mode":"eco"}}`, "done", "", "set.target"},
		{`{"name":"interval","value":0.05}`, "done", "every 50ms", ""},
		{`{"name":"fly"}`, "failed", "unknown command", ""},
		{`{"name":"relay","value":"perhaps"}`, "failed", "want true, false or toggle", ""},
		{`{"name":"reboot"}`, "done", "", ""},
		{`{"name":"relay","value":"toggle"}`, "done", "off", ""},
	}
	g := startGateway(t, t.TempDir(), "--commit-interval", "20ms", "--admission", "known")
	cfg := fleet.Config{
		Target: everywhere(t, g), Devices: 6, Kinds: []string{"weather"}, Interval: 100 * time.Millisecond,
		Acks: fleet.Acks{Share: 1},
	}
	cfg.HTTP = "" // no command rides in its answers
	members := registerFleet(t, g, &cfg)
	stop := runFleet(t, cfg)
	t.Run("transports", func(t *testing.T) {
		for _, m := range members {
			t.Run(string(m.Transport), func(t *testing.T) {
				t.Parallel()
				for _, o := range orders {
					status, body, _ := request(t, http.MethodPost, g.url("/api/v1/devices/"+string(m.ID)+"/commands"), strings.NewReader(o.body))
					var c api.Command
					if err := json.Unmarshal([]byte(body), &c); status != http.StatusCreated || err != nil {
						t.Fatalf("%s: status %d, %v: %s", o.body, status, err, body)
					}
					eventually(t, o.body, func() bool {
						c = commandOf(t, g, m.ID, c.ID)
						return c.Ended != nil
					})
					if c.State != o.state || !strings.HasPrefix(c.Result, o.result) || c.Result == "" != (o.result == "") {
						t.Errorf("%s: %s, %q", o.body, c.State, c.Result)
					}
					eventually(t, o.metric, func() bool {
						return o.metric == "" || g.count(t, "metric="+o.metric+"&device="+string(m.ID)) > 0
					})
				}
			})
		}
	})
	r := stop()
	if want := int64(len(members) * len(orders)); r.Commands != want || r.FailedCommands != want/4 || r.Reboots != int64(len(members)) {
		t.Errorf("%d commands were carried out, %d failed, %d reboots; %d were posted: %+v", r.Commands, r.FailedCommands, r.Reboots, want, r)
	}
	if r.Errors > 0 || len(r.Refused) > 0 {
		t.Errorf("report %+v", r)
	}
}

// built builds a command of this module and returns the name of its file.
func built(t *testing.T, folder string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), filepath.Base(folder))
	if out, err := exec.CommandContext(t.Context(), program(t, "go", "golang"), "build", "-o", name, folder).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", folder, err, out)
	}
	return name
}

// The simulator as a program has the gateway make its secrets, keeps them, shows them
// to nobody but the gateway, and gets everything acknowledged.
func TestSimulatorProgram(t *testing.T) {
	t.Parallel()
	sim := built(t, moduleRoot+"/firmware-sim")
	g := startGateway(t, t.TempDir(), "--commit-interval", "20ms", "--admission", "known")
	secrets := filepath.Join(t.TempDir(), "secrets.json")
	root := written(t, "root.crt", get(t, g.url(rootPath)))
	for range 2 {
		out := &outputBuffer{}
		cmd := exec.CommandContext(t.Context(), sim, "run", "--json", "--ack", "--count", "200", "--rate", "400", "--devices", "6",
			"--udp", g.UDP, "--tls", g.TCP, "--dtls", g.UDP, "--coap", g.UDP, "--coaps", g.UDP, "--http", g.HTTP,
			"--ca", root, "--register", "--api", g.url(""), "--secrets", secrets)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var r fleet.Report
		if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Readings != 200 || r.Acknowledged != r.AskedForAck || r.Errors > 0 || len(r.Refused) > 0 {
			t.Errorf("report %s", out)
		}
	}
	if n := g.count(t, ""); n != 400 {
		t.Errorf("%d readings are stored, 400 were acknowledged", n)
	}
	if got := register(t, g, "show", "greenhouse-1"); len(got.Credentials) != 1 || got.Credentials[0].Used == nil {
		t.Errorf("credentials %+v", got.Credentials)
	}
}
