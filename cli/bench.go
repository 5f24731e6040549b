package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/fullsize"
)

const maxRuns = 1000

func benchCommand() *command {
	return &command{
		name:     "bench",
		usage:    "measures how fast a model draws here",
		synopsis: "bench [-m MODEL] [--size PIXELS] [flags]",
		flags: append(modelFlags(),
			&urfave.IntFlag{Name: "size", Usage: "`PIXELS` the picture's sides, a multiple of 8 (default: the model's)"},
			&urfave.IntFlag{Name: "runs", Value: 5, Usage: "`N` measurements of each stage, whose median is shown (default: 5)"},
			&urfave.GenericFlag{Name: "lora", Value: &texts{}, Usage: "`FILE` measure the model without and with this LoRA, or several"},
			&urfave.BoolFlag{Name: "plain", Usage: "measure ggml's own operators, too, in turns with this library's"},
			&urfave.BoolFlag{Name: "profile", Usage: "show each kind of operator"},
			&urfave.StringFlag{Name: "random", Value: "sd1", Usage: "`KIND` without -m, a model of full size with random weights: sd1, sd2, sdxl, sdxl-refiner (default: sd1)"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"}),
		run:    runBench,
		events: true,
		description: `
A step is one evaluation of the UNet with guidance: two latents, as a batch. GFLOP
are those of the plain algorithms, however it is really computed. Peak memory is
that of the whole program, with the weights that are mapped from the file.

Without -m it measures a model of full size with random weights, which is created
once and kept in the user's cache folder: 2.1 GB for sd1 (Stable Diffusion 1.5).
The values of weights make no difference to the time.

Examples:
  sdgo bench --plain
  sdgo bench -m sd15.safetensors --size 512 --plain
  sdgo bench -m sd15.safetensors --size 256 --profile`,
	}
}

// benchmark is what the command prints as JSON.
type benchmark struct {
	Model   string        `json:"model"`
	Size    int           `json:"size"`
	Threads int           `json:"threads"`
	Runs    int           `json:"runs"`
	Results []benchResult `json:"results"`
}

// benchResult is what one set of kernels gave.
type benchResult struct {
	Kernels string       `json:"kernels"` // "avx2", "generic" …, or "ggml"
	LoRAs   int          `json:"loras,omitempty"`
	Load    float64      `json:"load"`  // seconds, of opening the file
	First   float64      `json:"first"` // seconds, of the first pass through all stages
	Peak    uint64       `json:"peak,omitempty"`
	Stages  []benchStage `json:"stages"`

	all [][]sd.StageTiming
}

// benchStage is the median of a stage's measurements.
type benchStage struct {
	Stage   string    `json:"stage"`
	Seconds float64   `json:"seconds"`
	GFLOP   float64   `json:"gflop"`
	Ops     []benchOp `json:"ops,omitempty"` // with --profile, of the median run
}

type benchOp struct {
	Op      string  `json:"op"`
	Calls   int     `json:"calls"`
	GFLOP   float64 `json:"gflop"`
	Seconds float64 `json:"seconds"`
}

func runBench(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	o, err := benchOptions(p, f)
	if err != nil {
		return err
	}
	model := f.string("model")
	if !f.set("model") {
		if model, err = randomModel(ctx, p.stderr, f.string("random")); err != nil {
			return err
		}
	}
	ways, err := benchWays(f)
	if err != nil {
		return err
	}
	for _, way := range ways {
		for _, a := range way.files {
			defer a.Close()
		}
	}
	b := benchmark{Size: f.int("size"), Runs: f.int("runs")}
	if err := b.measure(ctx, p, model, o, ways); err != nil {
		return err
	}
	for i := range b.Results {
		b.Results[i].sum(f.bool("profile"))
	}
	if f.bool("json") {
		return report.JSON(p.stdout, b, "")
	}
	return b.write(p.stdout, ways)
}

// benchOptions checks the flags.
func benchOptions(p *program, f *flags) (sd.Options, error) {
	o, err := modelOptions(p, f)
	if err != nil {
		return o, err
	}
	wrong := problems{flags: f}
	if size := f.int("size"); f.set("size") && (size < 8 || size > sd.MaxSide || size%8 != 0) {
		wrong.add("size", "must be a multiple of 8 from 8 to %d, got %d", sd.MaxSide, size)
	}
	if runs := f.int("runs"); runs < 1 || runs > maxRuns {
		wrong.add("runs", "must be 1 to %d, got %d", maxRuns, runs)
	}
	if kind := f.string("random"); !fullsize.Known(kind) {
		wrong.add("random", "must be %s, got %q", fullsize.Kinds, kind)
	}
	if f.set("random") && f.set("model") {
		wrong.add("random", "does not go with --model")
	}
	return o, wrong.err()
}

// randomModel returns a file of full size with random weights in the user's cache
// folder, and creates it if it does not exist.
func randomModel(ctx context.Context, stderr io.Writer, kind string) (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for a random model: %w; -m names one", err)
	}
	folder = filepath.Join(folder, "sdgo")
	path := filepath.Join(folder, "random-"+kind+".safetensors")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintf(stderr, "writing %s, a model with random weights, once\n", report.Printable(path))
	return path, fullsize.Write(ctx, path, fullsize.Options{Arch: kind, Seed: 1})
}

// measure opens the model once for each set of kernels and measures all of them in
// turns, so that whatever slows the machine down slows all of them.
func (b *benchmark) measure(ctx context.Context, p *program, name string, o sd.Options, ways []benchWay) error {
	models := make([]*sd.Model, len(ways))
	b.Results = make([]benchResult, len(ways))
	for i, way := range ways {
		resetPeak()
		o.Kernels = way.kernels
		r := &b.Results[i]
		r.LoRAs = len(way.adapters)
		var err error
		if r.Kernels, err = sd.Kernels(way.kernels); err != nil {
			return err
		}
		start := p.now()
		if len(way.adapters) > 0 { // of the same model, whose first pass is after a change of adapters
			models[i] = models[0]
		} else {
			m, err := openModel(ctx, name, o)
			if err != nil {
				return err
			}
			defer m.Close()
			models[i], r.Load = m, report.Seconds(p.since(start))
		}
		if err := attachAll(models[i], way.files); err != nil {
			return err
		}
		b.Size = cmp.Or(b.Size, models[i].NativeSize())
		start = p.now()
		if _, err := models[i].Benchmark(ctx, b.Size, b.Size, way.adapters...); err != nil {
			return err
		}
		r.First = report.Seconds(p.since(start))
		r.Peak = peakMemory()
	}
	for range b.Runs {
		for i, m := range models {
			one, err := m.Benchmark(ctx, b.Size, b.Size, ways[i].adapters...)
			if err != nil {
				return err
			}
			b.Results[i].all = append(b.Results[i].all, one)
		}
	}
	b.Model, b.Threads = models[0].Name(), models[0].Threads()
	return nil
}

// benchWay is one way to draw that is measured.
type benchWay struct {
	kernels  string
	files    []*sd.Adapter // to attach
	adapters []sd.RequestAdapter
	title    string // of its columns, beside the first way's
}

// benchWays are those that flags ask for, the first one as it is without them.
func benchWays(f *flags) (ways []benchWay, err error) {
	ways = []benchWay{{}}
	if f.bool("plain") {
		ways = append(ways, benchWay{kernels: "ggml", title: "ggml: "})
	}
	files := f.texts("lora")
	if len(files) == 0 {
		return ways, nil
	}
	if f.bool("plain") {
		return nil, report.Usagef("%s does not go with %s", f.name("lora"), f.name("plain"))
	}
	way := benchWay{title: "LoRA: "}
	for _, file := range files {
		a, err := sd.OpenAdapter(file)
		if err != nil {
			return nil, fmt.Errorf("%s %w", f.name("lora"), err)
		}
		way.files = append(way.files, a)
		way.adapters = append(way.adapters, sd.RequestAdapter{Name: a.Name()})
	}
	return append(ways, way), nil
}

func attachAll(m *sd.Model, adapters []*sd.Adapter) error {
	for _, a := range adapters {
		if err := m.Attach(a); err != nil {
			return err
		}
	}
	return nil
}

// sum takes the median of each stage.
func (b *benchResult) sum(profile bool) {
	for stage := range b.all[0] {
		var times []sd.StageTiming
		for _, one := range b.all {
			times = append(times, one[stage])
		}
		slices.SortFunc(times, func(x, y sd.StageTiming) int { return cmp.Compare(x.Time, y.Time) })
		m := times[len(times)/2]
		s := benchStage{Stage: m.Stage, Seconds: m.Time.Seconds(), GFLOP: m.FLOP / 1e9}
		if profile {
			for _, w := range m.Ops {
				s.Ops = append(s.Ops, benchOp{w.Op, w.Calls, w.FLOP / 1e9, w.Time.Seconds()})
			}
			slices.SortFunc(s.Ops, func(x, y benchOp) int { return cmp.Compare(y.Seconds, x.Seconds) })
		}
		b.Stages = append(b.Stages, s)
	}
}

// write shows the results in a table.
func (b *benchmark) write(out io.Writer, ways []benchWay) error {
	results := b.Results
	first := results[0]
	fmt.Fprintf(out, "%s, %dx%d, %s, median of %d\n\n", report.Printable(b.Model), b.Size, b.Size, report.Plural(b.Threads, "thread"), b.Runs)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	// Every row has every cell: tabwriter lines columns up over rows that touch.
	row := func(cells ...string) {
		if len(results) == 1 {
			cells = cells[:4]
		}
		fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
	}
	title := ""
	if len(ways) > 1 {
		title = ways[1].title
	}
	row("", "GFLOP", "seconds", "GFLOP/s", title+"seconds", "GFLOP/s", "times as long")
	for i, s := range first.Stages {
		cells := []string{s.Stage, fmt.Sprintf("%.1f", s.GFLOP), fmt.Sprintf("%.3f", s.Seconds), rate(s.GFLOP, s.Seconds), "", "", ""}
		if len(results) > 1 {
			p := results[1].Stages[i]
			copy(cells[4:], []string{fmt.Sprintf("%.3f", p.Seconds), rate(p.GFLOP, p.Seconds), fmt.Sprintf("%.2f", p.Seconds/s.Seconds)})
		}
		row(cells...)
		for _, op := range s.Ops {
			row(op.Op, fmt.Sprintf("%.1f", op.GFLOP), fmt.Sprintf("%.3f", op.Seconds), rate(op.GFLOP, op.Seconds), "", "", "")
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, r := range results {
		if r.LoRAs > 0 {
			fmt.Fprintf(out, "with %s: first pass in %.2f s, peak memory %s\n", report.Plural(r.LoRAs, "LoRA"), r.First, report.Size(r.Peak))
			continue
		}
		fmt.Fprintf(out, "%s: opened in %.3f s, first pass in %.2f s", r.Kernels, r.Load, r.First)
		if r.Peak > 0 {
			fmt.Fprintf(out, ", peak memory %s", report.Size(r.Peak))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// rate is GFLOP a second, or nothing if no arithmetic is counted.
func rate(gflop, seconds float64) string {
	if gflop == 0 || seconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", gflop/seconds)
}

// resetPeak makes Linux forget the highest memory use so far.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peakMemory is the highest memory use since resetPeak, in bytes; 0 except on Linux.
func peakMemory() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kib uint64
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
