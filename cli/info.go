package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

func (r *run) info() *urfave.Command {
	return &urfave.Command{
		Name:      "info",
		Usage:     "says what a model is, or how a picture was made",
		UsageText: "info [--tensors] [--json] FILE",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		Action: r.runInfo,
		Description: `
Examples:
  sdgo info sd15.safetensors
  sdgo info --json out.webp
  sdgo txt2img -q -m sd15.safetensors -p "a fox" -o - | sdgo info -`,
	}
}

func (r *run) runInfo(c *urfave.Context) error {
	if err := arguments(c, 1, "the file"); err != nil {
		return err
	}
	path := c.Args().First()
	p, err := r.readPictureFacts(path)
	if err == nil {
		return r.pictureInfo(p, c.Bool("json"))
	}
	if !errors.Is(err, picture.ErrUnknown) {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	if path == "-" {
		return fmt.Errorf("standard input: %w; models are read from files", err)
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

// pictureFacts are what a picture's file says about itself.
type pictureFacts struct {
	File   string            `json:"file"`
	Kind   string            `json:"kind"`   // "picture"
	Format picture.Format    `json:"format"` // "png", "jpeg" or "webp"
	Width  int               `json:"width"`
	Height int               `json:"height"`
	Texts  map[string]string `json:"texts"` // such as "parameters"

	order []pngtext.Text
}

// readPictureFacts reads a picture file's header and texts, and no pixels.
// Whatever is no such file, folders among them, gives picture.ErrUnknown. The
// path "-" is standard input.
func (r *run) readPictureFacts(path string) (*pictureFacts, error) {
	in := r.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, picture.ErrUnknown
		}
		in = f
	}
	f, err := picture.ReadFacts(in)
	if err != nil {
		return nil, err
	}
	p := &pictureFacts{path, "picture", f.Format, f.Width, f.Height, map[string]string{}, f.Texts}
	for _, t := range f.Texts {
		p.Texts[t.Keyword] = t.Value
	}
	return p, nil
}

func (r *run) pictureInfo(p *pictureFacts, asJSON bool) error {
	if asJSON {
		return r.writeJSON(p)
	}
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\n", printable(p.File))
	fmt.Fprintf(t, "picture\t%s, %dx%d\n", p.Format.Name(), p.Width, p.Height)
	told := 0
	for _, text := range p.order {
		name := printable(text.Keyword)
		for line := range strings.Lines(text.Value + "\n") {
			if told++; told > maxLines {
				break
			}
			fmt.Fprintf(t, "%s\t%s\n", name, printable(line))
			name = ""
		}
	}
	if told > maxLines {
		fmt.Fprintf(t, "\t… (more than %d lines; --json has all)\n", maxLines)
	}
	if len(p.order) == 0 {
		fmt.Fprintln(t, "parameters\tnone")
	}
	return t.Flush()
}

// typeList names the types of a part, most bytes first.
func typeList(types map[dtype.Type]int64) string {
	var all []dtype.Type
	for t := range types {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b dtype.Type) int {
		return cmp.Or(cmp.Compare(types[b], types[a]), cmp.Compare(a, b))
	})
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
	line("model", "%s", m.Description)
	if m.NativeSize > 0 {
		line("prediction", "%s", cmp.Or(m.Prediction, "not said in the file"))
		line("native size", "%dx%d", m.NativeSize, m.NativeSize)
	}
	if m.Guidance > 0 {
		line("guidance", "%g", m.Guidance)
	}
	for _, n := range convert.Networks(m) {
		line(n.Name, "%s", n.Summary)
	}
	for _, p := range m.Properties {
		line(strings.ReplaceAll(p.Name, "_", " "), "%d", p.Value)
	}
	if n := len(m.Ignored); n > 0 {
		line("passed over", "%d tensors that no network uses, such as %s", n, slices.Min(m.Ignored))
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "PART\tTENSORS\tWEIGHTS\tSIZE\tTYPES")
	for _, p := range convert.Parts(m) {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", p.Name, p.Tensors, count(p.Elements), byteSize(uint64(p.Bytes)), typeList(p.Types))
	}
	if tensors {
		fmt.Fprintln(t)
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(t, "TENSOR\tTYPE\tSHAPE")
		for _, tensor := range m.Tensors {
			fmt.Fprintf(t, "%s\t%s\t%s\n", printable(tensor.Name), tensor.Type, shapeText(tensor.Shape))
		}
	}
	return t.Flush()
}

// count is a number of weights in thousands or millions.
func count(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%d k", (n+500)/1000)
	}
	return fmt.Sprintf("%d M", (n+500_000)/1_000_000)
}

// shapeText is a shape such as 320x4x3x3.
func shapeText(shape []int64) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}

// jsonModel is what info --json says of a model: one object of all these.
type jsonModel struct {
	jsonKind
	networks []convert.Network // each under its own key
	jsonContents
}

type jsonKind struct {
	File       string  `json:"file"`
	Kind       string  `json:"kind"` // "model"
	Format     string  `json:"format"`
	Arch       string  `json:"arch"`  // the family
	Model      string  `json:"model"` // in words
	Prediction string  `json:"prediction,omitempty"`
	NativeSize int     `json:"native_size,omitempty"`
	Guidance   float64 `json:"guidance,omitempty"`
}

type jsonContents struct {
	Facts    map[string]int    `json:"facts,omitempty"` // of families without networks
	Ignored  []string          `json:"ignored,omitempty"`
	Metadata map[string]string `json:"metadata"`
	Parts    []jsonPart        `json:"parts"`
	Tensors  []jsonTensor      `json:"tensors,omitempty"`
}

// MarshalJSON joins the objects to one.
func (m jsonModel) MarshalJSON() ([]byte, error) {
	objects := []any{m.jsonKind}
	for _, n := range m.networks {
		objects = append(objects, map[string]any{n.Key: n.Config})
	}
	out := []byte("{")
	for i, object := range append(objects, m.jsonContents) {
		var b bytes.Buffer
		if err := encodeJSON(&b, object, ""); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		text := bytes.TrimSpace(b.Bytes())
		out = append(out, text[1:len(text)-1]...)
	}
	return append(out, '}'), nil
}

type jsonPart struct {
	Name    string           `json:"name"`
	Tensors int              `json:"tensors"`
	Weights int64            `json:"weights"`
	Bytes   int64            `json:"bytes"`
	Types   map[string]int64 `json:"types"` // bytes of each
}

type jsonTensor struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
}

func (r *run) modelJSON(m *convert.Model, tensors bool) error {
	out := jsonModel{networks: convert.Networks(m)}
	out.jsonKind = jsonKind{m.Path, "model", m.Format, m.Family, m.Description, m.Prediction, m.NativeSize, m.Guidance}
	out.Metadata = boundedMetadata(m.Metadata)
	if out.Ignored = m.Ignored; len(out.Ignored) > maxIgnored {
		out.Ignored = append(out.Ignored[:maxIgnored:maxIgnored], fmt.Sprintf("… (%d in all)", len(m.Ignored)))
	}
	for _, p := range m.Properties {
		if out.Facts == nil {
			out.Facts = map[string]int{}
		}
		out.Facts[p.Name] = p.Value
	}
	for _, p := range convert.Parts(m) {
		types := map[string]int64{}
		for t, n := range p.Types {
			types[t.String()] = n
		}
		out.Parts = append(out.Parts, jsonPart{p.Name, p.Tensors, p.Elements, p.Bytes, types})
	}
	if tensors {
		for _, t := range m.Tensors {
			out.Tensors = append(out.Tensors, jsonTensor{t.Name, t.Type.String(), t.Shape})
		}
	}
	return r.writeJSON(out)
}

// writeJSON writes a value for people and programs to read.
func (r *run) writeJSON(value any) error { return encodeJSON(r.out, value, "  ") }

// Bounds of what info tells.
const (
	maxValue    = 1 << 20 // bytes of a value of the metadata
	maxMetadata = 4 << 20 // and of all of them
	maxLines    = 10_000  // of the texts of a picture, without --json
	maxIgnored  = 10_000  // names of tensors that are passed over
)

// boundedMetadata is what a file says about itself, cut to the bounds: a value
// that is cut says how long it was.
func boundedMetadata(all map[string]string) map[string]string {
	out := map[string]string{}
	left := maxMetadata
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := cut(all[key], min(maxValue, max(left, 0)))
		out[cut(key, maxValue)] = value
		left -= len(key) + len(value)
	}
	return out
}

// cut shortens a text that is longer than so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("… (%d bytes)", len(text))
}
