package block_test

import (
	"math/rand/v2"
	"testing"

	"github.com/naru-telemetry/naru/storage/block"
)

// BenchmarkShapes encodes and decodes blocks of 4096 generated readings.
func BenchmarkShapes(b *testing.B) {
	all, times := shapes(), clocks()
	run := func(name string, ss []block.Series) {
		b.Run(name, func(b *testing.B) { benchBlocks(b, [][]block.Series{ss}) })
	}
	for _, name := range sortedKeys(all) {
		rng := rand.New(rand.NewPCG(3, 4))
		run(name, []block.Series{fill(b, rng, 1, all[name](), times["regular"](rng, 4096), 1, 1)})
	}
	rng := rand.New(rand.NewPCG(3, 4))
	run("sparse", sparse(b, rng, 20, 750))
	run("high cardinality", sparse(b, rng, 340, 48))
}
