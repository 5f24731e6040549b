package pool

import (
	"cmp"
	"time"
)

// breaker keeps a model that crashes its workers from being opened again and again: each
// crash in a row makes the next start later, and from maxCrashes on the model's jobs
// are refused for a time that doubles.
type breaker struct {
	crashes int           // in a row
	next    time.Time     // no start before
	open    bool          // jobs are refused until then
	pause   time.Duration // the first one; 0 means firstPause
}

// Times of a breaker.
const (
	maxCrashes  = 3
	firstDelay  = 100 * time.Millisecond
	firstPause  = 30 * time.Second
	maxPause    = 10 * time.Minute
	pauseFactor = 2
)

// crashed takes note of a crash.
func (b *breaker) crashed(now time.Time) {
	b.crashes++
	if b.crashes < maxCrashes {
		b.next = now.Add(firstDelay << (b.crashes - 1))
		return
	}
	pause := cmp.Or(b.pause, firstPause)
	for range b.crashes - maxCrashes {
		pause = min(pauseFactor*pause, maxPause)
	}
	b.open, b.next = true, now.Add(pause)
}

// worked takes note of a picture that was finished.
func (b *breaker) worked() { *b = breaker{pause: b.pause} }

// refuses reports whether jobs are refused, and for how long. After that one job is
// tried.
func (b *breaker) refuses(now time.Time) (time.Duration, bool) {
	if b.open && now.Before(b.next) {
		return b.next.Sub(now), true
	}
	return 0, false
}

// wait is how long a start must still wait.
func (b *breaker) wait(now time.Time) time.Duration { return max(0, b.next.Sub(now)) }
