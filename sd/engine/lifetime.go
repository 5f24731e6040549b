package engine

import "sync"

// lifetime counts the calls in progress, for Close to wait for.
type lifetime struct {
	mutex   sync.Mutex
	closed  bool
	running sync.WaitGroup
	freed   sync.Once
}

func (l *lifetime) acquire() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.running.Add(1)
	return nil
}

// close refuses further calls, waits for those in progress, and the first time calls
// free.
func (l *lifetime) close(free func() error) (err error) {
	l.mutex.Lock()
	l.closed = true
	l.mutex.Unlock()
	l.running.Wait()
	l.freed.Do(func() { err = free() })
	return err
}

// Use begins a call that uses hosts; release ends it. No host is closed in between. A
// nil host, which was never opened, gives [ErrClosed].
func Use(hosts ...*Host) (release func(), err error) {
	acquired := 0
	release = func() {
		for _, h := range hosts[:acquired] {
			h.running.Done()
		}
	}
	for _, h := range hosts {
		if h == nil {
			err = ErrClosed
		} else {
			err = h.acquire()
		}
		if err != nil {
			release()
			return nil, err
		}
		acquired++
	}
	return release, nil
}
