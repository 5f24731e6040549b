package read

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/convert/model"
)

// maxJSON bounds the JSON files of a folder, in bytes.
const maxJSON = 8 << 20

// readSmall reads a file that is no larger than maxJSON, and no device or pipe,
// which may have no end.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), model.WithoutPath(err))
	}
	if info.Size() > maxJSON || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s must be a regular file of at most %d bytes, got %d", filepath.Base(path), maxJSON, info.Size())
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
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), explainedText(path, text, err))
	}
	return nil
}

// object is a JSON object whose names all differ: of two, Go's decoder would
// take the last one without a word, other readers the first.
type object map[string]json.RawMessage

func (o *object) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.New("a JSON object is expected")
	}
	*o = object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if _, twice := (*o)[name]; twice {
			return fmt.Errorf("%.60q is there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		(*o)[name] = value
	}
	return nil
}
