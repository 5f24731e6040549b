package job

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/requests.md")

const tableHead = "| field | flag | JSON | in pictures | meaning | range | default |\n| --- | --- | --- | --- | --- | --- | --- |\n"

// documented is the table as the page has it.
func documented() string {
	code := func(format, s string) string {
		if s == "" {
			return ""
		}
		return "`" + fmt.Sprintf(format, s) + "`"
	}
	var b strings.Builder
	b.WriteString(tableHead)
	for _, f := range Fields() {
		flags := code("--%s", f.Flag)
		if f.Short != "" {
			flags += ", " + code("-%s", f.Short)
		}
		key := code("%s", f.Key)
		if f.List {
			key = code("hires[].%s", f.PassKey) + ", " + key
		}
		if f.Object != "" {
			key = code("%s", f.Object+"."+f.option()) + ", " + key
		}
		if f.Key == guidanceKey {
			key += ", " + code("%s", guidanceOptionsKey)
		}
		picture := map[string]string{"Prompt": "the first lines", "NegativePrompt": "`Negative prompt`", "Interpolate.At": "`Variation seed strength`, `Towards at`",
			"TAESD": "`VAE Decoder: TAESD`, `TAESD`", "Guider": "`Guidance`, `Guidance options`", "OnlyMasked": "`Inpaint area: Only masked`"}[f.Path]
		if picture == "" {
			picture = code("%s", f.A1111)
		}
		path := f.Path
		if len(f.Also) > 0 {
			path += ", " + strings.Join(f.Also, ", ")
		}
		meaning := f.Help
		if f.Kind == KindFile {
			meaning += " (the name of a file)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", strings.ReplaceAll(path, ", ", "`, `"), flags, key, picture, meaning, f.Range, f.Default)
	}
	return b.String()
}

// The page that users read says what the table says.
func TestDocumentation(t *testing.T) {
	path := filepath.Join("..", "docs", "requests.md")
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(page), tableHead)
	require.True(t, ok, "docs/requests.md must have the table")
	_, after, ok := strings.Cut(rest, "\n\n")
	require.True(t, ok)
	want := before + documented() + "\n" + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o666))
		return
	}
	require.Equal(t, want, string(page), "run go test ./job -run TestDocumentation -update")
}
