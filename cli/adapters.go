package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/convert"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// adapterFlags name folders whose files prompts and requests can use by their names.
func adapterFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "lora-dir", Usage: "`FOLDER` whose LoRAs, also in folders below, prompts use by name, as in <lora:name:0.8>"},
		&urfave.StringFlag{Name: "control-dir", Usage: "`FOLDER` whose ControlNets --control and jobs use by name"},
		&urfave.StringFlag{Name: "clip-vision", Usage: "`FILE` the image encoder of CLIP by which --control IP-Adapters see pictures"},
		&urfave.StringFlag{Name: "embedding-dir", Usage: "`FOLDER` whose textual inversions prompts use by name, as words"},
	}
}

// adapterFolders are what the files of such folders are called.
type adapterFolders struct {
	loras, embeddings, controls map[string][]string // name in lower case → paths
	aliases                     map[string][]string // of LoRAs; nil until they are needed

	opened map[string]*sd.Adapter   // by path
	words  map[string]*sd.Embedding // by path
}

// Endings of files of adapters and of textual inversions.
var (
	adapterEndings   = []string{".safetensors", ".pt", ".ckpt", ".bin"}
	embeddingEndings = []string{".safetensors", ".pt", ".bin"}
	controlEndings   = []string{".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".gguf"}
)

// maxInFolder bounds the files of a folder.
const maxInFolder = 100_000

// readFolders lists the folders that flags name.
func readFolders(f *flags) (a adapterFolders, err error) {
	a.opened, a.words = map[string]*sd.Adapter{}, map[string]*sd.Embedding{}
	if a.loras, err = namesIn(f, "lora-dir", adapterEndings); err == nil {
		a.embeddings, err = namesIn(f, "embedding-dir", embeddingEndings)
	}
	if err == nil {
		a.controls, err = namesIn(f, "control-dir", controlEndings)
	}
	return a, err
}

func namesIn(f *flags, flag string, endings []string) (map[string][]string, error) {
	if f.string(flag) == "" {
		return nil, nil
	}
	all, n := map[string][]string{}, 0
	err := filepath.WalkDir(f.string(flag), func(path string, d fs.DirEntry, err error) error {
		ending := filepath.Ext(path)
		if err != nil || d.IsDir() || !slices.Contains(endings, strings.ToLower(ending)) {
			return err
		}
		if n++; n > maxInFolder {
			return fmt.Errorf("it has more than %d files", maxInFolder)
		}
		name := strings.ToLower(strings.TrimSuffix(filepath.Base(path), ending))
		all[name] = append(all[name], path)
		return nil
	})
	if err != nil {
		return nil, f.problem(flag, "%v", err)
	}
	return all, nil
}

// find is the file that a name means: one of that name, or one that its trainer called
// so; "" if there is none.
func (a *adapterFolders) find(name string) (string, error) {
	lower := strings.ToLower(name)
	paths := a.loras[lower]
	if exact := slices.IndexFunc(paths, func(p string) bool {
		return strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)) == name
	}); len(paths) > 1 && exact >= 0 {
		same := slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
			return strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)) != name
		})
		if len(same) == 1 {
			paths = same
		}
	}
	if len(paths) == 0 {
		if a.aliases == nil {
			a.aliases = map[string][]string{}
			for _, all := range a.loras {
				for _, path := range all {
					if alias := sd.AdapterAlias(path); alias != "" {
						a.aliases[strings.ToLower(alias)] = append(a.aliases[strings.ToLower(alias)], path)
					}
				}
			}
		}
		paths = a.aliases[lower]
	}
	switch len(paths) {
	case 0:
		return "", nil
	case 1:
		return paths[0], nil
	}
	slices.Sort(paths)
	return "", fmt.Errorf("%.80q may be %s or %s", name, paths[0], paths[1])
}

// attachExtras opens the adapters and textual inversions that a request names, once.
func (n *networks) attachExtras(ctx context.Context, q *sd.Request, flag string) error {
	q.Adapters = slices.Clone(q.Adapters)
	for i, a := range q.Adapters {
		if !isFileName(a.Name) {
			if err := n.attachNamed(ctx, a.Name); err != nil {
				return fmt.Errorf("%s %w", flag, err)
			}
			continue
		}
		opened, err := n.adapter(ctx, a.Name)
		if err != nil {
			return fmt.Errorf("%s %w", flag, err)
		}
		q.Adapters[i].Name = opened.Name()
	}
	for _, name := range sd.AdapterNames(q.Prompt) {
		if err := n.attachNamed(ctx, name); err != nil {
			return fmt.Errorf("the prompt's adapter %w", err)
		}
	}
	text := q.Prompt + "\n" + q.NegativePrompt
	if t := q.Interpolate; t != nil && t.Prompt != nil {
		text += "\n" + *t.Prompt
	}
	return n.attachWords(ctx, strings.ToLower(text))
}

// attachNamed opens the adapter of a name, if --lora-dir has it: without, it may be
// attached already.
func (n *networks) attachNamed(ctx context.Context, name string) error {
	path, err := n.folders.find(name)
	if err != nil || path == "" {
		return err
	}
	_, err = n.adapter(ctx, path)
	return err
}

func (n *networks) adapter(ctx context.Context, path string) (*sd.Adapter, error) {
	if a := n.folders.opened[path]; a != nil {
		return a, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	a, err := sd.OpenAdapter(path)
	if err != nil {
		return nil, err
	}
	if err := n.model.Attach(a); err != nil {
		a.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.folders.opened[path] = a
	return a, nil
}

// attachWords opens the textual inversions whose names are in a text in lower case.
func (n *networks) attachWords(ctx context.Context, text string) error {
	for name, paths := range n.folders.embeddings {
		if !strings.Contains(text, name) {
			continue
		}
		if len(paths) > 1 {
			return fmt.Errorf("the embedding %.80q may be %s or %s", name, paths[0], paths[1])
		}
		if n.folders.words[paths[0]] != nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, err := sd.OpenEmbedding(paths[0])
		if errors.Is(err, convert.ErrUnrecognized) { // a word of the prompt happens to be its name
			if n.options.Warn != nil {
				n.options.Warn(err.Error())
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := n.model.Attach(e); err != nil {
			return fmt.Errorf("%s: %w", paths[0], err)
		}
		n.folders.words[paths[0]] = e
	}
	return nil
}

// closeAdapters closes the adapters that are open.
func (n *networks) closeAdapters() {
	for _, a := range n.folders.opened {
		a.Close()
	}
}

// bakeAdapters makes the adapters of --lora a part of a model that was just opened.
func bakeAdapters(ctx context.Context, p *program, f *flags, m *convert.Model) error {
	if !f.set("lora") {
		return nil
	}
	var q sd.Request
	if err := requests.Set(&q, "lora", f.text("lora")); err != nil {
		return f.problem("lora", "%v", err)
	}
	var all []convert.BakedAdapter
	for _, a := range q.Adapters {
		file, err := convert.OpenAdapter(a.Name)
		if err != nil {
			return fmt.Errorf("%s %w", f.name("lora"), err)
		}
		defer file.Close()
		text, denoiser := a.Strengths()
		all = append(all, convert.BakedAdapter{File: file, Text: text, Denoiser: denoiser})
	}
	unmatched, err := convert.BakeAdapters(ctx, m, all)
	if err == nil && len(unmatched) > 0 {
		p.log(f).Warn(fmt.Sprintf("%d layers of the adapters are not in the model and are left out, such as %s", len(unmatched), unmatched[0]))
	}
	return err
}
