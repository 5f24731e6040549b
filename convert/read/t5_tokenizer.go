package read

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// readT5Folder puts T5's vocabulary of a folder, if it has one, where single files have it.
func readT5Folder(m *model.Model, folder string) error {
	for _, name := range []string{"tokenizer.json", "spiece.model"} {
		switch err := readT5Tokenizer(m, filepath.Join(folder, name)); {
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	return nil
}

// readT5Tokenizer is the same of a file.
func readT5Tokenizer(m *model.Model, path string) error {
	data, err := readUpTo(path, maxTokenizer)
	if err == nil {
		setMetadata(m, model.KeyT5Tokenizer, family.T5TokenizerText(data))
	}
	return err
}
