package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// readFolder reads a folder in the diffusers library's layout: a whole model with
// a model_index.json, or one network.
func readFolder(m *model.Model, c Components) error {
	m.Format = "diffusers"
	var index family.Object
	err := readJSON(filepath.Join(m.Path, "model_index.json"), &index)
	if errors.Is(err, os.ErrNotExist) {
		for _, base := range []string{family.NetFile, family.TextFile} {
			if all, e := readNetwork(m, "", base); !errors.Is(e, errNoWeights) {
				if e == nil {
					e = addNetwork(m, all)
				}
				if e == nil {
					e = describeNetwork(m)
				}
				return e
			}
		}
	}
	if err != nil {
		others := ""
		if errors.Is(err, os.ErrNotExist) {
			others = othersIn(m.Path)
		}
		return fmt.Errorf("a folder that is no diffusers model: %w%s", err, others)
	}
	has := func(name string) bool { // the library writes [null, null] for what is left out
		var classes []json.RawMessage
		err := json.Unmarshal(index[name], &classes)
		return err == nil && classes != nil && (len(classes) == 0 || string(classes[0]) != "null")
	}
	if f := family.InFolder(has); f != nil {
		err = readKnownFolder(m, f, c)
	} else {
		err = readOtherFolder(m, has, c)
	}
	if err == nil {
		err = readSettings(m, family.Lookup(m.Family), false)
	}
	if err == nil {
		family.Describe(m)
	}
	return err
}

// addNetwork adds the tensors of a folder with one network, whose configuration may be
// beside it.
func addNetwork(m *model.Model, all []model.Stored) error {
	if f, err := family.Recognise(all); err == nil {
		if err := readSettings(m, f.Family, true); err != nil {
			return err
		}
	}
	return addFile(m, all)
}

// describeNetwork reads the configuration file of a folder's one network. What it says
// that is not supported is an error only where the network is used.
func describeNetwork(m *model.Model) error {
	said, warnings, err := networkConfig(m.Path)
	var wrong *family.ConfigError
	if errors.As(err, &wrong) {
		warnings, err = append(warnings, wrong.Error()), nil
	}
	for key, value := range said {
		setMetadata(m, key, value)
	}
	m.Warnings = append(m.Warnings, warnings...)
	return err
}

// networkConfig reads the configuration file beside the one network of a folder, if
// there is one.
func networkConfig(folder string) (said map[string]string, warnings []string, err error) {
	var fields family.Object
	switch err := readJSON(filepath.Join(folder, "config.json"), &fields); {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return family.ConfigOf(fields)
}

// readKnownFolder reads a model of a family that its components tell.
func readKnownFolder(m *model.Model, f *family.Family, c Components) error {
	m.Family, m.Description = f.Name, f.Looks[0].Description
	for _, n := range f.Folder.Parts {
		all, err := readNetwork(m, n.Folder, n.Base)
		if errors.Is(err, errNoWeights) {
			file, flag := c.inPlaceOf(n.Folder)
			if file != "" {
				continue
			}
			err = fmt.Errorf("%w; %s FILE adds them while drawing, convert %s FILE for good", err, flag, flag)
		}
		if err == nil {
			err = add(m, f, all, n.Names(all))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", n.Folder, err)
		}
	}
	return nil
}

// inPlaceOf is the component for a network's folder, and the program's flag for it.
func (c Components) inPlaceOf(folder string) (file, flag string) {
	switch folder {
	case "unet":
		return c.UNet, "--unet"
	case "vae":
		return c.VAE, "--vae"
	case "text_encoder_2":
		return c.CLIPG, "--clip-g"
	}
	return c.CLIPL, "--clip-l"
}

// readOtherFolder reads a model of which the denoiser tells the family: FLUX.1, SD
// 3, DiT, and UNets without text. Its tensors get the original layout's names,
// with a prefix for each network, unless it is nothing but a UNet.
func readOtherFolder(m *model.Model, has func(string) bool, c Components) error {
	autoencoder := "vae"
	if has("vqvae") {
		autoencoder = "vqvae"
	}
	denoiser, prefix := "transformer", model.UNetPrefix
	if !has(denoiser) {
		if denoiser = "unet"; !has(denoiser) {
			return fmt.Errorf("model_index.json names neither a unet nor a transformer: %w", model.ErrUnrecognized)
		}
		if !has(autoencoder) {
			prefix = ""
		}
	}
	f, err := readInto(m, denoiser, family.NetFile, func(family.Recognised, []model.Stored) string { return prefix })
	if err != nil {
		return err
	}
	m.Family, m.Description = f.Name, f.Description
	for i, folder := range []string{"text_encoder", "text_encoder_2", "text_encoder_3"} {
		if has(folder) {
			_, err := readInto(m, folder, family.TextFile, func(f family.Recognised, all []model.Stored) string {
				if f.TextPrefix != nil {
					return f.TextPrefix(all)
				}
				return []string{model.CLIPLPrefix, model.CLIPGPrefix, model.CLIPGPrefix}[i]
			})
			if err != nil && !(errors.Is(err, errNoWeights) && c.replaceText()) {
				return err
			}
		}
	}
	if has(autoencoder) {
		_, err := readInto(m, autoencoder, family.NetFile, func(family.Recognised, []model.Stored) string { return model.VAEPrefix })
		if err != nil && !(errors.Is(err, errNoWeights) && c.VAE != "") {
			return err
		}
	}
	return nil
}

// replaceText reports whether there is a component for the text encoder of a folder.
func (c Components) replaceText() bool {
	return c.CLIPL != "" || c.CLIPG != "" || c.T5 != "" || c.LLM != ""
}

// readInto adds a network whose tensors get original names with a prefix.
func readInto(m *model.Model, folder, base string, prefix func(family.Recognised, []model.Stored) string) (f family.Recognised, err error) {
	all, err := readNetwork(m, folder, base)
	if err == nil {
		f, err = family.Recognise(all)
	}
	if err == nil {
		all, err = scaled(f.Family, all)
	}
	if err == nil {
		says(m, f.Family, all)
		all, err = f.Original(all)
	}
	if err == nil {
		front, rename := prefix(f, all), layout.OwnName
		if f.Role == family.LLMText {
			rename = f.PartName(all)
		}
		err = add(m, f.Family, all, func(name string) (string, bool) {
			if name, _ = rename(name); name != "" {
				name = front + name
			}
			return name, true
		})
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", folder, err)
	}
	return f, nil
}

// readSettings puts what the configuration files say where the metadata of single
// files says it. Those of a network that is alone are not in a folder of their own.
func readSettings(m *model.Model, f *family.Family, alone bool) error {
	if f.Settings != nil {
		said, warnings, err := f.Settings(func(path string, to any) error {
			if alone {
				folder, file, _ := strings.Cut(path, "/")
				if folder != "unet" && folder != "transformer" {
					return nil
				}
				path = file
			}
			err := readJSON(filepath.Join(m.Path, filepath.FromSlash(path)), to)
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		for key, value := range said {
			setMetadata(m, key, value)
		}
		m.Warnings = append(m.Warnings, warnings...)
	}
	if f.Tokenizer != "" {
		merges, err := readMerges(filepath.Join(m.Path, f.Tokenizer))
		if err != nil {
			return err
		}
		if merges != "" {
			setMetadata(m, model.KeyMerges, merges)
		}
	}
	if f.QwenTokenizer != "" && !alone {
		if err := readQwenFolder(m, filepath.Join(m.Path, f.QwenTokenizer)); err != nil {
			return fmt.Errorf("%s: %w", f.QwenTokenizer, err)
		}
	}
	if f.T5Tokenizer != "" && !alone {
		return readT5Folder(m, filepath.Join(m.Path, f.T5Tokenizer))
	}
	return nil
}

func setMetadata(m *model.Model, key, value string) {
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	m.Metadata[key] = value
}
