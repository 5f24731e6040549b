package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

func TestParseJobs(t *testing.T) {
	jobs, err := parseJobs("jobs.jsonl", strings.NewReader("\ufeff{\"prompt\": \"a \\u732b\", \"steps\": 20}\r\n\n  {\"cfg_scale\": 7.50, \"only-masked\": true, \"seed\": -1} \n{}"))
	require.NoError(t, err)
	require.Equal(t, []jobLine{
		{file: "jobs.jsonl", number: 1, members: []requests.Member{{Key: "prompt", Value: []byte(`"a \u732b"`)}, {Key: "steps", Value: []byte("20")}}},
		{file: "jobs.jsonl", number: 3, members: []requests.Member{{Key: "cfg_scale", Value: []byte("7.50")}, {Key: "only_masked", Value: []byte("true")}, {Key: "seed", Value: []byte("-1")}}},
		{file: "jobs.jsonl", number: 4},
	}, jobs)
	require.True(t, jobs[1].set("seed"))
	require.False(t, jobs[0].set("seed"))
}

func TestBadJobs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "j: no jobs; there must be one a line",
		" \n\n":                             "no jobs",
		"a fox":                             `j:1: must be a JSON object, such as {"prompt"`,
		"[1]":                               "j:1: must be a JSON object",
		"\n{\"a\": 1} {\"b\": 2}":           "j:2: must be one JSON object, and there is more after it",
		`{"a": }`:                           "j:1: not JSON: ",
		`{"a": 1`:                           "j:1: not JSON: ",
		`{"a": 1,}`:                         "j:1: not JSON: ",
		`{a: 1}`:                            "j:1: not JSON: ",
		"{\"a\":\n1}":                       "j:1: not JSON: the object does not end",
		`{"cfg_scale": 1, "cfg-scale": 2}`:  `j:1: "cfg_scale" is there twice`,
		"{\"a\": \"\xff\"}":                 "j:1: must be UTF-8",
		"{}\n" + strings.Repeat(" ", 2<<20): "j:2: a line of more than",
		strings.Repeat("x\n", 9):            "j:5: must be a JSON object, such as {\"prompt\": \"a fox\", \"seed\": 1}; 4 more bad lines",
	} {
		_, err := parseJobs("j", strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}

func FuzzParseJobs(f *testing.F) {
	f.Add([]byte("{\"prompt\": \"a fox\", \"steps\": 20, \"cfg_scale\": 7.5}\n{\"json\": true}"))
	f.Add([]byte("\ufeff{\"a\": \"\\ud800\"}\n\n{\"a\": 1e400}"))
	f.Add([]byte("{\"a\": [1, {}]}\n{\"b\": null}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		jobs, err := parseJobs("j", bytes.NewReader(data))
		if err != nil {
			require.Contains(t, err.Error(), "j:")
			return
		}
		require.NotEmpty(t, jobs)
		_, flags, err := parse(commands(), []string{"batch"})
		require.NoError(t, err)
		maker := newJobMaker(flags, "", sd.Options{})
		for _, j := range jobs {
			// Whatever it says, it is taken or refused, and nothing else happens.
			_, _ = maker.job(j)
		}
	})
}
