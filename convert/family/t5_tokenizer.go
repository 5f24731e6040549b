package family

import (
	"encoding/base64"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// T5TokenizerText is T5's vocabulary as metadata: JSON as it is, other files as base64.
func T5TokenizerText(data []byte) string {
	if len(data) > 0 && data[0] == '{' {
		return string(data)
	}
	return base64.StdEncoding.EncodeToString(data)
}

// tokenizers takes the tokenizers of a model's texts out of its metadata: they are long.
func tokenizers(r *Reader) {
	m := r.Model
	for _, key := range []string{model.KeyMerges, model.KeyGGUFMerges} {
		if text := m.Metadata[key]; text != "" {
			m.Merges = MergeList(text)
			delete(m.Metadata, key)
		}
	}
	if text := m.Metadata[model.KeyQwenTokenizer]; text != "" {
		m.QwenTokenizer = []byte(text)
		delete(m.Metadata, model.KeyQwenTokenizer)
	}
	text := m.Metadata[model.KeyT5Tokenizer]
	if text == "" {
		return
	}
	delete(m.Metadata, model.KeyT5Tokenizer)
	if m.T5Tokenizer = []byte(text); strings.HasPrefix(text, "{") {
		return
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) == 0 {
		r.Fail("%s must be JSON or base64, got %.20q", model.KeyT5Tokenizer, text)
	}
	m.T5Tokenizer = data
}

// describeTokenizers adds them to the metadata of a file that is written.
func describeTokenizers(m *model.Model, add func(key string, value any)) {
	if len(m.Merges) > 0 {
		add(model.KeyGGUFMerges, m.Merges)
	}
	if m.QwenTokenizer != nil {
		add(model.KeyQwenTokenizer, string(m.QwenTokenizer))
	}
	if m.T5Tokenizer != nil {
		add(model.KeyT5Tokenizer, T5TokenizerText(m.T5Tokenizer))
	}
}
