package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The benchmarks of the whole system run the gateway as a process of its own and
// load it from here. Each reports what the program is judged by: the CPU time of
// the gateway alone, what has been stored, what the viewers have seen.
//
//	go test -run '^$' -bench System -count 5 -timeout 1h ./cmd/naru
//
// With NARU_BENCH_PROFILE=<folder> the gateway's CPU profile is kept there.

// startForBench starts the program as it is delivered, or the test binary when a
// profile is wanted.
func startForBench(b *testing.B, data string) *process {
	b.Helper()
	if dir := os.Getenv("NARU_BENCH_PROFILE"); dir != "" {
		name := strings.NewReplacer("/", "-", "Benchmark", "").Replace(b.Name())
		b.Setenv(profileEnv, filepath.Join(dir, name+".pprof"))
		return startProcess(b, "", data)
	}
	binary := filepath.Join(b.TempDir(), "naru")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return startProcess(b, binary, data)
}

// waitStored waits until want readings are on the disk or no more come, and
// returns how many are. It asks seldom, since asking costs the gateway too.
func waitStored(b *testing.B, p *process, want int) int {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for stored, since := -1, time.Now(); ; <-tick.C {
		now := int(p.metric(b, "naru_stored_readings_total", ""))
		if now != stored {
			stored, since = now, time.Now()
		}
		if stored >= want || time.Since(since) > 3*time.Second {
			return stored
		}
	}
}

// watchStalls measures for how long at most this process is kept from running,
// by which the delays that it measures must be judged: on a busy machine they are
// its own. The function it returns ends this and reports.
func watchStalls(b *testing.B) (end func()) {
	b.Helper()
	quit, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		worst := time.Duration(0)
		for last := time.Now(); ; {
			select {
			case <-quit:
				longest <- worst
				return
			case <-tick.C:
				now := time.Now()
				worst = max(worst, now.Sub(last))
				last = now
			}
		}
	}()
	return func() {
		close(quit)
		b.ReportMetric(float64((<-longest).Microseconds())/1000, "own-stall-ms")
	}
}

func endBench(b *testing.B, p *process) {
	b.Helper()
	if code := p.terminate(b); code != 0 {
		b.Fatalf("exit code %d:\n%s", code, p.output)
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// BenchmarkSystemUDP50k sends 50,000 readings a second for 10 s, one in a
// datagram, while one viewer watches one of the thousand devices.
func BenchmarkSystemUDP50k(b *testing.B) {
	const rate, seconds = 50_000, 10
	for b.Loop() {
		p := startForBench(b, b.TempDir())
		seen := make(chan int)
		v, err := dialViewer(b.Context(), p.HTTP, "device=d007")
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			n := 0
			_ = v.watch(func(message []byte) { eachValue(message, func(int) { n++ }) })
			seen <- n
		}()
		before, end := p.cpu(b), watchStalls(b)
		newFlood(b, p.UDP).send(rate, rate*seconds, func(dst []byte, i int) []byte {
			return appendLine(dst, i, time.Now())
		})
		end()
		stored := waitStored(b, p, rate*seconds)
		cpu := p.cpu(b) - before
		if counted := p.count(b, ""); counted != stored {
			b.Errorf("%d readings were committed but %d can be read", stored, counted)
		}
		b.ReportMetric(100*float64(stored)/(rate*seconds), "%stored")
		b.ReportMetric(float64(cpu.Microseconds())/float64(max(stored, 1)), "µs-cpu/reading")
		b.ReportMetric(p.metric(b, "naru_udp_kernel_drops_total", ""), "kernel-drops")
		b.ReportMetric(p.procStatus(b, "VmHWM")/1e6, "MB-peak")
		endBench(b, p)
		if n := <-seen; stored == rate*seconds && n != stored/1000 {
			b.Errorf("the viewer saw %d readings, want %d", n, stored/1000)
		}
	}
}

// BenchmarkSystemTCP sends lines over two connections as fast as they are taken.
func BenchmarkSystemTCP(b *testing.B) {
	const connections = 2
	lines, readings := streamOf(4 << 20)
	for b.Loop() {
		p := startForBench(b, b.TempDir())
		before, start := p.cpu(b), time.Now()
		var all sync.WaitGroup
		var rounds atomic.Int64
		for range connections {
			all.Go(func() {
				n, err := pour(p.TCP, lines, 5*time.Second)
				if err != nil {
					b.Error(err)
				}
				rounds.Add(int64(n))
			})
		}
		all.Wait()
		sent := int(rounds.Load()) * readings
		stored := waitStored(b, p, sent)
		took := time.Since(start)
		cpu := p.cpu(b) - before
		if stored != sent {
			b.Errorf("%d of %d readings were stored", stored, sent)
		}
		b.ReportMetric(float64(stored)/took.Seconds(), "readings/s")
		b.ReportMetric(float64(cpu.Microseconds())/float64(stored), "µs-cpu/reading")
		b.ReportMetric(p.procStatus(b, "VmHWM")/1e6, "MB-peak")
		endBench(b, p)
	}
}

// BenchmarkSystemHTTP writes a million readings in bodies of 5,000 lines, over one
// connection as a collector does, and over several.
func BenchmarkSystemHTTP(b *testing.B) {
	const total, perBody = 1_000_000, 5000
	for _, connections := range []int{1, 4} {
		b.Run(fmt.Sprint("connections=", connections), func(b *testing.B) {
			for b.Loop() {
				p := startForBench(b, b.TempDir())
				before, start := p.cpu(b), time.Now()
				var next atomic.Int64
				var all sync.WaitGroup
				for range connections {
					all.Go(func() { pourBodies(b, p.url("/write?precision=ns"), &next, total/perBody, perBody) })
				}
				all.Wait()
				took := time.Since(start) // each body was answered when it was durable
				cpu := p.cpu(b) - before
				if n := p.metric(b, "naru_stored_readings_total", ""); n != total {
					b.Errorf("%v of %d readings were stored", n, total)
				}
				b.ReportMetric(total/took.Seconds(), "readings/s")
				b.ReportMetric(float64(cpu.Microseconds())/total, "µs-cpu/reading")
				b.ReportMetric(1000*took.Seconds()*float64(connections)*perBody/total, "ms/write")
				b.ReportMetric(p.procStatus(b, "VmHWM")/1e6, "MB-peak")
				endBench(b, p)
			}
		})
	}
}

// pourBodies takes numbers of bodies from next and writes these.
func pourBodies(b *testing.B, url string, next *atomic.Int64, bodies, lines int) {
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var body []byte
	for n := int(next.Add(1)) - 1; n < bodies; n = int(next.Add(1)) - 1 {
		body = body[:0]
		at := time.Now()
		for i := range lines {
			body = append(appendLine(body, n*lines+i, at.Add(time.Duration(i)*time.Microsecond)), '\n')
		}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			b.Error(resp.Status)
			return
		}
	}
}

// BenchmarkSystemIdle measures memory: of a gateway with nothing to do, and of
// one with a hundred devices and ten viewers.
func BenchmarkSystemIdle(b *testing.B) {
	b.Run("empty", func(b *testing.B) {
		for b.Loop() {
			p := startForBench(b, b.TempDir())
			<-time.After(10 * time.Second)
			b.ReportMetric(p.procStatus(b, "VmRSS")/1e6, "MB-rss")
			endBench(b, p)
		}
	})
	b.Run("devices=100,viewers=10", func(b *testing.B) {
		const rate, seconds = 100, 30 // datagrams of four readings
		for b.Loop() {
			p := startForBench(b, b.TempDir())
			for range 10 {
				v, err := dialViewer(b.Context(), p.HTTP, "last=1")
				if err != nil {
					b.Fatal(err)
				}
				defer v.close()
				go func() { _ = v.watch(func([]byte) {}) }()
			}
			before := p.cpu(b)
			newFlood(b, p.UDP).send(rate, rate*seconds, func(dst []byte, i int) []byte {
				return appendFour(dst, i, 100)
			})
			b.ReportMetric(p.procStatus(b, "VmRSS")/1e6, "MB-rss")
			b.ReportMetric(p.procStatus(b, "VmHWM")/1e6, "MB-peak")
			b.ReportMetric(100*(p.cpu(b)-before).Seconds()/seconds, "%cpu")
			endBench(b, p)
		}
	})
}

// appendFour appends report i of one of so many devices: four readings with
// the device's own time.
func appendFour(dst []byte, i, devices int) []byte {
	dst = append(dst, "climate,device=d"...)
	dst = strconv.AppendInt(dst, int64(i%devices), 10)
	dst = append(dst, " temperature="...)
	dst = strconv.AppendFloat(dst, 20+float64(i*37%311)/100, 'f', 2, 64)
	dst = append(dst, ",humidity="...)
	dst = strconv.AppendFloat(dst, 40+float64(i*53%197)/10, 'f', 1, 64)
	dst = append(dst, ",pressure="...)
	dst = strconv.AppendFloat(dst, 1013+float64(i*17%97)/100, 'f', 2, 64)
	dst = append(dst, ",battery="...)
	dst = strconv.AppendInt(dst, int64(3700-i/devices%50), 10)
	dst = append(dst, "i "...)
	return strconv.AppendInt(dst, time.Now().UnixMilli(), 10)
}
