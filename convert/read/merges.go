package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// readMerges reads the byte-pair merges in the folder of a diffusers model's
// tokenizer, one a line: from merges.txt or, as the transformers library has
// saved them since version 5, from tokenizer.json. "" where there is neither.
func readMerges(folder string) (string, error) {
	text, err := readSmall(filepath.Join(folder, "merges.txt"))
	if err == nil {
		return string(text), nil
	}
	var t tokenizerJSON
	if errors.Is(err, os.ErrNotExist) {
		err = readJSON(filepath.Join(folder, "tokenizer.json"), &t)
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("tokenizer: %w", err)
	}
	list, err := t.merges()
	if err != nil {
		return "", fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	return list, nil
}

// tokenizerJSON is what is read of a file of the tokenizers library.
type tokenizerJSON struct {
	Model struct {
		Type   string            `json:"type"`
		Merges []json.RawMessage `json:"merges"` // "a b" or ["a", "b"]
	} `json:"model"`
}

// merges is the table in lines, as merges.txt has it.
func (t tokenizerJSON) merges() (string, error) {
	if t.Model.Type != "BPE" {
		return "", fmt.Errorf("the model's type must be BPE, got %.40q", t.Model.Type)
	}
	var b strings.Builder
	for i, raw := range t.Model.Merges {
		var line string
		var pair [2]string
		if json.Unmarshal(raw, &line) != nil {
			var list []string
			if err := json.Unmarshal(raw, &list); err != nil || len(list) != len(pair) {
				return "", fmt.Errorf("merge %d must be two tokens", i)
			}
			line = list[0] + " " + list[1]
		}
		if strings.Count(line, " ") != 1 || strings.ContainsAny(line, "\r\n") {
			return "", fmt.Errorf("merge %d must be two tokens, got %.40q", i, line)
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}
