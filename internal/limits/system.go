package limits

import (
	"io/fs"
	"math"
)

// system is where limits are read from.
type system struct {
	root     fs.FS // of the file system; nil: there is no /proc
	rlimits  func() rlimits
	pageSize uint64
	user     int                                        // its id
	exempt   bool                                       // from RLIMIT_NPROC
	more     func(least func(amount uint64, by string)) // reports further limits of memory
}

// rlimits are the resource limits that are used; Unlimited if there is none.
type rlimits struct {
	address, data uint64 // RLIMIT_AS, RLIMIT_DATA
	processes     uint64 // RLIMIT_NPROC
}

func (s system) read(path string) ([]byte, bool) {
	if s.root == nil {
		return nil, false
	}
	text, err := fs.ReadFile(s.root, path)
	return text, err == nil
}

// memory is the least of the limits of memory, each less what rest returns for it.
func (s system) memory(rest func(by string) uint64) Bound {
	b := Bound{Unlimited, ByHost}
	least := func(amount uint64, by string) {
		if amount = minus(amount, rest(by)); amount < b.Amount {
			b = Bound{amount, by}
		}
	}
	if text, ok := s.read("proc/meminfo"); ok {
		if kib, ok := field(text, "MemAvailable:"); ok {
			least(times(kib, 1024), ByHost)
		}
	}
	for _, g := range s.groups("memory") {
		least(s.groupMemory(g), ByGroup)
	}
	limit := s.rlimits()
	if limit.address != Unlimited || limit.data != Unlimited {
		text, _ := s.read("proc/self/statm")
		size, data := parseStatm(text)
		least(minus(limit.address, times(size, s.pageSize)), ByAddress)
		least(minus(limit.data, times(data, s.pageSize)), ByData)
	}
	if s.more != nil {
		s.more(least)
	}
	return b
}

// groupMemory is the memory that one control group leaves. Pages of files, such as
// mapped weights, do not count as used, because they can be read again from the disk.
func (s system) groupMemory(g group) uint64 {
	number := func(name string) (uint64, bool) {
		text, ok := s.read(g.folder + "/" + name)
		if !ok {
			return 0, false
		}
		return parseLimit(text)
	}
	limit := uint64(Unlimited)
	files := []string{"inactive_file", "active_file"}
	usage := "memory.current"
	if g.v1 {
		usage, files = "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}
		if n, ok := number("memory.limit_in_bytes"); ok {
			limit = n
		}
	} else {
		for _, name := range []string{"memory.max", "memory.high"} {
			if n, ok := number(name); ok {
				limit = min(limit, n)
			}
		}
	}
	if limit >= math.MaxInt64/2 { // version 1 writes the largest multiple of a page
		return Unlimited
	}
	used, _ := number(usage)
	if stat, ok := s.read(g.folder + "/memory.stat"); ok {
		for _, name := range files {
			if n, ok := field(stat, name); ok {
				used -= min(used, n)
			}
		}
	}
	return minus(limit, used)
}

func (s system) threads() uint64 {
	free := uint64(Unlimited)
	for _, g := range s.groups("pids") {
		text, _ := s.read(g.folder + "/pids.max")
		limit, ok := parseLimit(text)
		if !ok {
			continue
		}
		text, _ = s.read(g.folder + "/pids.current")
		used, _ := parseLimit(text)
		free = min(free, minus(limit, used))
	}
	if limit := s.rlimits().processes; limit != Unlimited && !s.exempt {
		free = min(free, minus(limit, s.tasks(limit)))
	}
	return free
}

// plenty is a number of threads that is always enough.
const plenty = 4096

// tasks is the number of the user's threads. Counting them takes a while, so if the
// threads of all users leave plenty of a limit, it is the number of those.
func (s system) tasks(limit uint64) uint64 {
	if text, ok := s.read("proc/loadavg"); ok {
		if all, ok := parseTasks(text); ok && minus(limit, all) >= plenty {
			return all
		}
	}
	entries, err := fs.ReadDir(s.root, "proc")
	if err != nil {
		return 0
	}
	var sum uint64
	for _, e := range entries {
		if name := e.Name(); name[0] < '0' || name[0] > '9' {
			continue
		}
		text, ok := s.read("proc/" + e.Name() + "/status")
		if !ok { // it has ended
			continue
		}
		if user, ok := field(text, "Uid:"); ok && user == uint64(s.user) {
			threads, _ := field(text, "Threads:")
			sum += threads
		}
	}
	return sum
}

// quota is the control groups' CPU quota in processors, rounded up.
func (s system) quota() uint64 {
	least := uint64(Unlimited)
	for _, g := range s.groups("cpu") {
		var quota, period uint64
		if g.v1 {
			text, _ := s.read(g.folder + "/cpu.cfs_quota_us")
			quota, _ = parseLimit(text)
			text, _ = s.read(g.folder + "/cpu.cfs_period_us")
			period, _ = parseLimit(text)
		} else {
			text, _ := s.read(g.folder + "/cpu.max")
			quota, period = parseCPUMax(text)
		}
		if quota == 0 || quota == Unlimited || period == 0 || period == Unlimited {
			continue
		}
		least = min(least, (quota-1)/period+1)
	}
	return least
}
