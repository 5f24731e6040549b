package bytelevel

import (
	"encoding/json"
	"fmt"

	"github.com/sdgo/sdgo/sd/tokenizer/special"
)

// MaxFile bounds a vocabulary's file, in bytes.
const MaxFile = 64 << 20

// qwenWords is the regular expression that [Tokenizer.Encode] follows.
const qwenWords = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// FromJSON reads a file tokenizer.json of the tokenizers library, if it does what Qwen's does: what it does otherwise is an
// error that names it.
func FromJSON(data []byte) (*Tokenizer, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("tokenizer: tokenizer.json must have at most %d MB", MaxFile>>20)
	}
	var file struct {
		Added        []special.Added `json:"added_tokens"`
		Normalizer   *component      `json:"normalizer"`
		PreTokenizer *component      `json:"pre_tokenizer"`
		Model        struct {
			Type         string           `json:"type"`
			Vocabulary   map[string]int32 `json:"vocab"`
			Merges       []merge          `json:"merges"`
			ByteFallback bool             `json:"byte_fallback"`
			IgnoreMerges bool             `json:"ignore_merges"`
			Prefix       *string          `json:"continuing_subword_prefix"`
			Suffix       *string          `json:"end_of_word_suffix"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	m := file.Model
	switch {
	case m.Type != "BPE":
		return nil, fmt.Errorf("tokenizer.json: the model must be BPE, as Qwen's is, got %.40q", m.Type)
	case m.ByteFallback || m.IgnoreMerges || m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "":
		return nil, fmt.Errorf("tokenizer.json: byte_fallback, ignore_merges, continuing_subword_prefix and end_of_word_suffix are not Qwen's")
	case file.Normalizer == nil || file.Normalizer.Type != "NFC":
		return nil, fmt.Errorf("tokenizer.json: the normalizer must be NFC, as Qwen's is")
	case !file.PreTokenizer.isQwens():
		return nil, fmt.Errorf("tokenizer.json: the pre_tokenizer must be Split with Qwen's regular expression, and ByteLevel")
	}
	ids, err := special.IDs(file.Added)
	if err != nil {
		return nil, err
	}
	tables := Tables{Tokens: m.Vocabulary, Special: ids}
	for _, x := range m.Merges {
		tables.Merges = append(tables.Merges, string(x))
	}
	return New(tables)
}

// merge is "left right", which newer files have as a pair.
type merge string

func (m *merge) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(m))
	}
	var pair []string
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a merge must be a pair, got %d tokens", len(pair))
	}
	*m = merge(pair[0] + " " + pair[1])
	return nil
}

// component is a part of what a tokenizer does before it looks at the vocabulary.
type component struct {
	Type    string `json:"type"`
	Pattern struct {
		Regex string `json:"Regex"`
	} `json:"pattern"`
	Behavior      string      `json:"behavior"`
	Invert        bool        `json:"invert"`
	PrefixSpace   bool        `json:"add_prefix_space"`
	UseRegex      *bool       `json:"use_regex"`
	PreTokenizers []component `json:"pretokenizers"`
}

func (c *component) isQwens() bool {
	if c == nil || c.Type != "Sequence" || len(c.PreTokenizers) != 2 {
		return false
	}
	split, bytes := c.PreTokenizers[0], c.PreTokenizers[1]
	return split.Type == "Split" && split.Pattern.Regex == qwenWords && split.Behavior == "Isolated" && !split.Invert &&
		bytes.Type == "ByteLevel" && !bytes.PrefixSpace && bytes.UseRegex != nil && !*bytes.UseRegex
}
