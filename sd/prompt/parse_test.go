package prompt

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func seg(text string, weight float64) Segment { return Segment{Text: text, Weight: weight} }

var pause = Segment{Weight: 1, Break: true}

// The doctests that parse_prompt_attention in stable-diffusion-webui's modules/prompt_parser.py publishes.
func TestParsePublishedExamples(t *testing.T) {
	for text, want := range map[string][]Segment{
		"normal text":           {seg("normal text", 1)},
		"an (important) word":   {seg("an ", 1), seg("important", 1.1), seg(" word", 1)},
		"(unbalanced":           {seg("unbalanced", 1.1)},
		`\(literal\]`:           {seg("(literal]", 1)},
		"(unnecessary)(parens)": {seg("unnecessaryparens", 1.1)},
		"a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": {
			seg("a ", 1), seg("house", 1.5730000000000004), seg(" ", 1.1), seg("on", 1), seg(" a ", 1.1),
			seg("hill", 0.55), seg(", sun, ", 1.1), seg("sky", 1.4641000000000006), seg(".", 1.1),
		},
	} {
		got, tags, err := Parse(text)
		require.NoError(t, err)
		require.Empty(t, tags)
		require.Equal(t, want, got, text)
	}
}

// Derived from the reference's rules, and equal to what its function returns.
func TestParse(t *testing.T) {
	up, down := 1.1, 1/1.1 // variables, as constants would not round at each step
	for text, want := range map[string][]Segment{
		"":                     {seg("", 1)},
		"()":                   {seg("", 1)},
		"(a: 1.5 )b":           {seg("a", 1.5), seg("b", 1)},
		"(a:+.5)":              {seg("a", .5)},
		"(a:-2.)":              {seg("a", -2)},
		"(a:0)":                {seg("a", 0)},
		"(a:b:2)":              {seg("a:b", 2)},
		"(a:1.2":               {seg("a:1.2", 1.1)},
		"(a:1e2)":              {seg("a:1e2", 1.1)},
		"a:1.2)":               {seg("a:1.2)", 1)},
		"a:.)":                 {seg("a:.)", 1)},
		"a)b]":                 {seg("a)b]", 1)},
		"[a:1.2]":              {seg("a:1.2", down)},
		"[[a]]":                {seg("a", down*down)},
		"(a[b)c]":              {seg("a", 1.1), seg("b", up*down), seg("c", down)},
		`\\\(\)\[\]\a\`:        {seg(`\()[]a`, 1)},
		`(a\:1.2)`:             {seg("a", 1.2)},
		"a,  b ":               {seg("a,  b ", 1)},
		"a BREAK b":            {seg("a", 1), pause, seg("b", 1)},
		"a\n BREAK\tb":         {seg("a", 1), pause, seg("b", 1)},
		"BREAK":                {seg("", 1), pause, seg("", 1)},
		"BREAK BREAK":          {seg("", 1), pause, seg("", 1), pause, seg("", 1)},
		"BREAKBREAK BREAKs":    {seg("BREAKBREAK BREAKs", 1)},
		"_BREAK éBREAK 1BREAK": {seg("_BREAK éBREAK 1BREAK", 1)},
		"break Break":          {seg("break Break", 1)},
		"a,BREAK,b":            {seg("a,", 1), pause, seg(",b", 1)},
		"(a)BREAK(b)":          {seg("a", 1.1), seg("", 1), pause, seg("", 1), seg("b", 1.1)},
		"(a BREAK b)":          {seg("a", 1.1), seg("BREAK", -1.1), seg("b", 1.1)}, // a word, inside of brackets
		"a\xff(b\xfe":          {seg("a\xff", 1), seg("b\xfe", 1.1)},
	} {
		got, _, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestTags(t *testing.T) {
	for text, want := range map[string]struct {
		rest string
		tags []Tag
	}{
		"a<lora:x:0.8>b":             {"ab", []Tag{{"lora", "x", []string{"0.8"}}}},
		"<lora:x><hypernet:y:1:z=2>": {"", []Tag{{"lora", "x", []string{}}, {"hypernet", "y", []string{"1", "z=2"}}}},
		"<lora::1>":                  {"", []Tag{{"lora", "", []string{"1"}}}},
		"<a<b:c>":                    {"<a", []Tag{{"b", "c", []string{}}}},
		"<a:<b:c>":                   {"", []Tag{{"a", "<b", []string{"c"}}}},
		"a <3 b, 1 < 2 > 0":          {"a <3 b, 1 < 2 > 0", nil},
		"<:x><lora><lora:><b>":       {"<:x><lora><lora:><b>", nil},
		"<lora:x":                    {"<lora:x", nil},
		"<|endoftext|>":              {"<|endoftext|>", nil},
		"<größe:1>":                  {"", []Tag{{"größe", "1", []string{}}}},
	} {
		rest, tags := takeTags(text)
		require.Equal(t, want.rest, rest, text)
		require.Equal(t, want.tags, tags, text)
	}
	segments, tags, err := Parse("(a:<lora:x:1>1.5)")
	require.NoError(t, err)
	require.Len(t, tags, 1)
	require.Equal(t, []Segment{seg("a", 1.5)}, segments)
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"(a:1.2.3)":                            `prompt: weight of "1.2.3": not a finite number; a weight is written like (word:1.3)`,
		"(:.)":                                 `weight of ".": not a finite number`,
		"(a:" + strings.Repeat("9", 400) + ")": `weight of "` + strings.Repeat("9", 40) + `": not a finite number`,
		"(a:" + strings.Repeat("9", 39) + ")":  `weight of "a": its brackets multiply to more than a float32 holds`,
		"((a:" + strings.Repeat("9", 300) + "):" + strings.Repeat("9", 300) + ")": `weight of "a": its brackets multiply`,
	} {
		_, _, err := Parse(text)
		var weight *WeightError
		require.ErrorAs(t, err, &weight, text)
		require.ErrorContains(t, err, want)
	}

	_, _, err := Parse(strings.Repeat("a", MaxLength+1))
	require.EqualError(t, err, "prompt: 1048577 bytes; at most 1048576 are supported")
	_, _, err = Parse(strings.Repeat("([", MaxDepth))
	require.EqualError(t, err, "prompt: 257 nested brackets; at most 256 are supported")
	_, _, err = Parse(strings.Repeat("(", MaxDepth) + "a" + strings.Repeat("]", MaxDepth))
	require.NoError(t, err)
}

// Nested and repeated text takes about linear time; a quadratic algorithm would take hours.
func TestParseLongPrompts(t *testing.T) {
	repeat := func(s string) string { return strings.Repeat(s, MaxLength/len(s)) }
	for _, text := range []string{
		repeat("a"), repeat("(a)"), repeat("(a:1.1)"), repeat(":"), repeat(":1"), ":" + repeat(" ")[1:], repeat(": "), repeat("\\"), repeat(")"),
		repeat("BREAK "), repeat("BREAK"), repeat("<"), repeat("<a:"), repeat("<<")[1:] + ">", repeat("<a>"), repeat("<a:b>"), repeat("(a:1.1)[b]\\("),
		strings.Repeat("(", MaxDepth) + strings.Repeat("\\(", MaxLength/2-MaxDepth),
	} {
		start := time.Now()
		_, _, err := Parse(text)
		require.NoError(t, err)
		require.Less(t, time.Since(start), 20*time.Second, "%.20s", text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))). BREAK <lora:x:1> \\(")
	f.Add("(a: 1.5 )BREAK[b|c]:.5]\\")
	f.Fuzz(func(t *testing.T, text string) {
		segments, _, err := Parse(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, segments)
		size := 0
		for i, s := range segments {
			require.True(t, isFinite(float32(s.Weight)), "%v", s)
			require.True(t, !s.Break || s.Text == "" && s.Weight == 1)
			if i > 0 && !s.Break && !segments[i-1].Break {
				require.NotEqual(t, segments[i-1].Weight, s.Weight)
			}
			size += len(s.Text)
		}
		require.LessOrEqual(t, size, len(text))
		if !strings.ContainsAny(text, `\()[]<`) && !strings.Contains(text, breakText) {
			require.Equal(t, []Segment{seg(text, 1)}, segments)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := strings.Repeat("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))). ", 20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
