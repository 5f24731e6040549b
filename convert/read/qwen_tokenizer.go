package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// readQwenFolder puts Qwen's vocabulary of a folder, if it has one, where single files have it: tokenizer.json, or vocab.json
// and merges.txt with the special tokens of tokenizer_config.json or added_tokens.json.
func readQwenFolder(m *model.Model, folder string) error {
	data, err := readUpTo(filepath.Join(folder, "tokenizer.json"), maxTokenizer)
	if errors.Is(err, os.ErrNotExist) {
		data, err = qwenFiles(folder)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if err == nil {
		setMetadata(m, model.KeyQwenTokenizer, string(data))
	}
	return err
}

// qwenFiles makes a tokenizer.json of the files that transformers' Qwen2Tokenizer had before version 5.
func qwenFiles(folder string) ([]byte, error) {
	vocabulary, err := readUpTo(filepath.Join(folder, "vocab.json"), maxTokenizer)
	if err != nil {
		return nil, err
	}
	merges, err := readUpTo(filepath.Join(folder, "merges.txt"), maxTokenizer)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("vocab.json must have merges.txt beside it")
	}
	if err != nil {
		return nil, err
	}
	added, err := qwenSpecials(folder)
	if err != nil {
		return nil, err
	}
	list := []string{}
	for line := range strings.Lines(string(merges)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			list = append(list, line)
		}
	}
	if !json.Valid(vocabulary) {
		return nil, errors.New("vocab.json must be JSON")
	}
	type object = map[string]any
	return json.Marshal(object{
		"added_tokens": added, "normalizer": object{"type": "NFC"},
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []object{
			{"type": "Split", "pattern": object{"Regex": qwenWords}, "behavior": "Isolated", "invert": false},
			{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}}},
		"model": object{"type": "BPE", "vocab": json.RawMessage(vocabulary), "merges": list},
	})
}

// qwenWords is how Qwen2Tokenizer cuts texts into words.
const qwenWords = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// qwenToken is a special token, as tokenizer.json has it.
type qwenToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// qwenSpecials are the special tokens of a folder.
func qwenSpecials(folder string) (all []qwenToken, err error) {
	var file struct {
		Added map[string]qwenToken `json:"added_tokens_decoder"`
	}
	if err := readJSON(filepath.Join(folder, "tokenizer_config.json"), &file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for number, t := range file.Added {
		id, err := strconv.ParseInt(number, 10, 32)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder must have ids for names, got %.40q", number)
		}
		t.ID = int32(id)
		all = append(all, t)
	}
	if all != nil {
		return all, nil
	}
	ids := map[string]int32{}
	if err := readJSON(filepath.Join(folder, "added_tokens.json"), &ids); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for content, id := range ids {
		all = append(all, qwenToken{ID: id, Content: content})
	}
	if all == nil {
		return nil, errors.New("vocab.json must have the special tokens beside it, in tokenizer_config.json or added_tokens.json")
	}
	return all, nil
}
