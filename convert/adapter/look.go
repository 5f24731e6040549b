package adapter

import (
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
)

// Summary is what a file of changes is.
type Summary struct {
	Info
	Alias    string            // the name that the trainer gave it (ss_output_name), or ""
	Metadata map[string]string // what the file says about itself
	Words    []string          // of the embeddings that are bundled with it
}

// Look tells what a file of changes is by the names and shapes of its tensors. Their
// numbers are not read, so that a folder of files is known soon; [Open] may still refuse
// the file for them.
func Look(path string) (s Summary, err error) {
	defer model.Recovered(path, &err)
	holder, all, err := read.Stored(path)
	if err != nil {
		return s, err
	}
	defer holder.Close()
	f := &File{Path: path, Name: nameOf(path), Metadata: holder.Metadata, holder: holder, unread: true}
	if err := f.read(all); err != nil {
		return s, err
	}
	s = Summary{Info: f.Info(), Alias: holder.Metadata[keyAlias], Metadata: holder.Metadata}
	for _, e := range f.Embeddings {
		s.Words = append(s.Words, e.Name)
	}
	return s, holder.Intact()
}
