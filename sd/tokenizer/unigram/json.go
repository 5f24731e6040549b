package unigram

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/sdgo/sdgo/sd/tokenizer/special"
)

// FromJSON reads a file tokenizer.json of the tokenizers library, if it does what T5's does: what it does otherwise is an
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
			Type         string  `json:"type"`
			Unknown      *int32  `json:"unk_id"`
			Vocabulary   []Piece `json:"vocab"`
			ByteFallback bool    `json:"byte_fallback"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	switch {
	case file.Model.Type != "Unigram":
		return nil, fmt.Errorf("tokenizer.json: the model must be Unigram, as T5's is, got %.40q", file.Model.Type)
	case file.Model.Unknown == nil:
		return nil, fmt.Errorf("tokenizer.json: the model must have an unk_id")
	case file.Model.ByteFallback:
		return nil, fmt.Errorf("tokenizer.json: byte_fallback is not T5's")
	}
	ids, err := special.IDs(file.Added)
	if err != nil {
		return nil, err
	}
	tables := Tables{Pieces: file.Model.Vocabulary, Unknown: *file.Model.Unknown, Special: ids}
	if tables.CharsMap, err = normalization(file.Normalizer); err != nil {
		return nil, err
	}
	if err := checkWords(file.PreTokenizer); err != nil {
		return nil, err
	}
	return New(tables)
}

// UnmarshalJSON reads a pair of a text and a score.
func (p *Piece) UnmarshalJSON(data []byte) error {
	pair := []any{&p.Text, &p.Score}
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a piece must be a pair of a text and a score, got %d values", len(pair))
	}
	return nil
}

// component is a part of what a tokenizer does before it looks at the vocabulary.
type component struct {
	Type          string      `json:"type"`
	CharsMap      string      `json:"precompiled_charsmap"`
	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Replacement   string      `json:"replacement"`
	Prepend       string      `json:"prepend_scheme"`
	PrefixSpace   *bool       `json:"add_prefix_space"` // in files of before 2024
	Split         *bool       `json:"split"`
}

// normalization is the compiled table, none if there is no normalizer.
func normalization(c *component) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	if c.Type == "Sequence" && len(c.Normalizers) == 1 {
		return normalization(&c.Normalizers[0])
	}
	if c.Type != "Precompiled" {
		return nil, fmt.Errorf("tokenizer.json: the normalizer must be Precompiled, as T5's is, got %.40q", c.Type)
	}
	data, err := base64.StdEncoding.DecodeString(c.CharsMap)
	if err != nil || len(data) == 0 {
		return nil, fmt.Errorf("tokenizer.json: precompiled_charsmap must be base64: %w", err)
	}
	return data, nil
}

// checkWords makes sure that text is split as [Tokenizer.Encode] does.
func checkWords(c *component) error {
	if c == nil || c.Type != "Sequence" || len(c.PreTokenizers) != 2 {
		return fmt.Errorf("tokenizer.json: the pre_tokenizer must be WhitespaceSplit and Metaspace, as T5's is")
	}
	first, second := c.PreTokenizers[0], c.PreTokenizers[1]
	always := second.Prepend == "always" || second.Prepend == "" && (second.PrefixSpace == nil || *second.PrefixSpace)
	if first.Type != "WhitespaceSplit" || second.Type != "Metaspace" || second.Replacement != mark || !always || second.Split != nil && !*second.Split {
		return fmt.Errorf("tokenizer.json: the pre_tokenizer must be WhitespaceSplit and Metaspace with a mark before each word, as T5's is")
	}
	return nil
}
