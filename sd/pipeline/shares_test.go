package pipeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Of two pictures' decoding that overlaps each moment counts once.
func TestShares(t *testing.T) {
	at := time.Unix(1e9, 0)
	now := func() time.Time { return at }
	pass := func(seconds int) { at = at.Add(time.Duration(seconds) * time.Second) }
	for _, s := range []*shares{{}, nil} {
		var a, b time.Duration
		endA := s.begin(&a, now)
		pass(2)
		endB := s.begin(&b, now)
		pass(4)
		endA()
		pass(1)
		endB()
		pass(5) // nobody works
		if s == nil {
			require.Equal(t, []time.Duration{6 * time.Second, 5 * time.Second}, []time.Duration{a, b})
			continue
		}
		require.Equal(t, []time.Duration{4 * time.Second, 3 * time.Second}, []time.Duration{a, b})
		endC := s.begin(&a, now)
		pass(1)
		endC()
		require.Equal(t, 5*time.Second, a)
	}
}
