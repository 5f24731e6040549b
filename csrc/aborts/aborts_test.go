package aborts

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A failed assertion comes back through ggml's frames, as often as it happens,
// and no debugger is started: there is none in the path.
func TestAssertionsAreErrors(t *testing.T) {
	t.Setenv("PATH", "")
	for range 3 {
		text, ok := Provoke()
		require.True(t, ok, text)
		require.Contains(t, text, "GGML_ASSERT")
	}
}
