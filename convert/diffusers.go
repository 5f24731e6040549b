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
	"strconv"
	"strings"
)

// maxJSON bounds the configuration files of a diffusers folder, in bytes.
const maxJSON = 8 << 20

// settings is what a folder's configuration files say beyond the shapes.
type settings struct {
	text, text2 struct {
		Heads      int     `json:"num_attention_heads"`
		Activation string  `json:"hidden_act"`
		Eps        float64 `json:"layer_norm_eps"`
	}
	unet struct {
		HeadDim    headCounts `json:"attention_head_dim"` // in fact the number of heads
		Heads      headCounts `json:"num_attention_heads"`
		SampleSize int        `json:"sample_size"`
	}
	vae struct {
		ScaleFactor float64 `json:"scaling_factor"`
	}
	scheduler struct {
		Prediction string `json:"prediction_type"`
	}
}

// headCounts is a number for all levels of a UNet or one for each.
type headCounts struct {
	one  float64
	each []float64
}

func (h *headCounts) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, &h.each)
	}
	return json.Unmarshal(text, &h.one)
}

// part is one network's place in a diffusers folder. names gives a function
// that renames its tensors, which may depend on what they all are.
type part struct {
	folder, base string
	names        func(all []raw) func(string) (string, bool)
}

const (
	textBase = "model"
	netBase  = "diffusion_pytorch_model"
)

// partsOf are the networks of a family that is read down to its configuration.
func partsOf(arch string) []part {
	nets := []part{{"unet", netBase, unetNames}, {"vae", netBase, vaeNames}}
	switch arch {
	case SDXL:
		return append(nets, part{"text_encoder", textBase, textNames(text1Prefix)}, part{"text_encoder_2", textBase, textNames(text2Prefix)})
	case SDXLRefiner:
		return append(nets, part{"text_encoder_2", textBase, textNames(text1Prefix)})
	}
	return append(nets, part{"text_encoder", textBase, textNames(TextPrefix)})
}

func (m *Model) openDiffusers() error {
	m.Format = "diffusers"
	var index object
	err := readJSON(filepath.Join(m.Path, "model_index.json"), &index)
	if errors.Is(err, os.ErrNotExist) {
		if all, e := m.readPart(part{base: netBase}); !errors.Is(e, errNoWeights) {
			return cmp.Or(e, m.take(all))
		}
		if all, e := m.readPart(part{base: textBase}); !errors.Is(e, errNoWeights) {
			return cmp.Or(e, m.take(all))
		}
	}
	if err != nil {
		return fmt.Errorf("a folder that is no diffusers model: %w", err)
	}
	has := func(name string) bool { // the library writes [null, null] for what is left out
		var classes []json.RawMessage
		err := json.Unmarshal(index[name], &classes)
		return err == nil && classes != nil && (len(classes) == 0 || string(classes[0]) != "null")
	}
	m.Arch, m.What = SD1, "Stable Diffusion"
	switch {
	case has("transformer"):
		return m.openTransformer(has)
	case !has("unet"):
		return fmt.Errorf("model_index.json names neither a unet nor a transformer: %w", ErrUnrecognized)
	case has("text_encoder") && has("text_encoder_2"):
		m.Arch, m.What = SDXL, "Stable Diffusion XL"
	case has("text_encoder_2"):
		m.Arch, m.What = SDXLRefiner, "Stable Diffusion XL's refiner"
	case !has("text_encoder"):
		return m.openWithoutText(has)
	}
	for _, p := range partsOf(m.Arch) {
		all, err := m.readPart(p)
		if err == nil {
			err = m.adopt(all, p.names(all))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.folder, err)
		}
	}
	return m.readConfigs()
}

// openTransformer opens what has a transformer in place of a UNet: FLUX, SD3,
// DiT. Its tensors get the original layout's names, behind a prefix for each
// part.
func (m *Model) openTransformer(has func(string) bool) error {
	err := m.openPart("transformer", netBase, func(k kind) string { m.Arch, m.What = k.arch, k.what; return UNetPrefix })
	for _, folder := range []string{"text_encoder", "text_encoder_2", "text_encoder_3"} {
		if err == nil && has(folder) {
			err = m.openPart(folder, textBase, func(k kind) string {
				switch {
				case k.arch == T5:
					return t5Prefix
				case folder == "text_encoder":
					return clipLPrefix
				}
				return clipGPrefix
			})
		}
	}
	if err == nil && has("vae") {
		err = m.openPart("vae", netBase, func(kind) string { return VAEPrefix })
	}
	if err == nil {
		m.learn()
	}
	return err
}

// openWithoutText opens what draws from classes or from nothing: a UNet, and an
// autoencoder where it works on latents.
func (m *Model) openWithoutText(has func(string) bool) error {
	prefix := ""
	autoencoder := "vae"
	if has("vqvae") {
		autoencoder = "vqvae"
	}
	if has(autoencoder) {
		prefix = UNetPrefix
	}
	err := m.openPart("unet", netBase, func(k kind) string { m.Arch, m.What = k.arch, k.what; return prefix })
	if err == nil && has(autoencoder) {
		err = m.openPart(autoencoder, netBase, func(kind) string { return VAEPrefix })
	}
	if err == nil {
		m.learn()
	}
	return err
}

// openPart takes in a network whose tensors get original names behind a prefix.
func (m *Model) openPart(folder, base string, prefix func(kind) string) error {
	all, err := m.readPart(part{folder: folder, base: base})
	var k kind
	if err == nil {
		k, err = recognise(all)
	}
	if err == nil {
		all, err = scaled(all)
	}
	if err == nil {
		front := prefix(k)
		if all, err = toOriginal(k.arch, all); err == nil {
			err = m.adopt(all, func(name string) (string, bool) { return front + name, true })
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	return nil
}

// readConfigs puts what the configuration files say where metadata of single
// files would say it.
func (m *Model) readConfigs() error {
	var s settings
	for _, f := range []struct {
		path string
		to   any
	}{
		{"text_encoder/config.json", &s.text}, {"text_encoder_2/config.json", &s.text2}, {"unet/config.json", &s.unet}, {"vae/config.json", &s.vae},
		{"scheduler/scheduler_config.json", &s.scheduler},
	} {
		if err := readJSON(filepath.Join(m.Path, filepath.FromSlash(f.path)), f.to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	m.Metadata = map[string]string{}
	say := func(key string, set bool, value any) {
		if set {
			m.Metadata[key] = fmt.Sprint(value)
		}
	}
	if m.Arch == SDXLRefiner { // whose only one is the base model's second
		s.text = s.text2
	}
	say(keyText2Heads, s.text2.Heads > 0, s.text2.Heads)
	say(keyTextHeads, s.text.Heads > 0, s.text.Heads)
	say(keyTextActivation, s.text.Activation != "", s.text.Activation)
	say(keyTextEps, s.text.Eps > 0, s.text.Eps)
	say(keyScaleFactor, s.vae.ScaleFactor != 0, s.vae.ScaleFactor)
	say(keyPrediction, s.scheduler.Prediction != "", strings.TrimSuffix(s.scheduler.Prediction, "_prediction"))
	say(keySampleSize, s.unet.SampleSize > 0, s.unet.SampleSize)
	heads := s.unet.Heads
	if heads.one == 0 && heads.each == nil {
		heads = s.unet.HeadDim
	}
	say(keyUNetHeads, heads.one != 0, heads.one)
	say(keyUNetHeadList, heads.each != nil, strings.Trim(fmt.Sprint(heads.each), "[]"))
	merges, err := os.ReadFile(filepath.Join(m.Path, "tokenizer", "merges.txt"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(merges) > maxJSON:
		return fmt.Errorf("tokenizer/merges.txt: %d bytes, at most %d are read", len(merges), maxJSON)
	}
	m.Metadata[keyMerges] = string(merges)
	return nil
}

func readJSON(path string, to any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), trimPath(err))
	}
	if info.Size() > maxJSON || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %d bytes, a file of at most %d is wanted", filepath.Base(path), info.Size(), maxJSON)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), trimPath(err))
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
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), trimPath(err))
	}
	m.mapped(path, data, unmap)
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

// mergeList reads a merge table: a pair a line, after an optional heading.
func mergeList(text string) []string {
	var merges []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			merges = append(merges, line)
		}
	}
	return merges
}

// intList reads whole numbers that spaces separate.
func intList(text string) ([]int, error) {
	var list []int
	for _, field := range strings.Fields(text) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}
