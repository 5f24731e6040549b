package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/pngtext"
)

func (r *run) info() *urfave.Command {
	return &urfave.Command{
		Name:      "info",
		Usage:     "says what a file is: a model, or a picture and how it was made",
		UsageText: "info [--tensors] [--json] FILE",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		Action: r.runInfo,
	}
}

func (r *run) runInfo(c *urfave.Context) error {
	if err := arguments(c, 1, "the file"); err != nil {
		return err
	}
	path := c.Args().First()
	texts, err := pictureTexts(path)
	if err == nil {
		return r.pictureInfo(path, texts, c.Bool("json"))
	}
	if !errors.Is(err, pngtext.ErrNotPNG) {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	m, err := convert.Load(path)
	if err != nil {
		return err
	}
	defer m.Close()
	if c.Bool("json") {
		return r.modelJSON(m, c.Bool("tensors"))
	}
	return r.modelInfo(m, c.Bool("tensors"))
}

// pictureTexts reads a PNG file's texts; folders are no pictures.
func pictureTexts(path string) ([]pngtext.Text, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, pngtext.ErrNotPNG
	}
	return pngtext.Decode(f)
}

func (r *run) pictureInfo(path string, texts []pngtext.Text, asJSON bool) error {
	if asJSON {
		all := map[string]string{}
		for _, t := range texts {
			all[t.Keyword] = t.Value
		}
		return json.NewEncoder(r.out).Encode(map[string]any{"file": path, "kind": "picture", "texts": all})
	}
	for _, t := range texts {
		if t.Keyword != sd.TextKeyword {
			fmt.Fprintf(r.out, "%s: ", printable(t.Keyword))
		}
		for line := range strings.Lines(t.Value + "\n") {
			fmt.Fprintln(r.out, printable(strings.TrimRight(line, "\n")))
		}
	}
	if len(texts) == 0 {
		return fmt.Errorf("%s: a picture that does not say how it was made", path)
	}
	return nil
}

// typeList names the types of a part, most bytes first.
func typeList(types map[dtype.Type]int64) string {
	var all []dtype.Type
	for t := range types {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b dtype.Type) int { return int(max(-1, min(1, types[b]-types[a]))) })
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

func (r *run) modelInfo(m *convert.Model, tensors bool) error {
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("file", "%s", m.Path)
	line("format", "%s", m.Format)
	line("model", "%s", m.What)
	if m.Arch == convert.SD1 || m.Arch == convert.SD2 {
		prediction := m.Prediction
		if prediction == "" {
			prediction = "not said"
		}
		line("prediction", "%s", prediction)
		line("native size", "%d", m.NativeSize)
		line("text encoder", "%d layers of width %d, %d heads, %s, vocabulary %d", m.Text.Layers, m.Text.Width, m.Text.Heads, m.Text.Activation, m.Text.Vocabulary)
		line("UNet", "%d channels x %v, %d blocks a level, attention %v, context %d", m.UNet.ModelChannels, m.UNet.ChannelMult, m.UNet.NumResBlocks, m.UNet.TransformerDepth, m.UNet.ContextDim)
		line("VAE", "%d channels x %v, latent %d, scale %g", m.VAE.Channels, m.VAE.ChannelMult, m.VAE.EmbedDim, m.VAE.ScaleFactor)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nPART\tTENSORS\tWEIGHTS\tSIZE\tTYPES")
	for _, p := range m.Parts() {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", p.Name, p.Tensors, p.Elements, byteSize(uint64(p.Bytes)), typeList(p.Types))
	}
	if tensors {
		fmt.Fprintln(t, "\nTENSOR\tTYPE\tSHAPE")
		for _, tensor := range m.Tensors {
			fmt.Fprintf(t, "%s\t%s\t%v\n", printable(tensor.Name), tensor.Type, tensor.Shape)
		}
	}
	return t.Flush()
}

func (r *run) modelJSON(m *convert.Model, tensors bool) error {
	type part struct {
		Name    string           `json:"name"`
		Tensors int              `json:"tensors"`
		Weights int64            `json:"weights"`
		Bytes   int64            `json:"bytes"`
		Types   map[string]int64 `json:"types"`
	}
	var parts []part
	for _, p := range m.Parts() {
		types := map[string]int64{}
		for t, n := range p.Types {
			types[t.String()] = n
		}
		parts = append(parts, part{p.Name, p.Tensors, p.Elements, p.Bytes, types})
	}
	out := map[string]any{"file": m.Path, "kind": "model", "format": m.Format, "arch": m.Arch, "what": m.What,
		"prediction": m.Prediction, "native_size": m.NativeSize, "text": m.Text, "unet": m.UNet, "vae": m.VAE, "parts": parts}
	if tensors {
		type entry struct {
			Name  string  `json:"name"`
			Type  string  `json:"type"`
			Shape []int64 `json:"shape"`
		}
		var all []entry
		for _, t := range m.Tensors {
			all = append(all, entry{t.Name, t.Type.String(), t.Shape})
		}
		out["tensors"] = all
	}
	e := json.NewEncoder(r.out)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
