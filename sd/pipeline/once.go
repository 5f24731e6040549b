package pipeline

import "context"

// Once computes a value when it is first asked for. A failure is not kept: a
// cancelled request must not spoil the next one.
type Once[T any] struct {
	lock  chan struct{} // holds one token while a goroutine computes
	value T
	done  bool
}

// NewOnce makes one; the zero value is of no use.
func NewOnce[T any]() Once[T] { return Once[T]{lock: make(chan struct{}, 1)} }

// Get returns the value, or what compute returns. It waits for another caller that
// computes, as long as ctx lets it.
func (o *Once[T]) Get(ctx context.Context, compute func() (T, error)) (T, error) {
	select {
	case o.lock <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
	defer func() { <-o.lock }()
	if o.done {
		return o.value, nil
	}
	v, err := compute()
	if err == nil {
		o.value, o.done = v, true
	}
	return v, err
}
