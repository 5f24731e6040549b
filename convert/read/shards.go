package read

import (
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

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// errNoWeights is in the error for a folder that has no file of weights.
var errNoWeights = errors.New("no weights")

// readNetwork reads a network's tensors: from one file, or from shards with an
// index. safetensors files come before PyTorch's checkpoints, full precision
// before the half-precision variant, and that before any other.
func readNetwork(m *model.Model, folder, base string) ([]model.Stored, error) {
	folder = filepath.Join(m.Path, folder)
	variants := []string{"", ".fp16"}
	more, err := variantsIn(folder, base)
	if err != nil {
		return nil, err
	}
	if len(more) > 1 {
		more = nil // which one is meant can't be guessed
	}
	for _, ext := range []string{".safetensors", ".bin"} {
		bases := []string{base}
		if ext == ".bin" {
			bases = append(bases, "pytorch_model")
		}
		for _, variant := range append(variants, more...) {
			for _, base := range bases {
				all, err := readFile(m, filepath.Join(folder, base+variant+ext))
				if !errors.Is(err, os.ErrNotExist) {
					return all, err
				}
				index := base + ext + ".index" + variant + ".json"
				weightMap, err := readIndex(filepath.Join(folder, index))
				if err == nil {
					return readShards(m, folder, index, ext, weightMap)
				}
				if !errors.Is(err, os.ErrNotExist) {
					return nil, err
				}
			}
		}
	}
	return nil, fmt.Errorf("neither %s.safetensors nor a variant of it, an index of its shards or a .bin is there%s: %w", base, othersIn(folder), errNoWeights)
}

var variantName = regexp.MustCompile(`^\.([A-Za-z0-9_]+)\.safetensors$`)

// variantsIn lists the variants of a network's file other than fp16.
func variantsIn(folder, base string) (variants []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, model.WithoutPath(err)
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base)
		if match := variantName.FindStringSubmatch(rest); ok && match != nil && match[1] != "fp16" {
			variants = append(variants, "."+match[1])
		}
	}
	return variants, nil
}

// readIndex reads the file that says which shard holds each tensor.
func readIndex(path string) (map[string]string, error) {
	var index, names family.Object
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

// readShards reads the files that an index names, all in its own folder.
func readShards(m *model.Model, folder, index, ext string, weightMap map[string]string) ([]model.Stored, error) {
	shards := map[string]bool{}
	for tensor, shard := range weightMap {
		if shard != filepath.Base(shard) || !strings.HasSuffix(shard, ext) || strings.ContainsAny(shard, `/\`) {
			return nil, fmt.Errorf("%s puts %q into %q; it must be a %s file in the same folder", index, tensor, shard, ext)
		}
		shards[shard] = true
	}
	if missing := absent(folder, shards); len(missing) > 0 {
		return nil, fmt.Errorf("%s: the folder lacks %d of its %d files, such as %.80q: the download did not finish; download the rest, too", index, len(missing), len(shards), missing[0])
	}
	var all []model.Stored
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		part, err := readFile(m, filepath.Join(folder, shard))
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

// absent are the shards that are not in the folder.
func absent(folder string, shards map[string]bool) (missing []string) {
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		if _, err := os.Stat(filepath.Join(folder, shard)); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, shard)
		}
	}
	return missing
}

func readFile(m *model.Model, path string) ([]model.Stored, error) {
	err := unfinished(path)
	var data []byte
	if err == nil {
		data, err = mapFile(m, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	var all []model.Stored
	if isCheckpoint(data) {
		all, err = readCheckpoint(m, data, map[string]string{})
	} else {
		all, err = readSafetensors(data, map[string]string{})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), explained(path, data, err))
	}
	return all, nil
}
