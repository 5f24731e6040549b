package sd

import (
	"errors"
	"sync"
)

// ErrClosed is what methods of a closed [Model], [ESRGAN] or [TAESD] return, and
// requests that bring one along.
var ErrClosed = errors.New("the model is closed")

// errNilContext is what methods return that are called without a context.
var errNilContext = errors.New("ctx must not be nil; context.Background() is the least")

// calls are those of a model that are in progress, for Close to wait for.
type calls struct {
	mutex   sync.Mutex
	closed  bool
	running sync.WaitGroup
	freed   sync.Once
}

func (c *calls) begin() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.running.Add(1)
	return nil
}

// close refuses further calls, waits for those in progress and frees what they
// used: the first time.
func (c *calls) close(free func() error) (err error) {
	c.mutex.Lock()
	c.closed = true
	c.mutex.Unlock()
	c.running.Wait()
	c.freed.Do(func() { err = free() })
	return err
}

// use begins a call of models, which ends with end. None of them is closed
// before.
func use(models ...*Model) (end func(), err error) {
	begun := 0
	end = func() {
		for _, m := range models[:begun] {
			m.calls.running.Done()
		}
	}
	for _, m := range models {
		if m == nil || m.weights == nil { // a zero value, never opened
			err = ErrClosed
		} else {
			err = m.calls.begin()
		}
		if err != nil {
			end()
			return nil, err
		}
		begun++
	}
	return end, nil
}

// models are those that a request brings along.
func (r Request) models() (all []*Model) {
	if r.Refiner != nil {
		all = append(all, r.Refiner)
	}
	if r.TAESD != nil {
		all = append(all, r.TAESD.model)
	}
	for _, s := range r.Stages {
		if s.ESRGAN != nil {
			all = append(all, s.ESRGAN.model)
		}
	}
	return all
}
