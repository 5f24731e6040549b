package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// readMerges reads the merge table in a diffusers model's folder of its
// tokenizer: merges.txt, or, as the transformers library saves it since version
// 5, a part of tokenizer.json. A folder without either brings no tokenizer along.
func (m *Model) readMerges(folder string) error {
	text, err := readSmall(filepath.Join(folder, "merges.txt"))
	if err == nil {
		m.Metadata[keyMerges] = string(text)
		return nil
	}
	var t tokenizerJSON
	if errors.Is(err, os.ErrNotExist) {
		err = readJSON(filepath.Join(folder, "tokenizer.json"), &t)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	list, err := t.merges()
	if err != nil {
		return fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	m.Metadata[keyMerges] = list
	return nil
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
		return "", fmt.Errorf("a model of type %.40q, BPE wanted", t.Model.Type)
	}
	var b strings.Builder
	for i, raw := range t.Model.Merges {
		var line string
		var pair [2]string
		if json.Unmarshal(raw, &line) != nil {
			var list []string
			if err := json.Unmarshal(raw, &list); err != nil || len(list) != len(pair) {
				return "", fmt.Errorf("merge %d: two tokens wanted", i)
			}
			line = list[0] + " " + list[1]
		}
		if strings.Count(line, " ") != 1 || strings.ContainsAny(line, "\r\n") {
			return "", fmt.Errorf("merge %d: %.40q, two tokens wanted", i, line)
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}
