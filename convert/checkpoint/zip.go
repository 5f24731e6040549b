package checkpoint

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// parseZip reads an archive as torch writes it: NAME/data.pkl and NAME/data/KEY
// for each storage, nothing compressed. No other entry is looked at, and
// nothing is unpacked.
func parseZip(data []byte) ([]Tensor, error) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fmt.Errorf("the archive is damaged: %w", err)
	}
	entries, err := entriesOf(archive, data)
	if err != nil {
		return nil, err
	}
	var folder string
	for name := range entries {
		if f, ok := strings.CutSuffix(name, "data.pkl"); ok && strings.Count(name, "/") <= 1 {
			if folder != "" && folder != f {
				return nil, errors.New("an archive with more than one data.pkl")
			}
			folder = f
		}
	}
	pickle, ok := entries[folder+"data.pkl"]
	if !ok {
		return nil, errors.New("an archive without data.pkl, which torch.save writes")
	}
	if order, ok := entries[folder+"byteorder"]; ok && string(order) != "little" {
		return nil, fmt.Errorf("the byte order must be %q, got %.10q", "little", order)
	}
	m := newMachine(pickle, len(data))
	object, err := m.run()
	if err != nil {
		return nil, err
	}
	for key, s := range m.storages {
		elements, ok := entries[folder+"data/"+key]
		if !ok {
			return nil, fmt.Errorf("the archive has no entry %q", cut(folder+"data/"+key))
		}
		if s.count > int64(len(elements))/s.size {
			return nil, fmt.Errorf("storage %q must have %d elements of %s, got %d bytes", cut(key), s.count, s.dtype, len(elements))
		}
		s.data = elements[: s.count*s.size : s.count*s.size]
	}
	return collect(object, len(data))
}

// entriesOf returns the bytes of all entries that are stored, by name. They
// must not overlap: an archive that gives one run of bytes many names would
// unfold to many times its size.
func entriesOf(archive *zip.Reader, data []byte) (map[string][]byte, error) {
	type span struct{ begin, end int64 }
	var spans []span
	entries := make(map[string][]byte, len(archive.File))
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if _, twice := entries[f.Name]; twice {
			return nil, fmt.Errorf("the archive has %q twice", cut(f.Name))
		}
		begin, err := f.DataOffset()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("entry %q of the archive: %w", cut(f.Name), err)
		}
		size := f.UncompressedSize64
		if f.Method != zip.Store || f.CompressedSize64 != size {
			return nil, fmt.Errorf("entry %q of the archive is compressed, which torch.save never does", cut(f.Name))
		}
		if begin > int64(len(data)) || size > uint64(int64(len(data))-begin) {
			return nil, fmt.Errorf("entry %q of the archive goes beyond the end: %w", cut(f.Name), ErrCutOff)
		}
		end := begin + int64(size)
		spans = append(spans, span{begin, end})
		entries[f.Name] = data[begin:end:end]
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	for i := 1; i < len(spans); i++ {
		if spans[i].begin < spans[i-1].end {
			return nil, errors.New("entries of the archive overlap")
		}
	}
	return entries, nil
}
