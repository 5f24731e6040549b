package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var codeBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// Every flag in every sdgo command line of the documentation and of the help
// texts is there.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	text := ""
	for _, page := range append(pages, "../README.md") {
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range codeBlock.FindAllStringSubmatch(string(b), -1) {
			text += m[1]
		}
	}
	var r run
	app := r.app()
	for _, c := range app.Commands {
		text += c.Description + "\n"
	}
	n := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		if !strings.HasPrefix(line, "sdgo ") {
			continue
		}
		_, err := r.arrange(app, words(line)[1:])
		require.NoError(t, err, line)
		n++
	}
	require.Greater(t, n, 10)
}

// words splits a command line at spaces outside quotes.
func words(line string) []string {
	var all []string
	for _, w := range regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(w, `"'`))
	}
	return all
}

// Every field of the events is documented.
func TestDocumentedEvents(t *testing.T) {
	b, err := os.ReadFile("../docs/cli.md")
	require.NoError(t, err)
	for _, event := range []any{
		loadEvent{}, progressEvent{Picture: 1, Pass: 1}, imageEvent{Params: jsonParams{Strength: 1, Decoder: "x", To: new(string), ToSeed: new(int64), At: new(float64), Stages: []jsonStage{{}}}}, doneEvent{}, upscaledEvent{}, warningEvent{}, errorEvent{Problems: []problem{{}}},
		bytesEvent{}, convertedEvent{Tensors: []jsonDeviation{{}}}, previewEvent{Tensors: []jsonChange{{}}},
	} {
		text, err := json.Marshal(event)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, string(b), "`"+m[1]+"`")
		}
	}
}
