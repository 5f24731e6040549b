package sd

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/limits"
)

// With too little memory a request ends with an error that says how much would do
// for what, and how much there is; with a little more there is a picture. The
// model works on.
func TestTooLittleMemory(t *testing.T) {
	for _, o := range []Options{{}, {Type: "q8_0"}} {
		m := openTiny(t, "sd1.safetensors", o)
		refused := 0
		for free := uint64(0); ; free += 256 << 10 {
			require.Less(t, free, uint64(64<<20))
			end := limits.Pretend(free)
			result, err := m.Generate(context.Background(), Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 1})
			end()
			if err == nil {
				require.Len(t, result.Images, 1)
				break
			}
			var e *MemoryError
			require.True(t, errors.As(err, &e), err)
			require.Equal(t, "cpu", e.Device)
			require.Greater(t, e.Needed, e.Left)
			require.LessOrEqual(t, e.Left, free)
			require.ErrorContains(t, err, "would take")
			refused++
		}
		require.Greater(t, refused, 2)
		require.Zero(t, promisedNow(t))
	}
}

// promisedNow is what is promised and was not released.
func promisedNow(t *testing.T) uint64 {
	t.Helper()
	defer limits.Pretend(1 << 40)()
	return 1<<40 - limits.Room().Amount
}
