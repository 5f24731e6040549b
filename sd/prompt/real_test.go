package prompt

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Prompts out of pictures of other programs go all the way, which none of them stops.
func TestRealPrompts(t *testing.T) {
	var data []byte
	for _, up := range []string{"../../../", "../../../../"} {
		if read, err := os.ReadFile(up + "shared/real/prompts/prompts.txt"); err == nil {
			data = read
		}
	}
	if data == nil {
		t.Skip("needs ../shared/real")
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		parts, err := Compose(line)
		require.NoError(t, err, line)
		for _, part := range parts {
			entries, err := Schedule(part.Text, 20)
			require.NoError(t, err, line)
			for _, e := range entries {
				segments, _, err := Parse(e.Text)
				require.NoError(t, err, line)
				chunks, err := Chunks(segments, tokenizer.CLIP(), Options{Pad: eos, CommaBacktrack: 20, WebUIBreak: true})
				require.NoError(t, err, line)
				require.NotEmpty(t, chunks)
			}
		}
		n++
	}
	require.Greater(t, n, 200)
}
