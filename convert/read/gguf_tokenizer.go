package read

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
)

// Types of a vocabulary's pieces in llama.cpp's files.
const (
	ggmlUnknown = 2
	ggmlControl = 3
)

// ggufT5 puts T5's vocabulary of a GGUF file, as llama.cpp writes it, where other files have it: a tokenizer.json of the
// tokenizers library, which does what T5's does.
func ggufT5(file *gguf.File, metadata map[string]string) error {
	if kind, _ := file.Get("tokenizer.ggml.model").(string); kind != "t5" || metadata[model.KeyT5Tokenizer] != "" {
		return nil
	}
	tokens, ok := file.Get("tokenizer.ggml.tokens").([]string)
	scores, ok2 := file.Get("tokenizer.ggml.scores").([]float32)
	if !ok || !ok2 || len(tokens) != len(scores) {
		return fmt.Errorf("the vocabulary of T5 must have a score for each token (tokenizer.ggml.tokens, tokenizer.ggml.scores), got %d and %d", len(tokens), len(scores))
	}
	types, _ := file.Get("tokenizer.ggml.token_type").([]int32)
	type object = map[string]any
	pieces, added, unknown := make([]any, len(tokens)), []object{}, 2
	for i, text := range tokens {
		pieces[i] = []any{text, scores[i]}
		if len(types) != len(tokens) {
			continue
		}
		switch types[i] {
		case ggmlUnknown:
			unknown = i
		case ggmlControl:
			added = append(added, object{"id": i, "content": text})
		}
	}
	var normalizer any
	if table := bytesOf(file.Get("tokenizer.ggml.precompiled_charsmap")); len(table) > 0 {
		normalizer = object{"type": "Precompiled", "precompiled_charsmap": base64.StdEncoding.EncodeToString(table)}
	}
	text, err := json.Marshal(object{
		"added_tokens": added, "normalizer": normalizer,
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []object{{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}}},
		"model":         object{"type": "Unigram", "unk_id": unknown, "vocab": pieces},
	})
	if err != nil {
		return fmt.Errorf("the vocabulary of T5: %w", err) // a score that is no number
	}
	metadata[model.KeyT5Tokenizer] = string(text)
	return nil
}

// bytesOf are the bytes of a list, which files have with and without signs.
func bytesOf(list any) (out []byte) {
	switch all := list.(type) {
	case []uint8:
		return all
	case []int8:
		for _, v := range all {
			out = append(out, byte(v))
		}
	}
	return out
}
