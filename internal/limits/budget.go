package limits

import "sync"

// What a process needs beside what it asks for here, in bytes: stacks, buffers,
// garbage that is not collected yet. Address space goes in large pieces: Go's heap
// takes 64 MB at a time, and a thread 8 MB.
const (
	spare        = 32 << 20
	spareAddress = 112 << 20
)

// promised is what has been asked for and is not used yet, so that the system
// does not count it.
var promised struct {
	sync.Mutex
	bytes   uint64
	pretend *uint64 // in tests: all the memory that there is
}

// Pretend makes Room and Take see so many bytes of memory until end is called.
// For tests.
func Pretend(bytes uint64) (end func()) {
	promised.Lock()
	defer promised.Unlock()
	promised.pretend = &bytes
	return func() {
		promised.Lock()
		defer promised.Unlock()
		promised.pretend = nil
	}
}

// Room is what may be asked for: what [Memory] says without what is promised
// already and a rest that is always left.
func Room() Bound {
	promised.Lock()
	defer promised.Unlock()
	return room()
}

func room() Bound {
	if p := promised.pretend; p != nil {
		return Bound{minus(*p, promised.bytes), "a test"}
	}
	return this.memory(func(by string) uint64 {
		if by == ByAddress || by == ByData {
			return spareAddress + promised.bytes
		}
		return spare + promised.bytes
	})
}

// Take asks for memory that is about to be used. Where there is not enough, ok is
// false and left is the room that there is. Otherwise release must be called once
// the system counts the memory, or it is freed.
func Take(bytes uint64) (release func(), left Bound, ok bool) {
	promised.Lock()
	defer promised.Unlock()
	if left = room(); bytes > left.Amount {
		return nil, left, false
	}
	promised.bytes += bytes
	return sync.OnceFunc(func() {
		promised.Lock()
		defer promised.Unlock()
		promised.bytes -= bytes
	}), left, true
}
