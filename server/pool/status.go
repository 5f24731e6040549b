package pool

import (
	"cmp"
	"slices"
	"time"
)

// Status is a model as the pool sees it.
type Status struct {
	Model    string
	Worker   string // "" without one
	State    string // "unloaded", "loading", "loaded", "failed" or "disabled"
	Why      string // of the last two
	Seconds  float64
	Running  int // jobs
	Resident uint64
	Scale    int // of an upscaler
	Native   int
}

// Status tells what state a model is in.
func (p *Pool) Status(name string) Status {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	s := Status{Model: name, State: "unloaded"}
	if m := p.members[name]; m != nil && !m.ending {
		s.Worker, s.Running, s.Resident, s.Seconds = m.id, len(m.runs), m.resident, time.Since(m.since).Seconds()
		s.Scale, s.Native = m.info.Scale, m.info.NativeSize
		if s.State = "loading"; m.ready {
			s.State = "loaded"
		}
		return s
	}
	if b := p.breakers[name]; b != nil {
		if _, refused := b.refuses(time.Now()); refused {
			s.State, s.Why = "disabled", "its worker crashed too often"
			return s
		}
	}
	if why, ok := p.failures[name]; ok {
		s.State, s.Why = "failed", why
	}
	return s
}

// Workers are the workers that run, by their ids.
func (p *Pool) Workers() (all []Status) {
	p.mutex.Lock()
	for _, m := range p.members {
		s := Status{Model: m.model.Key, Worker: m.id, State: "loading", Running: len(m.runs), Resident: m.resident}
		if m.ready {
			s.State = "loaded"
		}
		all = append(all, s)
	}
	p.mutex.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Worker, b.Worker) })
	return all
}

// Disabled are the models whose workers crashed too often.
func (p *Pool) Disabled() (all []string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for name, b := range p.breakers {
		if _, refused := b.refuses(time.Now()); refused {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// pids are the numbers of the workers' processes, for tests.
func (p *Pool) pids() (all []int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, m := range p.members {
		if one, ok := m.proc.(interface{ Pid() int }); ok {
			all = append(all, one.Pid())
		}
	}
	return all
}
