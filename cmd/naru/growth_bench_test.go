package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkSystemGrowth measures how what a viewer costs grows with their number: at
// rates that have some 50,000 deliveries a second, or fewer where few viewers would
// want more readings than that, and with nothing to deliver. With less room for open
// files than viewers there are as many as it lets.
func BenchmarkSystemGrowth(b *testing.B) {
	most := openFiles(b) - 200 // some are open already, here and there
	for _, l := range []load{
		{viewers: 10, rate: 1000},
		{viewers: 100, rate: 500},
		{viewers: 1000, rate: 50},
		{viewers: 9500, rate: 5},
	} {
		for _, w := range ways {
			l.viewers = min(l.viewers, most)
			b.Run(fmt.Sprintf("viewers=%d/rate=%d/by=%s", l.viewers, l.rate, w.name), func(b *testing.B) {
				for b.Loop() {
					fanOut(b, gatewayBy(w), l)
				}
			})
		}
	}
	for _, viewers := range []int{100, 1000, 10_000} {
		for _, w := range ways {
			b.Run(fmt.Sprintf("idle=%d/by=%s", min(viewers, most), w.name), func(b *testing.B) {
				for b.Loop() {
					idleViewers(b, gatewayBy(w), min(viewers, most))
				}
			})
		}
	}
}

// openFiles returns how many files this process may have open, and a child of it too.
func openFiles(b *testing.B) int {
	b.Helper()
	limits, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		b.Skip("needs /proc: ", err)
	}
	_, rest, _ := strings.Cut(string(limits), "\nMax open files")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return n
}
