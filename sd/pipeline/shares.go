package pipeline

import (
	"sync"
	"time"
)

// shares divides the time of what is done for several pictures at once among them: each
// moment counts once, in equal parts for those at work in it. The nil value is for one picture.
type shares struct {
	mutex   sync.Mutex
	working map[*time.Duration]bool
	since   time.Time // of the working ones' last settled moment
}

// begin starts the work for a picture, whose part of the time is added to spent, which
// nobody else may read until end is called.
func (s *shares) begin(spent *time.Duration, now func() time.Time) (end func()) {
	if s == nil {
		start := now()
		return func() { *spent += now().Sub(start) }
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.settle(now())
	if s.working == nil {
		s.working = map[*time.Duration]bool{}
	}
	s.working[spent] = true
	return func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.settle(now())
		delete(s.working, spent)
	}
}

// settle divides the time since the last call.
func (s *shares) settle(now time.Time) {
	for spent := range s.working {
		*spent += now.Sub(s.since) / time.Duration(len(s.working))
	}
	s.since = now
}
