package optim

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// blockSize is how many elements one goroutine works on at once. Sums are of such blocks,
// so a change of it changes the last bits of results.
const blockSize = 1 << 14

type block struct{ slice, from, to int }

func blocks(all [][]float32) []block {
	var out []block
	for i, s := range all {
		for from := 0; from < len(s); from += blockSize {
			out = append(out, block{i, from, min(from+blockSize, len(s))})
		}
	}
	return out
}

// each calls do for every block of the slices, on all processors.
func each(all [][]float32, do func(slice, from, to int)) {
	run(blocks(all), func(_ int, b block) { do(b.slice, b.from, b.to) })
}

// sum adds what each block gives, in the order of the blocks.
func sum(all [][]float32, of func(slice, from, to int) float64) float64 {
	list := blocks(all)
	parts := make([]float64, len(list))
	run(list, func(k int, b block) { parts[k] = of(b.slice, b.from, b.to) })
	total := 0.0
	for _, p := range parts {
		total += p
	}
	return total
}

func run(list []block, do func(k int, b block)) {
	threads := min(runtime.GOMAXPROCS(0), len(list))
	if threads <= 1 {
		for k, b := range list {
			do(k, b)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for k := int(next.Add(1)) - 1; k < len(list); k = int(next.Add(1)) - 1 {
				do(k, list[k])
			}
		})
	}
	all.Wait()
}
