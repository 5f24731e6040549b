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
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

func (r *run) convert() *urfave.Command {
	return &urfave.Command{
		Name:      "convert",
		Usage:     "writes a model in another type, as GGUF or safetensors",
		UsageText: "convert -o OUT.gguf [--type q8_0] [flags] [MODEL]",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` the file to write, .gguf or .safetensors"},
			&urfave.StringFlag{Name: "type", Value: "f16", Usage: "`TYPE` of the weights: f32, f16, bf16, q8_0, q4_0, q4_K … (default: f16)"},
			&urfave.StringSliceFlag{Name: "tensor-type", Usage: "`REGEXP=TYPE` of the tensors whose names match, such as vae=f16; may be repeated, the first match counts"},
			&urfave.StringFlag{Name: "imatrix", Usage: "`FILE` an importance matrix for the quantizer"},
			&urfave.StringFlag{Name: "unet", Usage: "`FILE` to take the UNet from, or FLUX.1's or SD 3's transformer"},
			&urfave.StringFlag{Name: "vae", Usage: "`FILE` to take the autoencoder from"},
			&urfave.StringFlag{Name: "clip-l", Usage: "`FILE` to take the text encoder from (of SDXL, SD 3 and FLUX.1: CLIP-L)"},
			&urfave.StringFlag{Name: "clip-g", Usage: "`FILE` to take SDXL's or SD 3's second text encoder from"},
			&urfave.StringFlag{Name: "t5xxl", Usage: "`FILE` to take FLUX.1's or SD 3's T5 text encoder from"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			&urfave.BoolFlag{Name: "verify", Usage: "read the file back and report each tensor's error"},
			&urfave.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		},
		Action: r.runConvert,
		Description: `
MODEL is a safetensors file, a diffusers folder, a PyTorch checkpoint (nothing
in it is executed) or a GGUF file. Most vectors and a few delicate tensors stay more
precise than TYPE.

Examples:
  sdgo convert -o sd15-q8.gguf --type q8_0 sd15.safetensors
  sdgo convert -o sd15-q4.gguf --type q4_K --tensor-type vae=f16 --verify sd15/
  sdgo convert -o mine.gguf --vae better-vae.safetensors sd15.safetensors
  sdgo convert -o flux.gguf --type q4_0 --unet flux1-dev.safetensors --vae ae.safetensors --clip-l clip_l.safetensors --t5xxl t5xxl_fp16.safetensors`,
	}
}

func (r *run) runConvert(c *urfave.Context) error {
	r.json = c.Bool("json")
	s := convert.Components{Model: c.Args().First(), UNet: c.String("unet"), VAE: c.String("vae"), CLIPL: c.String("clip-l"), CLIPG: c.String("clip-g"), T5: c.String("t5xxl")}
	parts := s
	parts.Model = ""
	if whole := parts == (convert.Components{}); whole || c.NArg() > 1 {
		if err := arguments(c, 1, "the model to convert"); err != nil {
			return err
		}
	}
	out, dry := c.String("output"), c.Bool("dry-run")
	o, err := r.convertOptions(c, out, dry)
	if err != nil {
		return err
	}
	if !dry {
		if err := r.checkConvertTarget(s, out, c.Bool("force")); err != nil {
			return err
		}
	}
	m, err := loadModel(s, parts)
	if err != nil {
		return err
	}
	defer m.Close()
	if dry {
		return r.previewConvert(m, o)
	}
	return r.writeConverted(c.Context, m, out, o, c.Bool("verify"), c.Bool("quiet"))
}

// loadModel opens one model, of any kind, or puts one together.
func loadModel(s, parts convert.Components) (*convert.Model, error) {
	if parts == (convert.Components{}) {
		return convert.Load(s.Model)
	}
	return convert.Assemble(s)
}

// convertOptions checks the flags that say what is written.
func (r *run) convertOptions(c *urfave.Context, out string, dry bool) (convert.Options, error) {
	o := convert.Options{Quantize: cgo.Quantize, Hash: true}
	switch ext := strings.ToLower(filepath.Ext(out)); {
	case out == "" && !dry:
		return o, usagef("convert: -o FILE is missing: the file to write")
	case ext == ".safetensors":
		o.Safetensors = true
	case ext != ".gguf" && out != "":
		return o, usagef("%s %s: a name that ends in .gguf or .safetensors wanted", r.flagName("output"), out)
	}
	var problems []problem
	var err error
	if o.Type, err = dtype.Parse(c.String("type")); err != nil {
		problems = append(problems, problem{r.flagName("type"), err.Error()})
	}
	for _, s := range c.StringSlice("tensor-type") {
		rule, err := convert.ParseRule(s)
		if err != nil {
			problems = append(problems, problem{r.flagName("tensor-type"), err.Error()})
		}
		o.Rules = append(o.Rules, rule)
	}
	if len(problems) > 0 {
		return o, usageProblems(problems)
	}
	if path := c.String("imatrix"); path != "" {
		data, err := readBounded(path, maxImatrix)
		if err != nil {
			return o, fmt.Errorf("%s %s: %w", r.flagName("imatrix"), path, cause(err))
		}
		if o.Importance, err = convert.ParseImportance(data); err != nil {
			return o, fmt.Errorf("%s %s: %w", r.flagName("imatrix"), path, err)
		}
	}
	return o, nil
}

// maxImatrix bounds an importance matrix, in bytes: four for each column of each
// matrix, of the largest models some tens of megabytes.
const maxImatrix = 512 << 20

// readBounded reads a file of at most so many bytes; one without an end is none.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("a regular file of at most %s is expected", byteSize(uint64(most)))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// checkConvertTarget keeps the sources and, unless forced, a file that exists.
func (r *run) checkConvertTarget(s convert.Components, out string, force bool) error {
	flag := r.flagName("output")
	if err := checkFolder(flag, out); err != nil {
		return err
	}
	there, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, out, cause(err))
	}
	for _, in := range []string{s.Model, s.UNet, s.VAE, s.CLIPL, s.CLIPG, s.T5} {
		source, err := os.Stat(in)
		if err == nil && (os.SameFile(source, there) || source.IsDir() && within(in, out)) {
			return fmt.Errorf("%s %s: a model cannot be written over itself; give the file another name", flag, out)
		}
	}
	if there.IsDir() {
		return fmt.Errorf("%s %s: a folder; the name of a file is wanted", flag, out)
	}
	if !force {
		return fmt.Errorf("%s %s: the file exists; --force replaces it", flag, out)
	}
	return nil
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

func (r *run) writeConverted(ctx context.Context, m *convert.Model, out string, o convert.Options, verify, quiet bool) error {
	progress := r.newByteProgress(quiet)
	defer progress.close()
	o.Progress = progress.advance
	start := time.Now()
	if err := convert.Convert(ctx, m, out, o); err != nil {
		return err
	}
	progress.close()
	var worst []convert.Deviation
	if verify {
		var err error
		if worst, err = convert.Verify(ctx, m, out); err != nil {
			return err
		}
	}
	info, err := os.Stat(out)
	if err != nil {
		return fmt.Errorf("%s: %w", out, cause(err))
	}
	if r.json {
		writeEvent(r.out, convertedEvent{"converted", out, o.Type.String(), info.Size(), seconds(time.Since(start)), deviations(worst)})
		return nil
	}
	if verify {
		if err := r.writeDeviations(worst); err != nil {
			return err
		}
	}
	if !quiet {
		fmt.Fprintf(r.err, "%s: %s, %s, in %s\n", printable(out), o.Type, byteSize(uint64(info.Size())), short(time.Since(start)))
	}
	return nil
}

// convertedEvent is the end of a conversion under --json.
type convertedEvent struct {
	Event   string          `json:"event"` // "converted"
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

func deviations(all []convert.Deviation) []jsonDeviation {
	var out []jsonDeviation
	for _, d := range all {
		out = append(out, jsonDeviation{d.Name, d.From.String(), d.To.String(), d.Max, d.RMS, d.Relative()})
	}
	return out
}

func (r *run) writeDeviations(all []convert.Deviation) error {
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENSOR\tFROM\tTO\tMAX\tRMS\tRELATIVE")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3g\t%.3g\t%.3g\n", printable(d.Name), d.From, d.To, d.Max, d.RMS, d.Relative())
	}
	return t.Flush()
}

// previewEvent is the outcome of --dry-run under --json.
type previewEvent struct {
	Event   string       `json:"event"` // "preview"
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
func (r *run) previewConvert(m *convert.Model, o convert.Options) error {
	changes, size, err := convert.Preview(m, o)
	if err != nil {
		return err
	}
	if r.json {
		e := previewEvent{Event: "preview", Bytes: size}
		for _, c := range changes {
			e.Tensors = append(e.Tensors, jsonChange{c.Name, c.Shape, c.From.String(), c.To.String(), c.Bytes})
		}
		writeEvent(r.out, e)
		return nil
	}
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENSOR\tSHAPE\tFROM\tTO\tSIZE")
	for _, c := range changes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(c.Name), shapeText(c.Shape), c.From, c.To, byteSize(uint64(c.Bytes)))
	}
	fmt.Fprintf(t, "\n%s in all\n", byteSize(uint64(size)))
	return t.Flush()
}
