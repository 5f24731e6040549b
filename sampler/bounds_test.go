package sampler

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The compiler reports where it checks an index. In these files it never does:
// they are the loops over samples and the generators of noise. (Slicing before
// a loop, which is checked once, is another message.)
func TestNoBoundsChecks(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-d=ssa/check_bce", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "Found IsInBounds", "the compiler tells nothing")
	checks := regexp.MustCompile(`(?m)^.*\b(vector|noise_philox|noise_brownian)\.go:.*Found IsInBounds$`).FindAllString(string(out), -1)
	require.Empty(t, checks)
}
