package write

import (
	"context"
	"runtime"
	"sync"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/internal/limits"
)

// inParallel calls work for 0 to n-1 on a number of goroutines, until one fails or
// ctx is done, and returns the error of the lowest number.
func inParallel(ctx context.Context, workers, n int, work func(i int) error) error {
	var (
		all    sync.WaitGroup
		mutex  sync.Mutex
		next   int
		failed = n
		first  error
	)
	take := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		if first != nil || next >= n || ctx.Err() != nil {
			return -1
		}
		next++
		return next - 1
	}
	for range min(n, workers) {
		all.Go(func() {
			for i := take(); i >= 0; i = take() {
				// Work has callers' code in it.
				if err := guard.Call("the work", func() error { return work(i) }); err != nil {
					mutex.Lock()
					if i < failed {
						failed, first = i, err
					}
					mutex.Unlock()
				}
			}
		})
	}
	all.Wait()
	if first == nil {
		return context.Cause(ctx)
	}
	return first
}

// workers is how many of n pieces of work, each of which takes a number of bytes,
// are done at once: one a processor, fewer where there is not enough memory.
func workers(n int, bytes uint64) (int, func(), error) {
	for w := min(n, runtime.GOMAXPROCS(0)); w > 1; w-- {
		if release, _, ok := limits.Take(uint64(w) * bytes); ok {
			return w, release, nil
		}
	}
	release, err := model.TakeMemory("converting", bytes)
	return 1, release, err
}
