package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]uint64{"1": 1, "800M": 800e6, "6G": 6e9, "1.5gb": 1.5e9, "20 kB": 20e3, "2T": 2e12} {
		n, err := parseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "G", "-1", "0", "NaN", "Inf", "6X", "1e300", "1e3G6", "9999999999T"} {
		_, err := parseBytes(text)
		require.ErrorContains(t, err, "must be a size", text)
	}
}
