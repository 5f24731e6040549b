package bytelevel

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// goldens are texts with their ids, which a script in testdata/tokenizer made.
func goldens(t testing.TB, name string) (texts []string, ids [][]int32) {
	f, err := os.Open("../../../testdata/tokenizer/" + name)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var text string
		var want []int32
		require.NoError(t, json.Unmarshal(lines.Bytes(), &[]any{&text, &want}))
		texts, ids = append(texts, text), append(ids, want)
	}
	require.NoError(t, lines.Err())
	require.Len(t, texts, 10000)
	return texts, ids
}

// 10,000 texts of many scripts, against the transformers library.
func TestQwenAgreesWithTransformers(t *testing.T) {
	texts, ids := goldens(t, "qwen.jsonl.gz")
	wrong := 0
	for i, text := range texts {
		if got := Qwen().Encode(text); !equal(got, ids[i]) {
			if wrong++; wrong < 10 {
				t.Errorf("%q (%+q) is %v, must be %v", text, text, got, ids[i])
			}
		}
	}
	require.Zero(t, wrong)
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestQwen(t *testing.T) {
	q := Qwen()
	require.Equal(t, 151669, q.Size())
	for text, want := range map[string]int32{"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|image_pad|>": 151655, "</think>": 151668} {
		id, ok := q.Special(text)
		require.True(t, ok)
		require.Equal(t, want, id)
		require.Equal(t, []int32{want}, q.Encode(text))
	}
	for _, text := range []string{"", "<|none|>", "a"} {
		_, ok := q.Special(text)
		require.False(t, ok)
	}
	for _, text := range []string{"a cat", "  two  spaces \n\n", "<|im_start|>user\nпривет 猫 👩‍🚀<|im_end|>\n"} {
		require.Equal(t, text, q.Decode(q.Encode(text)))
	}
	require.Equal(t, q.Encode("a\ufffdb"), q.Encode("a\xffb"))
	require.Equal(t, "\ufffd\ufffd\ufffd", q.Decode([]int32{-1, 151669, 1 << 30}))
	require.Empty(t, q.Encode(""))
}

func TestNewRefuses(t *testing.T) {
	good := func() Tables { return ordered([]string{"a b", "ab c"}, []string{"<s>"}) }
	_, err := New(good())
	require.NoError(t, err)
	for want, change := range map[string]func(*Tables){
		"the byte 0x61 has no token":              func(x *Tables) { delete(x.Tokens, "a"); x.Merges = nil; delete(x.Tokens, "ab") },
		"has a character that stands for no byte": func(x *Tables) { x.Tokens["猫"] = 400 },
		"has the id -1":                           func(x *Tables) { x.Tokens["ab"] = -1 },
		"must be 0 to 2097151":                    func(x *Tables) { x.Special["<s>"] = 1 << 30 },
		"its id 256 is another's":                 func(x *Tables) { x.Special["<s>"] = 256 },
		"is empty":                                func(x *Tables) { x.Special[""] = 300 },
		`merges[0]: "ab" must be`:                 func(x *Tables) { x.Merges[0] = "ab" },
		`merges[1]: "x y" must be`:                func(x *Tables) { x.Merges[1] = "x y" },
		`merges[1]: "a b" is there`:               func(x *Tables) { x.Merges[1] = "a b" },
		"at most 4096 special tokens": func(x *Tables) {
			for i := range 5000 {
				x.Special[strings.Repeat("<", i+1)] = int32(1000 + i)
			}
		},
	} {
		x := good()
		change(&x)
		_, err := New(x)
		require.ErrorContains(t, err, want)
	}
}

// Time is n·log n, whatever the text.
func TestLongTexts(t *testing.T) {
	for _, piece := range []string{"a", " ", "<", "'", "\n", "é", "e\u0301", "1", "<|im_start|", "ab "} {
		text := strings.Repeat(piece, 1<<17/len(piece))
		start := time.Now()
		require.NotEmpty(t, Qwen().Encode(text))
		require.Less(t, time.Since(start), 30*time.Second, "%q", piece)
	}
}

func FuzzEncode(f *testing.F) {
	texts, _ := goldens(f, "qwen.jsonl.gz")
	for _, text := range texts[:200] {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := Qwen().Encode(text)
		for _, id := range ids {
			require.True(t, id >= 0 && int(id) < Qwen().Size())
		}
		if utf8.ValidString(text) {
			require.Equal(t, ids, Qwen().Encode(Qwen().Decode(ids)))
		}
	})
}

// A file as the tokenizers library writes it, of a vocabulary that is a part of Qwen's.
func jsonFile(t testing.TB, change func(map[string]any)) []byte {
	tables := ordered([]string{"a b", "ab c", "Ġ ab"}, nil)
	file := map[string]any{
		"added_tokens": []any{map[string]any{"id": 300, "content": "<|im_end|>", "special": true}},
		"normalizer":   map[string]any{"type": "NFC"},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": qwenWords}, "behavior": "Isolated", "invert": false},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}}},
		"model": map[string]any{"type": "BPE", "vocab": tables.Tokens, "merges": []any{"a b", []string{"ab", "c"}, "Ġ ab"}, "byte_fallback": false},
	}
	if change != nil {
		change(file)
	}
	data, err := json.Marshal(file)
	require.NoError(t, err)
	return data
}

func TestFromJSON(t *testing.T) {
	x, err := FromJSON(jsonFile(t, nil))
	require.NoError(t, err)
	require.Equal(t, []int32{257, 258, 300, 258}, x.Encode("abc ab<|im_end|> ab"))
	model := func(key string, value any) func(map[string]any) {
		return func(f map[string]any) { f["model"].(map[string]any)[key] = value }
	}
	for want, change := range map[string]func(map[string]any){
		`the model must be BPE, as Qwen's is, got "Unigram"`: model("type", "Unigram"),
		"byte_fallback, ignore_merges":                       model("ignore_merges", true),
		"a merge must be a pair, got 3 tokens":               model("merges", []any{[]string{"a", "b", "c"}}),
		"the byte 0x21 has no token":                         model("vocab", map[string]int32{"a": 0}),
		"the normalizer must be NFC":                         func(f map[string]any) { f["normalizer"] = nil },
		"the pre_tokenizer must be Split":                    func(f map[string]any) { f["pre_tokenizer"] = map[string]any{"type": "ByteLevel"} },
		`token "x": single_word, lstrip`:                     func(f map[string]any) { f["added_tokens"] = []any{map[string]any{"content": "x", "rstrip": true}} },
		"tokenizer.json: json: cannot unmarshal":             func(f map[string]any) { f["added_tokens"] = 3 },
	} {
		_, err := FromJSON(jsonFile(t, change))
		require.ErrorContains(t, err, want)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add(jsonFile(f, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := FromJSON(data); err == nil {
			x.Encode("abc ab<|im_end|> é\n\n")
		}
	})
}
