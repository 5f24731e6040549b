package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

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

// writeModel shows what a model is.
func writeModel(w io.Writer, m *convert.Model, adapter *jsonAdapter, tensors bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, report.Printable(fmt.Sprintf(format, args...)))
	}
	line("file", "%s", m.Path)
	line("format", "%s", m.Format)
	line("model", "%s", m.Description)
	if m.NativeSize > 0 {
		line("prediction", "%s", cmp.Or(m.Prediction, "not in the file"))
		line("native size", "%dx%d", m.NativeSize, m.NativeSize)
	}
	if e := m.EDM; e != nil {
		line("noise levels", "%g to %g (EDM, data %g)", e.SigmaMin, e.SigmaMax, e.SigmaData)
	}
	if m.ZeroSNR {
		line("zero terminal SNR", "yes")
	}
	if m.Schedule != "" {
		line("schedule", "%s", m.Schedule)
	}
	if m.Guidance > 0 {
		line("guidance", "%g", m.Guidance)
	}
	for _, n := range convert.Networks(m) {
		line(n.Name, "%s", n.Summary)
	}
	adapter.lines(m, line)
	for _, text := range m.Warnings {
		line("warning", "%s", text)
	}
	if n := len(m.Ignored); n > 0 {
		line("ignored", "%d tensors that no network uses, such as %s", n, slices.Min(m.Ignored))
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "PART\tTENSORS\tWEIGHTS\tSIZE\tTYPES")
	for _, p := range convert.Parts(m) {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", p.Name, p.Tensors, count(p.Elements), report.Size(uint64(p.Bytes)), typeList(p.Types))
	}
	if tensors {
		fmt.Fprintln(t)
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(t, "TENSOR\tTYPE\tSHAPE")
		for _, tensor := range m.Tensors {
			fmt.Fprintf(t, "%s\t%s\t%s\n", report.Printable(tensor.Name), tensor.Type, shapeText(tensor.Shape))
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

// jsonModel is what info --json shows of a model: one object of all these.
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
	ZeroSNR    bool    `json:"zero_terminal_snr,omitempty"`
	EDM        *levels `json:"edm,omitempty"`
	Schedule   string  `json:"schedule,omitempty"` // the default one
}

// levels are noise levels of a model in continuous time.
type levels struct {
	SigmaMin  float64 `json:"sigma_min"`
	SigmaMax  float64 `json:"sigma_max"`
	SigmaData float64 `json:"sigma_data"`
}

type jsonContents struct {
	Facts    map[string]int    `json:"facts,omitempty"` // of families without networks
	Adapter  *jsonAdapter      `json:"adapter,omitempty"`
	Ignored  []string          `json:"ignored,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
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
		if err := report.JSON(&b, object, ""); err != nil {
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

func modelJSON(m *convert.Model, adapter *jsonAdapter, tensors bool) jsonModel {
	out := jsonModel{networks: convert.Networks(m)}
	out.jsonKind = jsonKind{m.Path, "model", m.Format, m.Family, m.Description, m.Prediction, m.NativeSize, m.Guidance, m.ZeroSNR, (*levels)(m.EDM), m.Schedule}
	out.Warnings, out.Adapter = m.Warnings, adapter
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
	return out
}

// Bounds of what info shows.
const (
	maxValue    = 1 << 20 // bytes of a value of the metadata
	maxMetadata = 4 << 20 // and of all of them
	maxIgnored  = 10_000  // names of ignored tensors
)

// boundedMetadata returns metadata cut to the bounds. A value that was cut says how
// long it was.
func boundedMetadata(all map[string]string) map[string]string {
	out := map[string]string{}
	left := maxMetadata
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := report.Cut(all[key], min(maxValue, max(left, 0)))
		out[report.Cut(key, maxValue)] = value
		left -= len(key) + len(value)
	}
	return out
}
