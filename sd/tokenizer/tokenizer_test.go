package tokenizer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/allocation"
)

// golden is a line of testdata/tokenizer/goldens.jsonl, which goldens.py writes.
type golden struct {
	Group string
	Text  string // one character a byte
	IDs   []int32
	HF    []int32
	Table int
}

func (g golden) text() string {
	var b []byte
	for _, r := range g.Text {
		b = append(b, byte(r))
	}
	return string(b)
}

func goldens(t testing.TB) []golden {
	f, err := os.Open("../../testdata/tokenizer/goldens.jsonl")
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan()) // versions
	var out []golden
	for lines.Scan() {
		var g golden
		require.NoError(t, json.Unmarshal(lines.Bytes(), &g))
		out = append(out, g)
	}
	require.NoError(t, lines.Err())
	require.Greater(t, len(out), 500)
	return out
}

func TestEncodeAgreesWithOpenCLIP(t *testing.T) {
	small, err := New(CLIP().Merges()[:3000])
	require.NoError(t, err)
	plain := 0
	for _, g := range goldens(t) {
		tok := CLIP()
		if g.Group == "cut" {
			require.Equal(t, 3000, g.Table)
			tok = small
		}
		require.Equal(t, g.IDs, append([]int32{}, tok.Encode(g.text())...), "%s: %q", g.Group, g.text())
		if g.Group == "plain" {
			plain++
			require.Nil(t, g.HF, "%q: transformers says something else", g.text())
		}
	}
	require.Greater(t, plain, 200)
}

func TestSpecialTokens(t *testing.T) {
	tok := CLIP()
	require.Equal(t, int32(49406), tok.BOS())
	require.Equal(t, int32(49407), tok.EOS())
	require.Equal(t, 49408, tok.Size())
	require.Empty(t, tok.Encode(""))
	require.Empty(t, tok.Encode(" \n\t"))
}

func TestDecode(t *testing.T) {
	tok := CLIP()
	require.Equal(t, "a photo of a cat , it 's 3 d ! ", tok.Decode(tok.Encode("A photo of a CAT, it's 3D!")))
	require.Equal(t, "<|startoftext|>cat <|endoftext|>", tok.Decode([]int32{49406, 2368, 49407}))
	require.Equal(t, "\ufffd\ufffd\ufffd", tok.Decode([]int32{-1, 49408, 1 << 30}))
	require.Equal(t, "\ufffd", tok.Decode([]int32{tok.byteID[0xC3]}))
	require.Equal(t, "", tok.Decode(nil))
}

// A text of n bytes takes about n log n; a quadratic algorithm would take minutes here.
func TestLongTexts(t *testing.T) {
	const size = 1 << 18
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, text := range map[string]string{
		"one letter":       repeat("a"),
		"one word":         repeat("abcdefghij"),
		"punctuation":      repeat("!?"),
		"apostrophes":      repeat("'"),
		"ampersands":       repeat("&"),
		"escapes":          repeat("&amp;"),
		"nested escapes":   "&" + repeat("amp;"),
		"open escapes":     repeat("&#"),
		"long number":      "&#" + repeat("1"),
		"terminal escapes": repeat("\x1b["),
		"sigmas":           "Α" + repeat("."+"Σ"),
		"ignorable":        "Σ" + repeat(".") + "Σ",
		"marks":            "e" + repeat("\u0301"),
		"emoji":            repeat("👨‍👩‍👧"),
		"invalid":          repeat("\xff"),
		"specials":         repeat("<|endoftext|>"),
		"lines":            repeat("<\n"),
		"numbers":          repeat("1"),
	} {
		start := time.Now()
		ids := CLIP().Encode(text)
		require.LessOrEqual(t, len(ids), 3*len(text), name) // U+FFFD is three bytes
		require.Less(t, time.Since(start), 20*time.Second, name)
	}
}

// A prompt costs a few allocations, independent of its number of words.
func TestAllocations(t *testing.T) {
	prompt := strings.Repeat("a photo of a cat, ", 20)
	CLIP()
	require.LessOrEqual(t, testing.AllocsPerRun(20, func() { CLIP().Encode(prompt) }), 25.0)
}

func TestConcurrentUse(t *testing.T) {
	want := CLIP().Encode("a photo of a cat")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got := CLIP().Encode("a photo of a cat"); !bytes.Equal(asBytes(got), asBytes(want)) {
					t.Errorf("%v, not %v", got, want)
				}
			}
		})
	}
	all.Wait()
}

func asBytes(ids []int32) []byte {
	var b []byte
	for _, id := range ids {
		b = append(b, byte(id), byte(id>>8))
	}
	return b
}

func FuzzEncode(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.text())
	}
	small, err := New(CLIP().Merges()[:500])
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		for _, tok := range []*Tokenizer{CLIP(), small} {
			var ids []int32
			allocation.Bound(t, len(text), 512, func() { ids = tok.Encode(text) })
			for _, id := range ids {
				require.True(t, id >= 0 && int(id) < tok.Size(), "id %d of %q", id, text)
			}
			// Nothing is lost but white space and U+0345: the ids hold the repaired text, byte for byte.
			decoded := tok.Decode(ids)
			require.True(t, utf8.ValidString(decoded))
			require.Equal(t, withoutGaps(clean(text)), withoutGaps(decoded))
			require.LessOrEqual(t, len(ids), len(clean(text)))
		}
	})
}

func withoutGaps(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == ypogegrammeni {
			return -1
		}
		return r
	}, text)
}

func BenchmarkEncode(b *testing.B) {
	const prompt = "masterpiece, best quality, a portrait of an old fisherman with a weathered face, highly detailed, " +
		"oil on canvas, golden hour, volumetric fog, sharp focus, 8k uhd, trending on artstation, it's raining"
	CLIP()
	b.SetBytes(int64(len(prompt)))
	b.ReportAllocs()
	for b.Loop() {
		CLIP().Encode(prompt)
	}
}

func BenchmarkEncodeLongWord(b *testing.B) {
	word := strings.Repeat("abcdefghij", 1<<20/10)
	CLIP()
	b.SetBytes(int64(len(word)))
	for b.Loop() {
		CLIP().Encode(word)
	}
}

func BenchmarkNew(b *testing.B) {
	merges := CLIP().Merges()
	for b.Loop() {
		if _, err := New(merges); err != nil {
			b.Fatal(err)
		}
	}
}
