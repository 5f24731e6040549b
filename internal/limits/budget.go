package limits

import "sync"

// Memory that a process needs in addition to what it reserves here, in bytes: stacks,
// buffers, garbage that is not collected yet. Address space is used in large pieces:
// 64 MB at a time by Go's heap, and 8 MB by a thread.
const (
	spare        = 32 << 20
	spareAddress = 112 << 20
)

// promised is memory that was reserved and is not used yet, so that the system does not
// count it.
var promised struct {
	sync.Mutex
	bytes   uint64
	pretend *uint64 // in tests: the memory of the machine
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

// Room is the memory that can be reserved: that of [Memory], less what is reserved
// already and a fixed remainder.
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

// Take reserves memory that is about to be allocated. If there is not enough, ok is
// false and left is the room that there is. Otherwise call release once the memory is
// allocated, or no longer needed.
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
