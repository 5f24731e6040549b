package prompt

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/tokenizer"
)

const (
	bos   = 49406
	eos   = 49407
	cat   = 2368
	dog   = 1929
	comma = 267
)

func chunks(t *testing.T, text string, o Options) []Chunk {
	segments, _, err := Parse(text)
	require.NoError(t, err)
	got, err := Chunks(segments, tokenizer.CLIP(), o)
	require.NoError(t, err)
	return got
}

// row builds the tokens of a chunk: start, content, end, and pad to 77.
func row(pad int32, content ...int32) []int32 {
	ids := append(append([]int32{bos}, content...), eos)
	return append(ids, slices.Repeat([]int32{pad}, 77-len(ids))...)
}

func times(n int, id int32) []int32 { return slices.Repeat([]int32{id}, n) }

func TestChunksOfShortPrompts(t *testing.T) {
	for text, want := range map[string][]int32{
		"":         row(eos),
		" \n":      row(eos),
		"cat":      row(eos, cat),
		"cat dog":  row(eos, cat, dog),
		"(cat)dog": row(eos, cat, dog), // segments are encoded one by one
	} {
		got := chunks(t, text, Options{Pad: eos})
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Tokens, text)
		got = chunks(t, text, Options{Pad: 0})
		require.Equal(t, row(0, want[1:slices.Index(want, eos)]...), got[0].Tokens, text)
	}
}

func TestChunkWeights(t *testing.T) {
	got := chunks(t, "cat (dog:1.5) [cat]", Options{Pad: eos})
	require.Len(t, got, 1)
	want := slices.Repeat([]float32{1}, 77)
	want[2], want[3] = 1.5, float32(1/1.1)
	require.Equal(t, row(eos, cat, dog, cat), got[0].Tokens)
	require.Equal(t, want, got[0].Weights)
}

func TestChunksOfLongPrompts(t *testing.T) {
	for n, sizes := range map[int][]int{75: {75}, 76: {75, 1}, 150: {75, 75}, 151: {75, 75, 1}} {
		got := chunks(t, strings.Repeat("cat ", n), Options{Pad: 0})
		require.Len(t, got, len(sizes))
		for i, size := range sizes {
			require.Equal(t, row(0, times(size, cat)...), got[i].Tokens)
		}
	}
	got := chunks(t, "cat dog cat", Options{Content: 2, Pad: 7})
	require.Equal(t, []int32{bos, cat, dog, eos}, got[0].Tokens)
	require.Equal(t, []int32{bos, cat, eos, 7}, got[1].Tokens)
}

func TestBreak(t *testing.T) {
	long := strings.Repeat("cat ", 75)
	for _, c := range []struct {
		text         string
		plain, webUI [][]int32 // stable-diffusion.cpp, AUTOMATIC1111
	}{
		{"cat BREAK dog", [][]int32{row(eos, append([]int32{cat}, times(74, eos)...)...), row(0, dog)}, [][]int32{row(0, cat), row(0, dog)}},
		{"BREAK cat", [][]int32{row(0, cat)}, [][]int32{row(0), row(0, cat)}},
		{"cat BREAK", [][]int32{row(eos, append([]int32{cat}, times(74, eos)...)...)}, [][]int32{row(0, cat)}},
		{"BREAK", [][]int32{row(0)}, [][]int32{row(0)}},
		{"cat BREAK BREAK dog", [][]int32{row(eos, append([]int32{cat}, times(74, eos)...)...), row(0, dog)}, [][]int32{row(0, cat), row(0), row(0, dog)}},
		{long + "BREAK dog", [][]int32{row(0, times(75, cat)...), row(0, dog)}, [][]int32{row(0, times(75, cat)...), row(0, dog)}},
	} {
		for webUI, want := range map[bool][][]int32{false: c.plain, true: c.webUI} {
			var got [][]int32
			for _, chunk := range chunks(t, c.text, Options{Pad: 0, WebUIBreak: webUI}) {
				got = append(got, chunk.Tokens)
				require.Equal(t, slices.Repeat([]float32{1}, 77), chunk.Weights)
			}
			require.Equal(t, want, got, "%.20s, %v", c.text, webUI)
		}
	}
}

func TestCommaBacktrack(t *testing.T) {
	text := func(before, after int) string {
		return strings.Repeat("cat ", before) + "," + strings.Repeat(" (dog:2)", after)
	}
	for _, c := range []struct {
		before, after int
		first, second []int32 // with a backtrack of 20
	}{
		{70, 4, slices.Concat(times(70, cat), []int32{comma}, times(4, dog)), nil},
		{70, 5, slices.Concat(times(70, cat), []int32{comma}), times(5, dog)},
		{55, 20, slices.Concat(times(55, cat), []int32{comma}), times(20, dog)},
		{54, 21, slices.Concat(times(54, cat), []int32{comma}, times(20, dog)), times(1, dog)}, // too far back
		{74, 1, slices.Concat(times(74, cat), []int32{comma}), times(1, dog)},
		{75, 0, times(75, cat), []int32{comma}},
		{75, 80, times(75, cat), slices.Concat([]int32{comma}, times(74, dog))},
	} {
		got := chunks(t, text(c.before, c.after), Options{Pad: eos, CommaBacktrack: 20})
		require.Equal(t, row(eos, c.first...), got[0].Tokens, "%d, %d", c.before, c.after)
		if c.second == nil {
			require.Len(t, got, 1)
			continue
		}
		require.Equal(t, row(eos, c.second...), got[1].Tokens, "%d, %d", c.before, c.after)
		for i, id := range got[1].Tokens {
			want := float32(1)
			if id == dog {
				want = 2
			}
			require.Equal(t, want, got[1].Weights[i])
		}

		plain := chunks(t, text(c.before, c.after), Options{Pad: eos})
		require.Equal(t, min(75, c.before+1+c.after), slices.Index(plain[0].Tokens, eos)-1)
	}
}

func TestMaxChunks(t *testing.T) {
	segments, _, err := Parse(strings.Repeat("cat ", 100_000))
	require.NoError(t, err)
	_, err = Chunks(segments, tokenizer.CLIP(), Options{Pad: eos})
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, 128, limit.Max)
	require.ErrorContains(t, err, "chunks of tokens; at most 128 are supported")

	start := time.Now()
	got, err := Chunks(segments, tokenizer.CLIP(), Options{Pad: eos, MaxChunks: 2000, CommaBacktrack: 20})
	require.NoError(t, err)
	require.Len(t, got, 1334)
	require.Less(t, time.Since(start), 10*time.Second)

	segments, _, err = Parse(strings.Repeat("BREAK ", 1000))
	require.NoError(t, err)
	_, err = Chunks(segments, tokenizer.CLIP(), Options{WebUIBreak: true})
	require.ErrorAs(t, err, &limit)
	require.Equal(t, 129, limit.Got)
}

func FuzzChunks(f *testing.F) {
	f.Add("a (((house:1.3)) [on] a (hill:0.5), BREAK sun, (((sky))).", 5, 3, true)
	f.Add(strings.Repeat("cat, ", 60), 75, 20, false)
	tok := tokenizer.CLIP()
	f.Fuzz(func(t *testing.T, text string, content, backtrack int, webUI bool) {
		content = 1 + int(uint(content)%80)
		segments, _, err := Parse(text)
		if err != nil || len(text) > 1<<12 {
			return
		}
		got, err := Chunks(segments, tok, Options{Content: content, Pad: -1, CommaBacktrack: backtrack, WebUIBreak: webUI})
		if err != nil {
			var limit *LimitError
			require.ErrorAs(t, err, &limit)
			return
		}
		var tokens, want []int32
		for _, s := range segments {
			if !s.Break {
				want = append(want, tok.Encode(s.Text)...)
			}
		}
		require.NotEmpty(t, got)
		for _, c := range got {
			require.Len(t, c.Tokens, content+2)
			require.Len(t, c.Weights, content+2)
			require.Equal(t, tok.BOS(), c.Tokens[0])
			require.Equal(t, float32(1), c.Weights[0])
			for i, id := range c.Tokens[1:] {
				require.True(t, id != -1 && id != tok.EOS() || c.Weights[1+i] == 1 || slices.Contains(want, tok.EOS()))
				if id != -1 && id != tok.EOS() {
					tokens = append(tokens, id)
				}
			}
		}
		// No token is lost, and the order stays.
		isEnd := func(id int32) bool { return id == tok.EOS() }
		require.Equal(t, slices.DeleteFunc(want, isEnd), tokens)
	})
}

func BenchmarkChunks(b *testing.B) {
	segments, _, err := Parse(strings.Repeat("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))). ", 20))
	require.NoError(b, err)
	for b.Loop() {
		if _, err := Chunks(segments, tokenizer.CLIP(), Options{Pad: eos}); err != nil {
			b.Fatal(err)
		}
	}
}
