package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
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
	for _, c := range commands() {
		text += c.description + "\n"
	}
	n := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		if !strings.HasPrefix(line, "sdgo ") {
			continue
		}
		_, _, err := parse(commands(), words(line)[1:])
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
	var events bytes.Buffer
	r := report.New(report.Events, &events, nil)
	r.Loaded(report.Load{})
	r.Progress(report.Progress{Picture: 1, Pass: 1})
	strength, seed, text := 0.5, int64(1), "x"
	r.Saved(report.Image{Params: jsonParams{sd.Params{ModelHash: "x", Request: sd.Request{Strength: &strength, DeepCache: 2, Cache: "easy", TAESD: "x", SamplerOptions: map[string]float64{}, Guider: "apg",
		Interpolate: &sd.Interpolation{Prompt: &text, Seed: &seed}, Hires: []sd.HiresPass{{Strength: &strength, Guidance: &strength}}}}}})
	r.Upscaled(report.Upscaled{})
	r.Sheet(report.Sheet{})
	r.Job(report.Job{Message: "x"}, report.JobsDone{})
	r.Done(report.Done{Jobs: &report.Jobs{}, Timings: report.Timings{Encode: 1}})
	report.Event(&events, "warning", report.Warning{})
	report.Event(&events, "error", report.Failure{Problems: []report.Problem{{}}})
	report.Event(&events, "convert", report.BytesDone{})
	report.Event(&events, "converted", converted{Tensors: []jsonDeviation{{}}})
	report.Event(&events, "preview", conversion{Tensors: []jsonChange{{}}})
	for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(events.String(), -1) {
		require.Contains(t, string(b), "`"+m[1]+"`")
	}
	for line := range strings.Lines(events.String()) {
		var e struct{ Event string }
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		if e.Event != "" { // of no stage
			require.Contains(t, string(b), "`"+e.Event+"`")
		}
	}
}
