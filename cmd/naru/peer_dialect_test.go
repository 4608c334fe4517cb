package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDialectPeers: programs that speak dialects, or HTTP, as they are.
func TestDialectPeers(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	s := watchAll(t, g.addresses)
	const nc = "netcat-openbsd"
	udp, tcp := []string{"-u", "127.0.0.1", port(g.UDP)}, []string{"127.0.0.1", port(g.TCP)}
	energy := `{"Time":"2024-02-24T22:20:38","ENERGY":{"Power":5,"Voltage":230}}` + "\n"
	for _, p := range []peer{
		{"rtl_433", "rtl_433", "rtl-433", []string{"-y", "{25}fb2dd58", "-F", "syslog:" + g.UDP}, "", "", "Chuango-Security-19746 cmd_id=10"},
		{"Tasmota's SENSOR by nc, UDP", "nc", nc, udp, "tele/udp/SENSOR " + energy, "", "udp ENERGY.Voltage=230"},
		{"Tasmota's SENSOR by nc, TCP", "nc", nc, tcp, "tele/tcp/SENSOR = " + energy, "", "tcp ENERGY.Voltage=230"},
		{"Tasmota's object by nc, UDP", "nc", nc, udp, energy, "", "ip-127.0.0.1 ENERGY.Power=5"},
		{"Tasmota's switch by nc, TCP", "nc", nc, tcp, "stat/plug/POWER ON\n", "", "plug POWER=ON"},
		{"line protocol by nc, acknowledged", "nc", nc, udp, "t,device=nc,seq=1,ack=1 v=1\n", `{"ack":1}`, "nc t.v=1"},
		{"curl", "curl", "curl", []string{"-sS", "-w", "%{http_code}", g.url("/api/v1/write"), "-d", "t,device=curl v=1"}, "", "204", "curl t.v=1"},
		{"curl, InfluxDB 2", "curl", "curl", []string{"-sS", "-w", "%{http_code}", g.url("/api/v2/write?bucket=b"), "-d", "t,device=curl2 v=1"}, "", "204", "curl2 t.v=1"},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.device(t, s)
		})
	}
}

// TestCollectd: its network plugin, which sends what filecount has counted.
func TestCollectd(t *testing.T) {
	t.Parallel()
	binary := "collectd"
	if _, err := exec.LookPath(binary); err != nil {
		binary = "/usr/sbin/collectd" // not in everybody's path
	}
	dir := t.TempDir()
	counted := filepath.Join(dir, "counted")
	if err := os.Mkdir(counted, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(counted, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := startGateway(t, t.TempDir())
	s := watchAll(t, g.addresses)
	config := written(t, "collectd.conf", fmt.Sprintf(`
Hostname "router"
FQDNLookup false
Interval 0.1
BaseDir %q
PIDFile %q
TypesDB "/usr/share/collectd/types.db"
LoadPlugin filecount
LoadPlugin network
<Plugin filecount>
  <Directory %q>
    Instance "spool"
  </Directory>
</Plugin>
<Plugin network>
  MaxPacketSize 1024
  Server "127.0.0.1" %q
</Plugin>
`, dir, filepath.Join(dir, "pid"), counted, port(g.UDP)))
	peer{
		program: binary, debian: "collectd-core", args: []string{"-f", "-C", config},
		reading: "router filecount.files{plugin_instance=spool}=3",
	}.device(t, s)
}
