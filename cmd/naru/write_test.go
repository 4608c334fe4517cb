package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// post writes over HTTP. header holds names and values in turn.
func post(tb testing.TB, url, body string, header ...string) (status int, answer string, got http.Header) {
	tb.Helper()
	return request(tb, http.MethodPost, url, strings.NewReader(body), header...)
}

// stored returns the readings of a device as "metric=value", with the time in
// milliseconds where it is not close to the present.
func (a addresses) stored(tb testing.TB, device string) []string {
	tb.Helper()
	var out []string
	for line := range strings.Lines(get(tb, a.url("/api/v1/readings?format=ndjson&device="+device))) {
		var r struct {
			Metric string
			Time   float64
			Value  any
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			tb.Fatalf("%v: %s", err, line)
		}
		s := fmt.Sprintf("%s=%v", r.Metric, r.Value)
		if time.Since(time.UnixMilli(int64(r.Time))).Abs() > time.Hour {
			s += fmt.Sprint(" ", int64(r.Time))
		}
		out = append(out, s)
	}
	return out
}

// program returns a program that a test uses where it is installed.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian package %s)", name, debian)
	}
	return path
}

// What curl writes is stored when it has its answer.
func TestCurlWrites(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl", "curl")
	g := startGateway(t, t.TempDir(), "--commit-interval", "1h")
	file := filepath.Join(t.TempDir(), "lines.gz")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("t,device=packed v=1\n"))
	_ = z.Close()
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		device string
		args   []string
		status string
		want   []string
	}{
		{"line", []string{"/api/v1/write", "-d", "climate,device=line temp=21.5"}, "204", []string{"climate.temp=21.5"}},
		{"json", []string{"/api/v1/write", "--json", `[{"device":"json","temp":21.5},` + "\n" + `{"device":"json","door":true}]`}, "204", []string{"temp=21.5", "door=true"}},
		{"senml", []string{"/api/v1/write", "-H", "Content-Type: application/senml+json", "-d", `[{"bn":"senml/","n":"temp","v":21.5}]`}, "204", []string{"temp=21.5"}},
		{"packed", []string{"/write?db=a", "-H", "Content-Encoding: gzip", "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + file}, "204", []string{"t.v=1"}},
		{"hours", []string{"/write?db=a&precision=h", "-d", "t,device=hours v=1 490000"}, "204", []string{"t.v=1 1764000000000"}},
		{"second", []string{"/api/v2/write?org=a&bucket=b&precision=s", "-H", "Authorization: Token x", "-d", "t,device=second v=1 1764000000"}, "204", []string{"t.v=1 1764000000000"}},
		{"partly", []string{"/api/v1/write", "--data-binary", "t,device=partly v=1\nnonsense\nt,device=partly v=2"}, "400", []string{"t.v=1", "t.v=2"}},
	} {
		t.Run(c.device, func(t *testing.T) {
			args := append([]string{"-sS", "-o", os.DevNull, "-w", "%{http_code}", g.url(c.args[0])}, c.args[1:]...)
			out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
			if err != nil || string(out) != c.status {
				t.Errorf("curl: %v, status %s; want %s", err, out, c.status)
			}
			if d := cmp.Diff(c.want, g.stored(t, c.device)); d != "" {
				t.Error("readings (-want +got):\n", d)
			}
		})
	}
	if got, want := g.metric(t, "naru_durable_offset", ""), g.metric(t, "naru_head_offset", ""); got != want {
		t.Errorf("readings up to %v of %v are durable", got, want)
	}
}

const influxdbPython = `
import sys
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError
host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
c = InfluxDBClient(host, port, username="naru", password=password, database="home", headers={"Host": "gateway.example"}, timeout=20, retries=1)
print("ping", c.ping())
if "home" not in [d["name"] for d in c.get_list_database()]:
    c.create_database("home")
c.create_database("other")
print("write", c.write_points([
    {"measurement": "climate", "tags": {"device": "python"}, "time": 1764000000, "fields": {"temp": 21.5, "n": 3, "state": "a \"b\", c", "on": True}},
], time_precision="s"))
print("gzip", InfluxDBClient(host, port, username="naru", password=password, database="home", headers={"Host": "gateway.example"}, gzip=True).write_points(
    ["climate,device=python v=%d %d" % (i, 1764000000000000000 + i) for i in (1000, 2000)], protocol="line"))
print("query", list(c.query("select * from climate")))
for name, make in (("bad", lambda: c.write_points(["climate,device=python ok=1i 1764000000000000000", "nonsense"], protocol="line")),
                   ("denied", lambda: InfluxDBClient(host, port, username="naru", password="x", database="home", headers={"Host": "gateway.example"}).write_points(["t v=1"], protocol="line"))):
    try:
        make()
        print(name, "no error")
    except InfluxDBClientError as e:
        print(name, e.code, e.content.strip())
`

// Debian's python3-influxdb, the client that Home Assistant uses too, starts,
// writes and understands what it is told. It comes with the access token as its
// password, as from another machine.
func TestPythonInfluxDBWrites(t *testing.T) {
	t.Parallel()
	var python string
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import influxdb").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("the module influxdb is not installed (Debian package python3-influxdb)")
	}
	data := t.TempDir()
	g := startGateway(t, data)
	host, port, _ := strings.Cut(g.HTTP, ":")
	out, err := exec.CommandContext(t.Context(), python, "-c", influxdbPython, host, port, accessToken(t, data)).CombinedOutput()
	want := strings.Join([]string{
		"ping 1.8.10", "write True", "gzip True", "query []",
		`bad 400 {"error":"partial write: line 2: byte 9: fields are missing: want measurement[,tag=value] field=value [time]"}`,
		`denied 401 {"error":"the access token is missing or wrong"}`, "",
	}, "\n")
	if d := cmp.Diff(want, string(out)); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	wantStored := []string{
		"climate.n=3 1764000000000", "climate.on=true 1764000000000", `climate.state=a "b", c 1764000000000`, "climate.temp=21.5 1764000000000",
		"climate.v=1 1764000000000", "climate.v=2 1764000000000", "climate.ok=1 1764000000000",
	}
	got := g.stored(t, "python")
	slices.Sort(got)
	slices.Sort(wantStored)
	if d := cmp.Diff(strings.NewReplacer("v=1 ", "v=1000 ", "v=2 ", "v=2000 ").Replace(strings.Join(wantStored, "\n")), strings.Join(got, "\n")); d != "" {
		t.Error("readings (-want +got):\n", d)
	}
}

// accessToken returns the token of the gateway with this folder.
func accessToken(t *testing.T, data string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The requests of Telegraf's outputs, byte for byte: gzip in chunks, no length.
func TestTelegrafWrites(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	chunked := func(target, authorization, lines string) string {
		var b, packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write([]byte(lines))
		_ = z.Close()
		fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Telegraf/1.40.0 Go/1.26.8\r\nTransfer-Encoding: chunked\r\n%s"+
			"Content-Encoding: gzip\r\nContent-Type: text/plain; charset=utf-8\r\nAccept-Encoding: gzip\r\n\r\n", target, g.HTTP, authorization)
		half := packed.Len() / 2
		for _, part := range [][]byte{packed.Bytes()[:half], packed.Bytes()[half:]} {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		}
		b.WriteString("0\r\n\r\n")
		return b.String()
	}
	database := "POST /query HTTP/1.1\r\nHost: " + g.HTTP + "\r\nUser-Agent: Telegraf/1.40.0 Go/1.26.8\r\nContent-Length: 37\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nAccept-Encoding: gzip\r\n\r\nq=CREATE+DATABASE+%22telegraf%22" + "&a=bc"
	lines := func(n int) string {
		return fmt.Sprintf("cpu,cpu=cpu0,host=tele%d usage_idle=97.5,usage_user=1.25 1764000000000000000\nmem,host=tele%d free=123i,used_percent=12.5 1764000000000000000\n", n, n)
	}
	conn := dial(t, "tcp", g.HTTP) // one connection for all, as Telegraf does
	r := bufio.NewReader(conn)
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"database", database, 200},
		{"outputs.influxdb", chunked("/write?db=telegraf&precision=ns", "", lines(1)), 204},
		{"outputs.influxdb_v2", chunked("/api/v2/write?bucket=b&org=o&precision=ns", "Authorization: Token abc\r\n", lines(2)), 204},
		{"a bad line", chunked("/write?db=telegraf", "", "nonsense\n"+lines(3)), 400},
		{"after it", chunked("/write?db=telegraf", "", lines(4)), 204},
	} {
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Fatal(c.name, err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(c.name, err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s %s, want %d", c.name, resp.Status, b, c.status)
		}
	}
	want := []string{
		"cpu.usage_idle{cpu=cpu0}=97.5 1764000000000", "cpu.usage_user{cpu=cpu0}=1.25 1764000000000",
		"mem.free=123 1764000000000", "mem.used_percent=12.5 1764000000000",
	}
	for n := 1; n <= 4; n++ {
		if d := cmp.Diff(want, g.stored(t, fmt.Sprint("tele", n))); d != "" {
			t.Errorf("tele%d (-want +got):\n%s", n, d)
		}
	}
}

// Writing wants the same access as all the rest; InfluxDB's ways to give the
// token hold on its paths. What is denied is not taken.
func TestWriteAccess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data, "--log-level", "debug")
	token := accessToken(t, data)
	taken := 0
	for _, c := range []struct {
		target string
		header []string
		want   int
	}{
		{"/api/v1/write", nil, 204},
		{"/api/v1/write", []string{"Host", "gateway.example"}, 401},
		{"/api/v1/write", []string{"Host", "gateway.example", "Authorization", "Bearer " + token}, 204},
		{"/api/v1/write?p=" + token, []string{"Host", "gateway.example"}, 401},
		{"/write?u=a&p=" + token, []string{"Host", "gateway.example"}, 204},
		{"/write?u=a&p=x" + token, []string{"Host", "gateway.example"}, 401},
		{"/write", []string{"X-Forwarded-For", "192.0.2.1"}, 401},
		{"/write", []string{"Origin", "http://evil.example"}, 403},
		{"/api/v2/write", []string{"Host", "gateway.example", "Authorization", "Token " + token}, 204},
		{"/api/v2/write", []string{"Host", "gateway.example", "Authorization", "Token x"}, 401},
		{"/query?q=SHOW+DATABASES", []string{"Host", "gateway.example"}, 401},
		{"/query?q=SHOW+DATABASES&p=" + token, []string{"Host", "gateway.example"}, 200},
	} {
		status, body, _ := post(t, g.url(c.target), "t,device=a v=1", c.header...)
		if status != c.want {
			t.Errorf("%s with %q: status %d %s, want %d", c.target, c.header, status, body, c.want)
		}
		if status == 204 {
			taken++
		}
	}
	for _, open := range []string{"/ping?verbose=true", "/health"} {
		if status := g.status(t, open, "Host", "gateway.example"); status != 200 {
			t.Errorf("%s: status %d", open, status)
		}
	}
	if n := g.count(t, ""); n != taken {
		t.Errorf("%d readings were stored, want %d", n, taken)
	}
	if strings.Contains(g.output.String(), token) {
		t.Error("the token is in the log")
	}
}

// The HTTP answer is the acknowledgement: it comes when the readings are on the
// disk, and a retransmission, by whatever way the original came, is stored once.
func TestWriteIsAcknowledged(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startProcess(t, "", data, "--commit-interval", "1h")
	body := `{"device":"a","seq":7,"ack":true,"v":1}`
	conn := sendTo(t, "tcp", p.TCP, body+"\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "{\"ack\":7}\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for range 2 {
		if status, answer, _ := post(t, p.url("/api/v1/write"), body+"\n"+`{"device":"a","seq":8,"v":2}`); status != 204 {
			t.Errorf("status %d %s", status, answer)
		}
	}
	if n := p.metric(t, "naru_duplicates_total", ""); n != 3 {
		t.Errorf("%v duplicates, want 3", n)
	}
	p.kill()
	again := startProcess(t, "", data)
	if d := cmp.Diff([]string{"v=1", "v=2"}, again.stored(t, "a")); d != "" {
		t.Error("after the crash (-want +got):\n", d)
	}
}

// While the disk is full nothing is confirmed, and who writes is asked to come
// again; when there is room again, all goes on. As root only, who may mount a
// file system that is small enough.
func TestWriteToFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=16m", "naru", dir).Run(); err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { //nolint:noctx // the test's context has ended
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	g := startGateway(t, filepath.Join(dir, "data"))
	defer g.stop(t)
	if status, body, _ := post(t, g.url("/write"), "t,device=a,seq=1 v=1"); status != 204 {
		t.Fatalf("status %d %s", status, body)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	_ = f.Close()
	text := `"` + strings.Repeat("x", 1000) + `"`
	lines := func(seq int) string {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, "t,device=a,seq=%d n=%di,text=%s\n", seq, i, text)
		}
		return b.String()
	}
	seq, status, body, header := 1, 204, "", http.Header{}
	for status == 204 && seq < 64 { // the log has free pages at first
		seq++
		status, body, header = post(t, g.url("/write"), lines(seq))
	}
	if status != 503 || header.Get("Retry-After") == "" || body != `{"error":"not everything could be stored in time; send it again"}`+"\n" {
		t.Errorf("on a full disk: status %d %s", status, body)
	}
	eventually(t, "the disk to be found full", func() bool { return g.status(t, "/healthz") == 503 })
	const full = "readings cannot be written to the disk: it is full"
	if status, body, header := post(t, g.url("/api/v2/write"), "t,device=a v=1"); status != 503 || header.Get("Retry-After") == "" ||
		body != `{"code":"unavailable","message":"`+full+`"}`+"\n" {
		t.Errorf("on a disk known to be full: status %d %s", status, body)
	}
	if status, body, _ := fetch(t, g.url("/health")); status != 503 || !strings.Contains(body, `"status":"fail"`) || !strings.Contains(body, full) {
		t.Errorf("/health: status %d %s", status, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the retransmission to be taken", func() bool {
		status, _, _ := post(t, g.url("/write"), lines(seq))
		return status == 204
	})
	if n, want := g.metric(t, "naru_stored_readings_total", ""), float64(1+2000*(seq-1)); n != want {
		t.Errorf("%v readings were stored, want %v", n, want)
	}
}
