package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseJobs(t *testing.T) {
	jobs, err := parseJobs("jobs.jsonl", strings.NewReader("\ufeff{\"prompt\": \"a \\u732b\", \"steps\": 20}\r\n\n  {\"cfg_scale\": 7.50, \"only-masked\": true, \"seed\": -1} \n{}"))
	require.NoError(t, err)
	require.Equal(t, []jobLine{
		{"jobs.jsonl", 1, []field{{"prompt", "a 猫"}, {"steps", "20"}}},
		{"jobs.jsonl", 3, []field{{"cfg-scale", "7.50"}, {"only-masked", "true"}, {"seed", "-1"}}},
		{"jobs.jsonl", 4, nil},
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
		"\n{\"a\": 1} {\"b\": 2}":           "j:2: more than one object",
		`{"a": }`:                           "j:1: not JSON: ",
		`{"a": 1`:                           "j:1: not JSON: ",
		`{"a": 1,}`:                         "j:1: not JSON: ",
		`{a: 1}`:                            "j:1: not JSON: ",
		"{\"a\":\n1}":                       "j:1: not JSON: the object does not end",
		`{"a": [1]}`:                        `j:1: "a": must be a string, a number, true or false`,
		`{"a": {"b": 1}}`:                   `"a": must be a string`,
		`{"a": null}`:                       `"a": must be a string`,
		`{"cfg_scale": 1, "cfg-scale": 2}`:  `j:1: "cfg-scale" is there twice`,
		"{\"a\": \"\xff\"}":                 "j:1: not UTF-8",
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
		for _, j := range jobs {
			// Whatever it says, it is taken or refused, and nothing else happens.
			_, _ = new(jobMaker).job(j)
		}
	})
}
