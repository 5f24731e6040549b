package prompt

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompose(t *testing.T) {
	for text, want := range map[string][]Part{
		"":                               {{"", 1}},
		"a cat ":                         {{"a cat ", 1}},
		"a AND b":                        {{"a ", 1}, {" b", 1}},
		"a cat :1.2 AND a dog:0.7 AND b": {{"a cat", 1.2}, {" a dog", 0.7}, {" b", 1}},
		"a AND\nb :-0.5\n":               {{"a ", 1}, {"\nb", -0.5}},
		"a:+2. AND b: .5":                {{"a", 2}, {" b", 0.5}},
		"AND":                            {{"", 1}, {"", 1}},
		"ANDROID, BAND, _AND, ANDé and":  {{"ANDROID, BAND, _AND, ANDé and", 1}},
		"(a AND b:1.2)":                  {{"(a ", 1}, {" b:1.2)", 1}},
		"[a:b:0.5] AND c,AND,d":          {{"[a:b:0.5] ", 1}, {" c,", 1}, {",d", 1}},
		"16:9":                           {{"16", 9}},
		"a:1.2.3":                        {{"a:1.2.3", 1}},
		"a :.":                           {{"a :.", 1}},
		"a: 1 2":                         {{"a: 1 2", 1}},
		"a:--1":                          {{"a:--1", 1}},
		"a <lora:x:0.5>":                 {{"a <lora:x:0.5>", 1}},
		"a :0.5 <lora:x AND y:1> AND b":  {{"a<lora:x AND y:1>", 0.5}, {" b", 1}},
	} {
		got, err := Compose(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	var limit *LimitError
	_, err := Compose(strings.Repeat("a", MaxLength+1))
	require.ErrorAs(t, err, &limit)
	_, err = Compose(strings.Repeat("a AND ", maxParts-1) + "b")
	require.NoError(t, err)
	_, err = Compose(strings.Repeat("a AND ", 100_000))
	require.EqualError(t, err, "prompt: 33 prompts joined by AND; at most 32 are supported")
	var weight *WeightError
	_, err = Compose("a :" + strings.Repeat("9", 400))
	require.ErrorAs(t, err, &weight)
	_, err = Compose("a :1" + strings.Repeat("0", 40))
	require.ErrorAs(t, err, &weight)
}

// The reference's two regular expressions, of the module prompt_parser.
var (
	webUIAnd    = regexp.MustCompile(`\bAND\b`)
	webUIWeight = regexp.MustCompile(`^((?:\s|.)*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*$`)
)

func FuzzCompose(f *testing.F) {
	for _, text := range []string{"a cat :1.2 AND a dog:0.7", "AND AND", "a:1.", "a\n: -.5 ", "x:+1AND y: 2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Compose(text)
		if err != nil || strings.ContainsAny(text, "<\v\u0085\u00a0") {
			return
		}
		for _, r := range text {
			if r > 126 { // Go's \b and \s know ASCII alone
				return
			}
		}
		texts := webUIAnd.Split(text, -1)
		require.Len(t, got, len(texts))
		for i, s := range texts {
			m := webUIWeight.FindStringSubmatch(s)
			want := 1.0
			if m[2] != "" {
				want, err = strconv.ParseFloat(m[2], 64)
				require.NoError(t, err)
			}
			require.Equal(t, want, got[i].Weight)
			require.Equal(t, strings.TrimSpace(m[1]), strings.TrimSpace(got[i].Text))
		}
	})
}
