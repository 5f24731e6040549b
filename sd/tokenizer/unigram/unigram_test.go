package unigram

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const folder = "../../../testdata/tokenizer/"

func unpacked(t testing.TB, name string) []byte {
	f, err := os.Open(folder + name)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	data, err := io.ReadAll(z)
	require.NoError(t, err)
	return data
}

func fromSentencePiece(t testing.TB) *Tokenizer {
	data, err := os.ReadFile(folder + "spiece.model")
	require.NoError(t, err)
	x, err := FromSentencePiece(data)
	require.NoError(t, err)
	return x
}

func fromJSON(t testing.TB) *Tokenizer {
	x, err := FromJSON(unpacked(t, "t5.json.gz"))
	require.NoError(t, err)
	return x
}

// goldens are texts with their ids: testdata/tokenizer/unigram.py.
func goldens(t testing.TB) (texts []string, ids [][]int32) {
	lines := bufio.NewScanner(bytes.NewReader(unpacked(t, "t5.jsonl.gz")))
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

// 10,000 texts of many scripts, against the transformers library, with both forms of the vocabulary.
func TestAgreesWithTransformers(t *testing.T) {
	texts, ids := goldens(t)
	for name, x := range map[string]*Tokenizer{"spiece.model": fromSentencePiece(t), "tokenizer.json": fromJSON(t)} {
		wrong := 0
		for i, text := range texts {
			got := x.Encode(text)
			same := len(got) == len(ids[i])
			for k := range min(len(got), len(ids[i])) {
				same = same && got[k] == ids[i][k]
			}
			if !same {
				if wrong++; wrong < 10 {
					t.Errorf("%s: %+q is %v, must be %v", name, text, got, ids[i])
				}
			}
		}
		require.Zero(t, wrong, name)
		require.Equal(t, 2600, x.Size())
		for text, want := range map[string]int32{"</s>": 1, "<pad>": 0, "<unk>": 2, "<extra_id_0>": 2599, mark: 3} {
			id, ok := x.ID(text)
			require.True(t, ok)
			require.Equal(t, want, id, text)
		}
		_, ok := x.ID("no such piece")
		require.False(t, ok)
	}
}

func small() Tables {
	return Tables{
		Pieces:  []Piece{{"<unk>", 0}, {"</s>", 0}, {mark, -3}, {"a", -4}, {"b", -4}, {mark + "ab", -11}, {"ab", -8}, {"猫", -5}},
		Special: map[string]int32{"</s>": 1},
	}
}

// What the algorithm says of ties and of what is unknown.
func TestPieces(t *testing.T) {
	x, err := New(small())
	require.NoError(t, err)
	for text, want := range map[string][]int32{
		"":          nil,
		"ab":        {5}, // as much as ▁ a b and ▁ ab: what reaches the end first wins
		"b":         {2, 4},
		"xyz":       {2, 0}, // unknown side by side is one piece
		"axb":       {2, 3, 0, 4},
		"a</s>b":    {2, 3, 1, 2, 4},
		" a  b\n":   {2, 3, 2, 4},
		"a▁b":       {2, 3, 2, 4},
		"▁":         {2},
		"猫\xff猫":    {2, 7, 0, 7},
		"\u3000a\v": {2, 3},
	} {
		require.Equal(t, want, x.Encode(text), "%q", text)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*Tables){
		"must have 1 to 1048576 pieces, got 0": func(x *Tables) { x.Pieces = nil },
		"the unknown piece must be one of":     func(x *Tables) { x.Unknown = 8 },
		"has the score NaN":                    func(x *Tables) { var zero float64; x.Pieces[3].Score = zero / zero },
		"piece 3 has 600 bytes":                func(x *Tables) { x.Pieces[3].Text = strings.Repeat("a", 600) },
		`special token "" has`:                 func(x *Tables) { x.Special[""] = 1 },
		`special token "x" has the id -1`:      func(x *Tables) { x.Special["x"] = -1 },
		"is cut off":                           func(x *Tables) { x.CharsMap = []byte{255, 0, 0, 0, 1} },
		"by more than 256 bytes": func(x *Tables) {
			x.CharsMap = append([]byte{4, 0, 0, 0, 0, 4, 0, 0}, make([]byte, 3)...)
			x.CharsMap = append(x.CharsMap, strings.Repeat("x", 257)...)
		},
	} {
		x := small()
		change(&x)
		_, err := New(x)
		require.ErrorContains(t, err, want)
	}
	for text, want := range map[string]string{
		`{`:                            "tokenizer.json: ",
		`{"model":{"type":"BPE"}}`:     `the model must be Unigram, as T5's is, got "BPE"`,
		`{"model":{"type":"Unigram"}}`: "must have an unk_id",
		`{"model":{"type":"Unigram","unk_id":0,"byte_fallback":true}}`:                                                  "byte_fallback is not T5's",
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1,2]]}}`:                                                   "must be a pair",
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1]]},"normalizer":{"type":"NFC"}}`:                         `the normalizer must be Precompiled, as T5's is, got "NFC"`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1]]}}`:                                                     "the pre_tokenizer must be WhitespaceSplit and Metaspace",
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1]]},"added_tokens":[{"content":"b","lstrip":true}]}`:      `token "b": single_word, lstrip`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1]]},"pre_tokenizer":{"type":"Metaspace"}}`:                "the pre_tokenizer must be",
		`{"model":{"type":"Unigram","unk_id":0},"normalizer":{"type":"Precompiled","precompiled_charsmap":"not base"}}`: "must be base64",
	} {
		_, err := FromJSON([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := FromSentencePiece([]byte("no model"))
	require.ErrorContains(t, err, "cut off, or is none")
	_, err = FromSentencePiece(nil)
	require.ErrorContains(t, err, "has no unknown piece")
}

// Time is in proportion to the text.
func TestLongTexts(t *testing.T) {
	x := fromSentencePiece(t)
	for _, piece := range []string{"a", " ", "<", "▁", "é", "e\u0301", "\u0301", "猫", "🇩🇪", "<extra_id_"} {
		start := time.Now()
		x.Encode(strings.Repeat(piece, 1<<17/len(piece)))
		require.Less(t, time.Since(start), 30*time.Second, "%q", piece)
	}
}

func FuzzEncode(f *testing.F) {
	texts, _ := goldens(f)
	for _, text := range texts[:200] {
		f.Add(text)
	}
	x := fromSentencePiece(f)
	f.Fuzz(func(t *testing.T, text string) {
		for _, id := range x.Encode(text) {
			require.True(t, id >= 0 && int(id) < x.Size())
		}
	})
}

// Whatever a file says, it is refused, or encodes.
func FuzzFromSentencePiece(f *testing.F) {
	whole, err := os.ReadFile(folder + "spiece.model")
	require.NoError(f, err)
	f.Add(whole[:400])
	f.Add([]byte("\n\x0a\n\x05<unk>\x18\x02\n\x08\n\x01a\x15\x00\x00\x80\xbf\x12\x02\x18\x01\x1a\x0e\x12\x0c\x08\x00\x00\x00\x00\x04\x00\x00\x61\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := FromSentencePiece(data); err == nil {
			x.Encode("a cat, é 猫 <extra_id_3>")
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"added_tokens":[{"id":0,"content":"<unk>"}],"normalizer":{"type":"Precompiled","precompiled_charsmap":"CAAAAAAEAABhAAAAYgA="},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}]},"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁a",-1.5]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := FromJSON(data); err == nil {
			x.Encode("a cat, é 猫 <extra_id_3>")
		}
	})
}
