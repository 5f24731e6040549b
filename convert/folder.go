package convert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxJSON bounds the JSON files of a folder, in bytes.
const maxJSON = 8 << 20

// readSmall reads a file that is no larger than maxJSON, and no device or pipe,
// which may have no end.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), trimPath(err))
	}
	if info.Size() > maxJSON || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %d bytes, a file of at most %d is wanted", filepath.Base(path), info.Size(), maxJSON)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), trimPath(err))
	}
	return text, nil
}

func readJSON(path string, to any) error {
	text, err := readSmall(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

// object is a JSON object whose names all differ: of two, Go's decoder would
// take the last one without a word, other readers the first.
type object map[string]json.RawMessage

func (o *object) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.New("a JSON object is wanted")
	}
	*o = object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if _, twice := (*o)[name]; twice {
			return fmt.Errorf("%.60q stands twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		(*o)[name] = value
	}
	return nil
}

// errNoWeights is in the error for a folder without any file of weights.
var errNoWeights = errors.New("no weights")

// readPart reads a network's tensors: from one file or from shards with an
// index, safetensors before PyTorch's checkpoints, and full precision before
// the half-precision variant before any other.
func (m *Model) readPart(p part) ([]raw, error) {
	folder := filepath.Join(m.Path, p.folder)
	variants := []string{"", ".fp16"}
	more, err := variantsIn(folder, p.base)
	if err != nil {
		return nil, err
	}
	if len(more) > 1 {
		more = nil // which one is not ours to guess
	}
	for _, ext := range []string{".safetensors", ".bin"} {
		bases := []string{p.base}
		if ext == ".bin" {
			bases = append(bases, "pytorch_model")
		}
		for _, variant := range append(variants, more...) {
			for _, base := range bases {
				all, err := m.readFile(filepath.Join(folder, base+variant+ext))
				if !errors.Is(err, os.ErrNotExist) {
					return all, err
				}
				index := base + ext + ".index" + variant + ".json"
				weightMap, err := readIndex(filepath.Join(folder, index))
				if err == nil {
					return m.readShards(folder, index, ext, weightMap)
				}
				if !errors.Is(err, os.ErrNotExist) {
					return nil, err
				}
			}
		}
	}
	return nil, fmt.Errorf("neither %s.safetensors nor a variant of it, an index of its shards or a .bin is there: %w", p.base, errNoWeights)
}

var variantName = regexp.MustCompile(`^\.([A-Za-z0-9_]+)\.safetensors$`)

// variantsIn lists the variants of a network's file, but fp16.
func variantsIn(folder, base string) (variants []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, trimPath(err)
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base)
		if match := variantName.FindStringSubmatch(rest); ok && match != nil && match[1] != "fp16" {
			variants = append(variants, "."+match[1])
		}
	}
	return variants, nil
}

// readIndex reads the file that says in which shard each tensor is.
func readIndex(path string) (map[string]string, error) {
	var index, names object
	if err := readJSON(path, &index); err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	if err := json.Unmarshal(index["weight_map"], &names); err != nil || names == nil {
		return nil, fmt.Errorf("%s: weight_map: %w", base, cmp.Or(err, errors.New("it is missing")))
	}
	shards := make(map[string]string, len(names))
	for tensor, value := range names {
		var shard string
		if err := json.Unmarshal(value, &shard); err != nil {
			return nil, fmt.Errorf("%s: weight_map: %.60q: %w", base, tensor, err)
		}
		shards[tensor] = shard
	}
	return shards, nil
}

func (m *Model) readShards(folder, index, ext string, weightMap map[string]string) ([]raw, error) {
	shards := map[string]bool{}
	for tensor, shard := range weightMap {
		if shard != filepath.Base(shard) || !strings.HasSuffix(shard, ext) || strings.ContainsAny(shard, `/\`) {
			return nil, fmt.Errorf("%s puts %q into %q; a %s file in the same folder is wanted", index, tensor, shard, ext)
		}
		shards[shard] = true
	}
	var all []raw
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		part, err := m.readFile(filepath.Join(folder, shard))
		if err != nil {
			return nil, err
		}
		for _, t := range part {
			if weightMap[t.Name] != shard {
				return nil, fmt.Errorf("%s holds %q, which %s puts elsewhere", shard, t.Name, index)
			}
		}
		all = append(all, part...)
	}
	if len(all) != len(weightMap) {
		return nil, fmt.Errorf("%s names %d tensors, its files hold %d", index, len(weightMap), len(all))
	}
	return all, nil
}

func (m *Model) readFile(path string) ([]raw, error) {
	data, err := m.mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	var all []raw
	if isCheckpoint(data) {
		all, err = readCheckpoint(data)
	} else {
		all, err = readSafetensors(data, map[string]string{})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return all, nil
}
