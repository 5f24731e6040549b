package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

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
	return m.readMerges(filepath.Join(m.Path, "tokenizer"))
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
