package prompt

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// turns makes the entries of ten alternating steps.
func turns(texts ...string) (out []Entry) {
	for i := range 10 {
		out = append(out, Entry{i + 1, texts[i%len(texts)]})
	}
	return out
}

// The doctests of get_learned_conditioning_prompt_schedules in stable-diffusion-webui's modules/prompt_parser.py for one
// pass, except "a [{b|d{:.5] c": that one is older than alternation, and the function now leaves the prompt as it is, as
// here.
func TestSchedulePublishedExamples(t *testing.T) {
	for text, want := range map[string][]Entry{
		"test":            {{10, "test"}},
		"a [b:3]":         {{3, "a "}, {10, "a b"}},
		"a [b: 3]":        {{3, "a "}, {10, "a b"}},
		"a [[[b]]:2]":     {{2, "a "}, {10, "a [[b]]"}},
		"[(a:2):3]":       {{3, ""}, {10, "(a:2)"}},
		"a [b : c : 1] d": {{1, "a b  d"}, {10, "a  c  d"}},
		"a[b:[c:d:2]:1]e": {{1, "abe"}, {2, "ace"}, {10, "ade"}},
		"a [unbalanced":   {{10, "a [unbalanced"}},
		"a [b:.5] c":      {{5, "a  c"}, {10, "a b c"}},
		"((a][:b:c [d:3]": {{3, "((a][:b:c "}, {10, "((a][:b:c d"}},
		"[a|(b:1.1)]":     turns("a", "(b:1.1)"),
		"[fe|]male":       turns("female", "male"),
		"[fe|||]male":     turns("female", "male", "male", "male"),
	} {
		got, err := Schedule(text, 10)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
}

// The doctests of that function for the second pass of 10 steps after one of 10, and what they say of further ones.
func TestSchedulePass(t *testing.T) {
	second, third := Pass{Steps: 10, Index: 1, Before: 10}, Pass{Steps: 8, Index: 2, Before: 20}
	for _, c := range []struct {
		text string
		pass Pass
		want []Entry
	}{
		{"a [b:.5] c", second, []Entry{{10, "a b c"}}},
		{"a [b:1.5] c", second, []Entry{{5, "a  c"}, {10, "a b c"}}},
		{"a [b:13] c", second, []Entry{{3, "a  c"}, {10, "a b c"}}},
		{"a [b:10] c", second, []Entry{{10, "a b c"}}},
		{"a [b:2.5] c", second, []Entry{{10, "a  c"}}},
		{"a [b:2.5] c", third, []Entry{{4, "a  c"}, {8, "a b c"}}},
		{"a [b:25] c", third, []Entry{{5, "a  c"}, {8, "a b c"}}},
		{"[a|b]", Pass{Steps: 2, Index: 1, Before: 3}, []Entry{{1, "a"}, {2, "b"}}},
		{"a [b:1.5] c", Pass{Steps: 10}, []Entry{{10, "a  c"}}},
	} {
		got, err := SchedulePass(c.text, c.pass)
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.text)
	}
}

// The example at the beginning of that file.
func TestScheduleOfAHundredSteps(t *testing.T) {
	got, err := Schedule("fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"+
		"[ in foreground::0.6][: in background:0.25] [shoddy:masterful:0.5]", 100)
	require.NoError(t, err)
	require.Equal(t, []Entry{
		{25, "fantasy landscape with a mountain and an oak in foreground shoddy"},
		{50, "fantasy landscape with a lake and an oak in foreground in background shoddy"},
		{60, "fantasy landscape with a lake and an oak in foreground in background masterful"},
		{75, "fantasy landscape with a lake and an oak in background masterful"},
		{100, "fantasy landscape with a lake and a christmas tree in background masterful"},
	}, got)
}

func TestSchedule(t *testing.T) {
	for text, want := range map[string][]Entry{
		"":                {{10, ""}},
		"a|b [c:3]":       {{10, "a|b [c:3]"}},
		`a\`:              {{10, `a\`}},
		`\[a:3\]`:         {{10, `\[a:3\]`}},
		"[a:b:0]":         {{10, "b"}},
		"[a:b:-3]":        {{10, "b"}},
		"[a:b:99]":        {{10, "a"}},
		"[a:b:1e9999]":    {{10, "[a:b:1e9999]"}},
		"[a:b:nan]":       {{10, "[a:b:nan]"}},
		"[a:b:0.3 ]":      {{3, "a"}, {10, "b"}},
		"[a:b:c:3]":       {{10, "[a:b:c:3]"}},
		"[a:b:3":          {{10, "[a:b:3"}},
		"[a::3]":          {{3, "a"}, {10, ""}},
		"(a [b:c:3]:1.2)": {{3, "(a b:1.2)"}, {10, "(a c:1.2)"}},
		"[a|[b:c:4]]x":    {{1, "ax"}, {2, "bx"}, {3, "ax"}, {4, "bx"}, {5, "ax"}, {6, "cx"}, {7, "ax"}, {8, "cx"}, {9, "ax"}, {10, "cx"}},
	} {
		got, err := Schedule(text, 10)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	got, err := Schedule("[a:b:0.5]", 0)
	require.NoError(t, err)
	require.Equal(t, []Entry{{1, "b"}}, got)
}

func TestScheduleLimits(t *testing.T) {
	var limit *LimitError
	_, err := Schedule(strings.Repeat("a", MaxLength+1), 10)
	require.ErrorAs(t, err, &limit)
	_, err = Schedule(strings.Repeat("[", MaxDepth+1), 10)
	require.EqualError(t, err, "prompt: 257 nested brackets; at most 256 are supported")
	_, err = Schedule("[a|b]"+strings.Repeat("c", MaxLength-5), 1000)
	require.ErrorAs(t, err, &limit)
	_, err = Schedule("[|]", 1<<40)
	require.ErrorAs(t, err, &limit)

	repeat := func(s string) string { return strings.Repeat(s, MaxLength/len(s)) }
	for _, text := range []string{repeat("[a:b:3]"), repeat("(a:b)"), repeat(":"), repeat("]"), repeat("[a:b)"), repeat("[)"), "[" + repeat("(a)")[1:]} {
		start := time.Now()
		_, err := Schedule(text, 10)
		require.NoError(t, err)
		require.Less(t, time.Since(start), 20*time.Second, "%.20s", text)
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("a[b:[c:d:2]:1]e [f|g|] ((x:1.2) \\[", 10)
	f.Add("[a:b:.5]]:[", 3)
	f.Fuzz(func(t *testing.T, text string, steps int) {
		steps = 1 + int(uint(steps)%50)
		got, err := Schedule(text, steps)
		if err != nil {
			return
		}
		require.Equal(t, steps, got[len(got)-1].Until)
		for i, e := range got {
			require.True(t, e.Until >= 1 && (i == 0 || e.Until > got[i-1].Until))
			require.LessOrEqual(t, len(e.Text), len(text))
		}
		if !strings.Contains(text, "[") {
			require.Equal(t, []Entry{{steps, text}}, got)
		}
	})
}
