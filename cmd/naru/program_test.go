package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// patience bounds every wait for something that must happen. It is long, since
// the machine may be busy; no test passes because of it.
const patience = 30 * time.Second

// eventually waits until done reports true.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	within(tb, patience, what, done)
}

// within is eventually for what takes the gateway longer.
func within(tb testing.TB, most time.Duration, what string, done func() bool) {
	tb.Helper()
	limit := time.NewTimer(most)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit.C:
			tb.Fatalf("waited %v for %s", most, what)
		}
	}
}

// addresses are what a ports file tells.
type addresses struct {
	HTTP string `json:"http"`
	UDP  string `json:"udp"`
	TCP  string `json:"tcp"`
	// Certificate is a file's name when HTTP is over TLS.
	Certificate string `json:"certificate"`
}

// url returns the address of a page.
func (a addresses) url(path string) string {
	if a.Certificate != "" {
		return "https://" + a.HTTP + path
	}
	return "http://" + a.HTTP + path
}

// waitForPorts returns what a program writes to its ports file, unless it ends
// before.
func waitForPorts(tb testing.TB, path string, ended <-chan struct{}, output func() string) addresses {
	tb.Helper()
	var a addresses
	eventually(tb, "the ports file", func() bool {
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		select {
		case <-ended:
			tb.Fatalf("the program ended at once:\n%s", output())
		default:
		}
		return err == nil
	})
	return a
}

// outputBuffer gathers what a program prints while others read it.
type outputBuffer struct {
	mu sync.Mutex // guards following
	b  bytes.Buffer
}

func (o *outputBuffer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *outputBuffer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a gateway, or a peer that it is compared with, in a process of its own.
type process struct {
	addresses
	cmd    *exec.Cmd
	output *outputBuffer
	ended  chan struct{}
	err    error // of Wait; valid after ended
}

// serveArgs are the arguments of a gateway on loopback. Later flags win.
func serveArgs(data, portsFile string, more ...string) []string {
	return append([]string{
		"serve", "--data", data, "--udp", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--ports-file", portsFile,
	}, more...)
}

// startProcess starts the test binary, or another one, as a gateway and waits
// until it serves. It is killed at the end of the test at the latest.
func startProcess(tb testing.TB, binary, data string, more ...string) *process {
	tb.Helper()
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			tb.Fatal(err)
		}
	}
	ports := filepath.Join(tb.TempDir(), "ports.json")
	cmd := exec.CommandContext(context.Background(), binary, serveArgs(data, ports, more...)...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	p := launch(tb, cmd)
	p.addresses = waitForPorts(tb, ports, p.ended, p.output.String)
	return p
}

// launch starts a program, which is killed at the end of the test at the latest. Its
// addresses are for the caller to find.
func launch(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{cmd: cmd, output: &outputBuffer{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	tb.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut would end the program.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// terminate asks the process to end and returns its exit code.
func (p *process) terminate(tb testing.TB) int {
	tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		tb.Fatalf("the gateway does not end:\n%s", p.output.String())
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		tb.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// status fetches a page and returns its status only.
func (a addresses) status(tb testing.TB, path string, header ...string) int {
	tb.Helper()
	status, _, _ := fetch(tb, a.url(path), header...)
	return status
}

// get fetches a page that must be there.
func get(tb testing.TB, url string, header ...string) string {
	tb.Helper()
	status, body, _ := fetch(tb, url, header...)
	if status != http.StatusOK {
		tb.Fatalf("GET %s: status %d: %s", url, status, body)
	}
	return body
}

// fetch gets over HTTP. header holds names and values in turn.
func fetch(tb testing.TB, url string, header ...string) (status int, body string, got http.Header) {
	tb.Helper()
	return request(tb, http.MethodGet, url, nil, header...)
}

// request makes a request with a connection of its own. header holds names and
// values in turn.
func request(tb testing.TB, method, url string, body io.Reader, header ...string) (status int, answer string, got http.Header) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// metrics fetches and parses /metrics.
func (a addresses) metrics(tb testing.TB) map[string]*dto.MetricFamily {
	tb.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(get(tb, a.url("/metrics"))))
	if err != nil {
		tb.Fatalf("/metrics cannot be parsed: %v", err)
	}
	return families
}

// metric returns the value of a metric; label, when not empty, picks the one
// with that value of its only label.
func (a addresses) metric(tb testing.TB, name, label string) float64 {
	tb.Helper()
	family := a.metrics(tb)[name]
	for _, m := range family.GetMetric() {
		if label == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	tb.Fatalf("there is no metric %s %s", name, label)
	return 0
}

// count asks how many readings a selection has.
func (a addresses) count(tb testing.TB, query string) int {
	tb.Helper()
	var answer struct {
		Count int `json:"count"`
	}
	body := get(tb, a.url("/api/v1/readings/count?"+query))
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		tb.Fatalf("count: %v: %s", err, body)
	}
	return answer.Count
}

// procStatus returns a field of /proc/<pid>/status in bytes.
func (p *process) procStatus(tb testing.TB, field string) float64 {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		tb.Skip("needs /proc: ", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb * 1024
		}
	}
	tb.Fatalf("no %s in the status of the process", field)
	return 0
}

// cpu returns the CPU time the process has used, exact to the kernel's tick of
// 10 ms.
func (p *process) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		tb.Skip("needs /proc: ", err)
	}
	// The command's name, in parentheses, may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
