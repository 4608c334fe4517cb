package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary the program itself, so that a test can kill it.
// profileEnv names the file that the child writes its CPU profile to.
const (
	childEnv   = "NARU_TEST_CHILD"
	profileEnv = "NARU_TEST_CPUPROFILE"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if left := leftGoroutines(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// child is main with a profile around it.
func child() int {
	ctx, stop := untilSignal()
	defer stop()
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(path)
		if err != nil || pprof.StartCPUProfile(f) != nil {
			fmt.Fprintln(os.Stderr, "no profile:", err)
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	return run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// leftGoroutines waits a moment for goroutines of the program to end and returns
// the stacks of those that do not.
func leftGoroutines() string {
	var left []string
	for range 100 {
		buf := make([]byte, 4<<20)
		left = left[:0]
		for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && (strings.Contains(g, "naru-telemetry/naru") || strings.Contains(g, "bbolt") ||
				strings.Contains(g, "net/http.(*conn).serve")) {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		<-time.After(20 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}
