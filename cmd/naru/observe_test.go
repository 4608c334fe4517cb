package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestBanner(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	_, udpPort, _ := strings.Cut(g.UDP, ":")
	_, tcpPort, _ := strings.Cut(g.TCP, ":")
	for _, want := range []string{
		"Naru " + versionString(), "http://" + g.HTTP + "/", data, "no readings yet",
		`echo "climate,device=my-sensor temp=21.5" | nc -u -w1 127.0.0.1 ` + udpPort,
		`echo '{"device":"my-sensor","temp":21.5}' | nc -w1 127.0.0.1 ` + tcpPort,
	} {
		if !strings.Contains(g.output.String(), want) {
			t.Errorf("the banner does not say %s:\n%s", want, g.output)
		}
	}
	if strings.Contains(g.output.String(), "token") {
		t.Errorf("a gateway on loopback needs no link:\n%s", g.output)
	}
	sendTo(t, "udp", g.UDP, "climate,device=my-sensor temp=21.5")
	sendTo(t, "tcp", g.TCP, `{"device":"my-other","temp":21.5,"hum":40}`+"\n")
	eventually(t, "what the banner tells to send", func() bool { return g.count(t, "") == 3 })
	g.stop(t)

	again := startGateway(t, data, "--tcp", "off", "--udp", "off")
	if !strings.Contains(again.output.String(), "3 readings of 2 devices") || strings.Contains(again.output.String(), "send ") {
		t.Errorf("the second banner:\n%s", again.output)
	}
}

// The access link is printed when its token has just been made, and only then.
func TestBannerLink(t *testing.T) {
	t.Parallel()
	if len(localAddresses()) == 0 {
		t.Skip("this machine has no address but loopback")
	}
	data := t.TempDir()
	first := startGateway(t, data, "--http", "0.0.0.0:0")
	_, link, ok := strings.Cut(first.output.String(), "/?token=")
	if !ok {
		t.Fatalf("no access link:\n%s", first.output)
	}
	token, _, _ := strings.Cut(link, " ")
	_, port, _ := strings.Cut(first.HTTP, "]:")
	first.HTTP = "127.0.0.1:" + port
	if status := first.status(t, "/api/v1/devices?token="+token, "Host", "gateway.example"); status != http.StatusOK {
		t.Errorf("the link's token gives status %d", status)
	}
	first.stop(t)
	second := startGateway(t, data, "--http", "0.0.0.0:0")
	if strings.Contains(second.output.String(), token) || !strings.Contains(second.output.String(), "naru token prints the link") {
		t.Errorf("the second banner:\n%s", second.output)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		// A load balancer has no token.
		if body := get(t, g.url(path), "Host", "gateway.example"); body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	_, stdout, _ := command(t, nil, "token", "--data", data)
	_, token, _ := strings.Cut(strings.TrimSpace(strings.Split(stdout, "\n")[0]), "token=")
	for _, path := range []string{"/", "/metrics", "/api/v1/live", "/api/v1/readings", "/api/v1/devices", "/api/v1/refused", "/api/v1/about"} {
		for _, c := range []struct {
			header []string
			query  string
			want   int
		}{
			{nil, "", http.StatusOK},
			{[]string{"Host", "localhost"}, "", http.StatusOK},
			{[]string{"Host", "gateway.example"}, "", http.StatusUnauthorized},
			{[]string{"Host", "127.0.0.1.gateway.example"}, "", http.StatusUnauthorized},
			{[]string{"X-Forwarded-For", "192.0.2.1"}, "", http.StatusUnauthorized},
			{[]string{"Host", "gateway.example"}, "?token=wrong", http.StatusUnauthorized},
			{[]string{"Host", "gateway.example"}, "?token=" + token, http.StatusOK},
			{[]string{"Host", "gateway.example", "Authorization", "Bearer " + token}, "", http.StatusOK},
			{[]string{"Host", "gateway.example", "Authorization", "Bearer " + token + "x"}, "", http.StatusUnauthorized},
			{[]string{"Host", "gateway.example", "Cookie", "naru_token=" + token}, "", http.StatusUnauthorized},
		} {
			if got := g.status(t, path+c.query, c.header...); got != c.want {
				t.Errorf("%s%s with %q: status %d, want %d", path, c.query, c.header, got, c.want)
			}
		}
	}
}

// Every metric has a help text, and the counts of a few are right.
func TestMetrics(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	sendTo(t, "udp", g.UDP, `[{"device":"gh1","temp":1},{"device":"gh1","temp":2,"seq":1},{"device":"gh1","temp":2,"seq":1}]`)
	sendTo(t, "udp", g.UDP, `{"device":"gh1","temp":`)
	sendTo(t, "udp", g.UDP, `{"device":"no spaces!","temp":1}`)
	eventually(t, "the refusals", func() bool { return g.metric(t, "naru_refused_total", "device") == 1 })
	for name, want := range map[string]float64{
		"naru_readings_total": 2, "naru_duplicates_total": 1, "naru_devices": 1, "naru_series": 1,
		"naru_udp_datagrams_total": 3, "naru_head_offset": 2, "naru_pushed_readings_total": 0,
	} {
		if got := g.metric(t, name, ""); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := g.metric(t, "naru_refused_total", "syntax"); got != 1 {
		t.Errorf("naru_refused_total of syntax: %v, want 1", got)
	}
	for name, family := range g.metrics(t) {
		if family.GetHelp() == "" || len(family.GetMetric()) == 0 {
			t.Errorf("%s has no help text or no value", name)
		}
		if strings.HasPrefix(name, "naru_") && strings.HasSuffix(name, "_total") != (family.GetType().String() == "COUNTER") {
			t.Errorf("%s is a %s", name, family.GetType())
		}
	}
}

// refusals fetches what the inspector keeps.
func refusals(t *testing.T, a addresses) []refusal {
	t.Helper()
	var answer struct{ Refused []refusal }
	if err := json.Unmarshal([]byte(get(t, a.url("/api/v1/refused"))), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Refused
}

type refusal struct {
	Transport, Format, Reason, Error, Payload string
	PayloadBase64                             string `json:"payload_base64"`
	Size                                      int
}

// What is wrong in a payload is refused alone, counted and shown.
func TestBadPayloads(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	for _, c := range []struct {
		payload, reason string
		good            int // readings beside the bad one
	}{
		{"climate,device=gh1 temp=1\nnonsense\nclimate,device=gh1 temp=2", "syntax", 2},
		{`[{"device":"gh1","t":1},{"device":"gh1","t":"` + strings.Repeat("x", 1025) + `"},{"device":"gh1","t":2}]`, "value", 2},
		{`{"device":"` + strings.Repeat("d", 65) + `","t":1}`, "device", 0},
		{`{"device":"gh1","` + strings.Repeat("m", 129) + `":1,"t":2}`, "metric", 1},
		{`{"device":"gh1"}`, "empty", 0},
		{`{"device":"gh1","t":1e999}`, "", 0},
		{"\xff\xfe\x00", "syntax", 0},
		{"\x81\xa2", "syntax", 0}, // CBOR that breaks off
	} {
		for _, network := range []string{"udp", "tcp"} {
			if network == "tcp" && c.payload[0] >= 0x80 {
				continue // nothing tells where a broken item ends, see TestGarbage
			}
			readings := g.metric(t, "naru_readings_total", "")
			total := refusedTotal(t, g.addresses)
			addr := map[string]string{"udp": g.UDP, "tcp": g.TCP}[network]
			sendTo(t, network, addr, c.payload+map[string]string{"udp": "", "tcp": "\n"}[network])
			eventually(t, fmt.Sprintf("a refusal of %.40q over %s", c.payload, network), func() bool {
				return refusedTotal(t, g.addresses) == total+1
			})
			newest := refusals(t, g.addresses)[0]
			if c.reason != "" && newest.Reason != c.reason || newest.Transport != network || newest.Error == "" {
				t.Errorf("%.40q over %s: shown as %+v, want reason %q", c.payload, network, newest, c.reason)
			}
			if got := g.metric(t, "naru_readings_total", "") - readings; got != float64(c.good) {
				t.Errorf("%.40q over %s: %v readings were taken, want %d", c.payload, network, got, c.good)
			}
		}
	}
}

// refusedTotal adds up the refusals of all reasons.
func refusedTotal(t *testing.T, a addresses) (total float64) {
	t.Helper()
	for _, m := range a.metrics(t)["naru_refused_total"].GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

// Garbage on every socket at once harms nobody: the device beside it is heard
// and the gateway ends well.
func TestGarbage(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same bytes in every run
	garbage := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	for i := range 100 {
		sendTo(t, "udp", g.UDP, garbage(1+i*7))
		conn := sendTo(t, "tcp", g.TCP, garbage(1+i*70))
		_ = conn.Close()
		conn = sendTo(t, "tcp", g.HTTP, garbage(1+i*70))
		_ = conn.Close()
	}
	sendTo(t, "tcp", g.TCP, strings.Repeat("x", 70_000)+"\n"+`{"device":"after","t":1}`+"\n")
	sendTo(t, "udp", g.UDP, strings.Repeat("y", 65_000))
	for _, request := range []string{
		"GET / HTTP/9.9\r\n\r\n", "\r\n\r\n", "GET /api/v1/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n\r\n",
		"GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	} {
		conn := sendTo(t, "tcp", g.HTTP, request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			continue // closed without a word
		}
		if resp.StatusCode < 400 || resp.StatusCode >= 500 && resp.StatusCode != http.StatusHTTPVersionNotSupported {
			t.Errorf("%.60q is answered with %s", request, resp.Status)
		}
		_ = resp.Body.Close()
	}
	eventually(t, "the reading behind the line that is too long", func() bool { return g.count(t, "device=after") == 1 })
	eventually(t, "the refusals", func() bool {
		return g.metric(t, "naru_refused_total", "too_long") == 1 && refusedTotal(t, g.addresses) > 100
	})
	if len(refusals(t, g.addresses)) > 200 {
		t.Error("the inspector keeps more than 200 refusals")
	}
}

// What a viewer asks wrong is answered with 400 and the parameter's name.
func TestBadQuestions(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/api/v1/live?after=nonsense", http.StatusBadRequest, "after"},
		{"/api/v1/live?last=-1", http.StatusBadRequest, "last"},
		{"/api/v1/live?limit=many", http.StatusBadRequest, "limit"},
		{"/api/v1/live?wait=soon", http.StatusBadRequest, "wait"},
		{"/api/v1/live?device=" + strings.Repeat("x", 1000), http.StatusBadRequest, ""},
		{"/api/v1/live?device=%zz", http.StatusBadRequest, "query"},
		{"/api/v1/readings?from=yesterday", http.StatusBadRequest, "from"},
		{"/api/v1/readings?to=-1y", http.StatusBadRequest, "to"},
		{"/api/v1/readings?limit=0", http.StatusBadRequest, "limit"},
		{"/api/v1/readings?order=random", http.StatusBadRequest, "order"},
		{"/api/v1/readings?format=xml", http.StatusBadRequest, "format"},
		{"/api/v1/readings/count?from=x", http.StatusBadRequest, "from"},
		{"/api/v1/devices/nobody", http.StatusNotFound, "nobody"},
		{"/api/v1/devices/bad%20id", http.StatusBadRequest, ""},
		{"/api/v1/nothing", http.StatusNotFound, ""},
	} {
		status, body, header := fetch(t, g.url(c.path))
		var answer struct{ Error string }
		err := json.Unmarshal([]byte(body), &answer)
		if status != c.status || err != nil || answer.Error == "" || !strings.Contains(answer.Error, c.want) {
			t.Errorf("%.60s: status %d, want %d and a JSON error with %q: %s", c.path, status, c.status, c.want, body)
		}
		if !slices.Contains(header["Content-Type"], "application/json") {
			t.Errorf("%.60s: content type %q", c.path, header["Content-Type"])
		}
	}
}
