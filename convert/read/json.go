package read

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/convert/model"
)

// maxJSON bounds the JSON files of a folder, in bytes, and maxTokenizer those of a vocabulary: Qwen's has 11 million.
const (
	maxJSON      = 8 << 20
	maxTokenizer = 64 << 20
)

// readSmall reads a file that is no larger than maxJSON, and no device or pipe,
// which may have no end.
func readSmall(path string) ([]byte, error) { return readUpTo(path, maxJSON) }

func readUpTo(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), model.WithoutPath(err))
	}
	if info.Size() > most || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s must be a regular file of at most %d bytes, got %d", filepath.Base(path), most, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), model.WithoutPath(err))
	}
	return text, nil
}

func readJSON(path string, to any) error {
	text, err := readSmall(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plainJSON(text), to); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), explainedText(path, text, err))
	}
	return nil
}

// plainJSON is JSON without what Python's library writes beyond the standard: the
// numbers NaN, Infinity and -Infinity become texts.
func plainJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	inText := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\' && i+1 < len(text):
			out = append(out, c)
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == 'N' || c == 'I' || c == '-'):
			if word := pythonNumber(text[i:]); word != "" {
				out = append(out, '"')
				out = append(out, word...)
				out = append(out, '"')
				i += len(word) - 1
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}

func pythonNumber(text []byte) string {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if len(text) >= len(word) && string(text[:len(word)]) == word {
			return word
		}
	}
	return ""
}
