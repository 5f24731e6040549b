package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// defaultRank is that of a LoRA which is extracted.
const defaultRank = 32

// extractLoRA writes a LoRA of what a model has and another one has not.
func extractLoRA(ctx context.Context, p *program, f *flags) error {
	o, err := extraction(f)
	if err != nil {
		return err
	}
	out, base := f.string("output"), f.string("extract-lora")
	if err := checkConvertTarget(f, convert.Components{Model: f.args[0], UNet: base}, out); err != nil {
		return err
	}
	from, err := convert.Load(base)
	if err != nil {
		return fmt.Errorf("%s %w", f.name("extract-lora"), err)
	}
	defer from.Close()
	tuned, err := convert.Load(f.args[0])
	if err != nil {
		return err
	}
	defer tuned.Close()
	for _, m := range []*convert.Model{from, tuned} {
		for _, text := range m.Warnings {
			p.log(f).Warn(text)
		}
	}
	start := p.now()
	style, w := p.style(f)
	progress := report.NewBytes("extract", style, w, p.now)
	defer progress.Close()
	o.Progress = progress.Advance
	x, err := convert.ExtractLoRA(ctx, from, tuned, o)
	if err != nil {
		return err
	}
	progress.Close()
	if n := len(x.LeftOut); n > 0 {
		p.log(f).Warn(fmt.Sprintf("%d tensors differ that a LoRA can't change (norms, biases, embeddings), and are left out, such as %s", n, x.LeftOut[0]))
	}
	if err := errors.Join(from.Intact(), tuned.Intact()); err != nil {
		return err
	}
	if err := output.WriteFile(out, func(w io.Writer) error { return convert.WriteLoRA(w, x) }); err != nil {
		return err
	}
	info, err := os.Stat(out)
	if err != nil {
		return fmt.Errorf("%s: %w", out, output.Cause(err))
	}
	if f.events() {
		report.Event(p.stdout, "extracted", extracted{out, o.Rank, x.Layers, x.Kept, x.LeftOut, info.Size(), report.Seconds(p.since(start))})
	} else if !f.bool("quiet") {
		fmt.Fprintf(p.stderr, "%s: rank %d, %d layers, %.1f %% of the difference, %s, in %s\n", report.Printable(out), o.Rank, x.Layers,
			100*x.Kept, report.Size(uint64(info.Size())), report.Short(p.since(start)))
	}
	return nil
}

// extracted is the event at the end of an extraction.
type extracted struct {
	Path    string   `json:"path"`
	Rank    int      `json:"rank"`
	Layers  int      `json:"layers"`
	Kept    float64  `json:"kept"`               // share of the difference, by the squares
	LeftOut []string `json:"left_out,omitempty"` // tensors that differ and that a LoRA can't change
	Bytes   int64    `json:"bytes"`
	Seconds float64  `json:"seconds"`
}

// extraction checks the flags.
func extraction(f *flags) (o convert.Extraction, err error) {
	if err := f.arguments(1, "the model to extract from"); err != nil {
		return o, err
	}
	wrong := problems{flags: f}
	switch out := f.string("output"); {
	case out == "":
		return o, report.Usagef("convert: -o FILE is missing: the file to write")
	case strings.ToLower(filepath.Ext(out)) != ".safetensors":
		wrong.add("output", "a LoRA's name must end in .safetensors, got %s", out)
	}
	for _, name := range []string{"tensor-type", "imatrix", "unet", "vae", "clip-l", "clip-g", "t5xxl", "t5-tokenizer", "llm", "llm-vision", "lora", "dry-run", "verify"} {
		if f.set(name) {
			wrong.add(name, "can't be combined with %s", f.name("extract-lora"))
		}
	}
	if o.Rank = f.int("rank"); o.Rank < 1 || o.Rank > convert.MaxRank {
		wrong.add("rank", "must be 1 to %d, got %d", convert.MaxRank, o.Rank)
	}
	if o.Type, err = dtype.Parse(f.string("type")); err != nil {
		wrong.add("type", "%v", err)
	} else if o.Type != dtype.F32 && o.Type != dtype.F16 && o.Type != dtype.BF16 {
		wrong.add("type", "must be f32, f16 or bf16 for a LoRA, got %s", o.Type)
	}
	return o, wrong.err()
}
