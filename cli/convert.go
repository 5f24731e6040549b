package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

func convertCommand() *command {
	return &command{
		name:     "convert",
		usage:    "writes a model in another type, as GGUF or safetensors",
		synopsis: "convert -o OUT.gguf [--type q8_0] [flags] [MODEL]",
		flags: []urfave.Flag{
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` the file to write, .gguf or .safetensors"},
			&urfave.StringFlag{Name: "type", Value: "f16", Usage: "`TYPE` of the weights: f32, f16, bf16, q8_0, q4_0, q4_K … (default: f16)"},
			&urfave.GenericFlag{Name: "tensor-type", Value: &texts{}, Usage: "`REGEXP=TYPE` the type of tensors whose names match, such as vae=f16; may be repeated, the first match counts"},
			&urfave.StringFlag{Name: "imatrix", Usage: "`FILE` an importance matrix for the quantizer"},
			&urfave.StringFlag{Name: "unet", Usage: "`FILE` to take the UNet from, or FLUX.1's or SD 3's transformer"},
			&urfave.StringFlag{Name: "vae", Usage: "`FILE` to take the autoencoder from"},
			&urfave.StringFlag{Name: "clip-l", Usage: "`FILE` to take the text encoder from (of SDXL, SD 3 and FLUX.1: CLIP-L)"},
			&urfave.StringFlag{Name: "clip-g", Usage: "`FILE` to take SDXL's or SD 3's second text encoder from"},
			&urfave.StringFlag{Name: "t5xxl", Usage: "`FILE` to take FLUX.1's or SD 3's T5 text encoder from"},
			&urfave.StringFlag{Name: "t5-tokenizer", Usage: "`FILE` to take T5's vocabulary from: tokenizer.json or spiece.model"},
			&urfave.StringFlag{Name: "llm", Usage: "`FILE` to take the text encoder of Z-Image, FLUX.2 or Qwen-Image from: a Qwen"},
			&urfave.StringFlag{Name: "llm-vision", Usage: "`FILE` to take the vision tower of Qwen-Image's text encoder from (mmproj)"},
			&urfave.GenericFlag{Name: "lora", Value: &texts{}, Usage: "`FILE[:STRENGTH[:TEXT]],…` make LoRAs a part of the weights, which must not be quantized yet"},
			&urfave.StringFlag{Name: "extract-lora", Usage: "`BASE` write a LoRA of what the model has and the model BASE has not"},
			&urfave.IntFlag{Name: "rank", Value: defaultRank, Usage: fmt.Sprintf("`N` of that LoRA, 1 to %d (default: %d)", convert.MaxRank, defaultRank)},
			&urfave.BoolFlag{Name: "dry-run", Usage: "show what would be written, and write nothing"},
			&urfave.BoolFlag{Name: "verify", Usage: "read the file back and report each tensor's error"},
			&urfave.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		},
		run:    runConvert,
		events: true,
		description: `
MODEL is a safetensors file, a diffusers folder, a PyTorch checkpoint (nothing
in it is executed) or a GGUF file. Most vectors and a few delicate tensors stay more
precise than TYPE.

Examples:
  sdgo convert -o sd15-q8.gguf --type q8_0 sd15.safetensors
  sdgo convert -o sd15-q4.gguf --type q4_K --tensor-type vae=f16 --verify sd15/
  sdgo convert -o mine.gguf --vae better-vae.safetensors sd15.safetensors
  sdgo convert -o styled.safetensors --lora style.safetensors:0.8 sd15.safetensors
  sdgo convert -o style.safetensors --extract-lora sd15.safetensors --rank 16 tuned.safetensors
  sdgo convert -o flux.gguf --type q4_0 --unet flux1-dev.safetensors --vae ae.safetensors --clip-l clip_l.safetensors --t5xxl t5xxl_fp16.safetensors`,
	}
}

func runConvert(ctx context.Context, p *program, f *flags) error {
	if f.set("extract-lora") {
		return extractLoRA(ctx, p, f)
	}
	if f.set("rank") {
		return report.Usagef("%s is of %s alone", f.name("rank"), f.name("extract-lora"))
	}
	s := convert.Components{UNet: f.string("unet"), VAE: f.string("vae"), CLIPL: f.string("clip-l"), CLIPG: f.string("clip-g"), T5: f.string("t5xxl"), LLM: f.string("llm"), LLMVision: f.string("llm-vision"), T5Tokenizer: f.string("t5-tokenizer")}
	whole := s == convert.Components{}
	if whole || len(f.args) > 1 {
		if err := f.arguments(1, "the model to convert"); err != nil {
			return err
		}
	}
	if len(f.args) > 0 {
		s.Model = f.args[0]
	}
	out, dry := f.string("output"), f.bool("dry-run")
	o, err := convertOptions(f, out, dry)
	if err != nil {
		return err
	}
	if !dry {
		if err := checkConvertTarget(f, s, out); err != nil {
			return err
		}
	}
	m, err := loadModel(s, whole)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, text := range m.Warnings {
		p.log(f).Warn(text)
	}
	if err := bakeAdapters(ctx, p, f, m); err != nil {
		return err
	}
	if dry {
		return previewConvert(p, f, m, o)
	}
	return writeConverted(ctx, p, f, m, out, o)
}

// loadModel opens a whole model of any kind, or assembles one from parts.
func loadModel(s convert.Components, whole bool) (*convert.Model, error) {
	if whole {
		return convert.Load(s.Model)
	}
	return convert.Assemble(s)
}

// convertOptions checks the flags that say what is written.
func convertOptions(f *flags, out string, dry bool) (convert.Options, error) {
	o := convert.Options{Quantize: cgo.Quantize, Hash: true, New: !f.bool("force")}
	switch ext := strings.ToLower(filepath.Ext(out)); {
	case out == "" && !dry:
		return o, report.Usagef("convert: -o FILE is missing: the file to write")
	case ext == ".safetensors":
		o.Safetensors = true
	case ext != ".gguf" && out != "":
		return o, report.Usagef("%s %s: must end in .gguf or .safetensors", f.name("output"), out)
	}
	wrong := problems{flags: f}
	var err error
	if o.Type, err = dtype.Parse(f.string("type")); err != nil {
		wrong.add("type", "%v", err)
	}
	for _, s := range f.texts("tensor-type") {
		rule, err := convert.ParseRule(s)
		if err != nil {
			wrong.add("tensor-type", "%v", err)
		}
		o.Rules = append(o.Rules, rule)
	}
	if err := wrong.err(); err != nil {
		return o, err
	}
	if path := f.string("imatrix"); path != "" {
		data, err := readBounded(path, maxImatrix)
		if err != nil {
			return o, fmt.Errorf("%s %s: %w", f.name("imatrix"), path, output.Cause(err))
		}
		if o.Importance, err = convert.ParseImportance(data); err != nil {
			return o, fmt.Errorf("%s %s: %w", f.name("imatrix"), path, err)
		}
	}
	return o, nil
}

// maxImatrix bounds an importance matrix, in bytes. It takes four for each column of
// each matrix: tens of megabytes for the largest models.
const maxImatrix = 512 << 20

// readBounded reads a regular file of at most so many bytes. (A pipe may have no end.)
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("must be a regular file of at most %s", report.Size(uint64(most)))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// checkConvertTarget makes sure that neither the sources nor, without --force, any
// other file would be overwritten.
func checkConvertTarget(f *flags, s convert.Components, out string) error {
	flag := f.name("output")
	if err := output.CheckFolder(out); err != nil {
		return inFlag(flag, err)
	}
	there, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, out, output.Cause(err))
	}
	for _, in := range []string{s.Model, s.UNet, s.VAE, s.CLIPL, s.CLIPG, s.T5, s.LLM, s.LLMVision, s.T5Tokenizer} {
		source, err := os.Stat(in)
		if err == nil && (os.SameFile(source, there) || source.IsDir() && within(in, out)) {
			return fmt.Errorf("%s %s: a model cannot be written over itself; give the file another name", flag, out)
		}
	}
	if there.IsDir() {
		return fmt.Errorf("%s %s: is a folder; must be the name of a file", flag, out)
	}
	if !f.bool("force") {
		return existing(f, out)
	}
	return nil
}

func existing(f *flags, out string) error {
	return fmt.Errorf("%s %s: the file exists; --force replaces it", f.name("output"), out)
}

// within reports whether a file lies in a folder.
func within(folder, file string) bool {
	a, errA := filepath.EvalSymlinks(folder)
	b, errB := filepath.EvalSymlinks(file)
	if errA != nil || errB != nil {
		return false
	}
	a, errA = filepath.Abs(a)
	b, errB = filepath.Abs(b)
	path, err := filepath.Rel(a, b)
	return errA == nil && errB == nil && err == nil && filepath.IsLocal(path)
}

// writeConverted converts a model and reports the result.
func writeConverted(ctx context.Context, p *program, f *flags, m *convert.Model, out string, o convert.Options) error {
	style, w := p.style(f)
	progress := report.NewBytes("convert", style, w, p.now)
	defer progress.Close()
	o.Progress = progress.Advance
	start := p.now()
	if err := convert.Convert(ctx, m, out, o); errors.Is(err, fs.ErrExist) {
		return existing(f, out) // since the beginning
	} else if err != nil {
		return err
	}
	progress.Close()
	var worst []convert.Deviation
	if f.bool("verify") {
		var err error
		if worst, err = convert.Verify(ctx, m, out); err != nil {
			return err
		}
	}
	info, err := os.Stat(out)
	if err != nil {
		return fmt.Errorf("%s: %w", out, output.Cause(err))
	}
	if f.events() {
		report.Event(p.stdout, "converted", converted{out, o.Type.String(), info.Size(), report.Seconds(p.since(start)), jsonDeviations(worst)})
		return nil
	}
	if f.bool("verify") {
		if err := writeDeviations(p.stdout, worst); err != nil {
			return err
		}
	}
	if !f.bool("quiet") {
		fmt.Fprintf(p.stderr, "%s: %s, %s, in %s\n", report.Printable(out), o.Type, report.Size(uint64(info.Size())), report.Short(p.since(start)))
	}
	return nil
}

// converted is the event at the end of a conversion.
type converted struct {
	Path    string          `json:"path"`
	Type    string          `json:"type"`
	Bytes   int64           `json:"bytes"`
	Seconds float64         `json:"seconds"`
	Tensors []jsonDeviation `json:"tensors,omitempty"` // with --verify, the worst first
}

type jsonDeviation struct {
	Name     string  `json:"name"`
	From     string  `json:"from"`
	To       string  `json:"to"`
	Max      float64 `json:"max"`
	RMS      float64 `json:"rms"`
	Relative float64 `json:"relative"`
}

func jsonDeviations(all []convert.Deviation) []jsonDeviation {
	var out []jsonDeviation
	for _, d := range all {
		out = append(out, jsonDeviation{d.Name, d.From.String(), d.To.String(), d.Max, d.RMS, d.Relative()})
	}
	return out
}

func writeDeviations(w io.Writer, all []convert.Deviation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENSOR\tFROM\tTO\tMAX\tRMS\tRELATIVE")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3g\t%.3g\t%.3g\n", report.Printable(d.Name), d.From, d.To, d.Max, d.RMS, d.Relative())
	}
	return t.Flush()
}

// conversion is the event of --dry-run, "preview".
type conversion struct {
	Bytes   int64        `json:"bytes"`
	Tensors []jsonChange `json:"tensors"`
}

type jsonChange struct {
	Name  string  `json:"name"`
	Shape []int64 `json:"shape"`
	From  string  `json:"from"`
	To    string  `json:"to"`
	Bytes int64   `json:"bytes"` // of the result
}

// previewConvert says what a conversion would do.
func previewConvert(p *program, f *flags, m *convert.Model, o convert.Options) error {
	changes, size, err := convert.Preview(m, o)
	if err != nil {
		return err
	}
	if f.events() {
		e := conversion{Bytes: size}
		for _, c := range changes {
			e.Tensors = append(e.Tensors, jsonChange{c.Name, c.Shape, c.From.String(), c.To.String(), c.Bytes})
		}
		report.Event(p.stdout, "preview", e)
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENSOR\tSHAPE\tFROM\tTO\tSIZE")
	for _, c := range changes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", report.Printable(c.Name), shapeText(c.Shape), c.From, c.To, report.Size(uint64(c.Bytes)))
	}
	fmt.Fprintf(t, "\n%s in all\n", report.Size(uint64(size)))
	return t.Flush()
}
