package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/fullsize"
)

const maxRuns = 1000

func (r *run) bench() *urfave.Command {
	model := modelFlags()
	return &urfave.Command{
		Name:      "bench",
		Usage:     "measures how fast a model draws here",
		UsageText: "bench [-m MODEL] [--size PIXELS] [flags]",
		HideHelp:  true,
		Flags: append(model,
			&urfave.IntFlag{Name: "size", Usage: "`PIXELS` the picture's sides, a multiple of 8 (default: the model's)"},
			&urfave.IntFlag{Name: "runs", Value: 5, Usage: "`N` measurements of each stage, of which the median counts (default: 5)"},
			&urfave.BoolFlag{Name: "plain", Usage: "measure ggml's own operators as well, in turns with this library's"},
			&urfave.BoolFlag{Name: "profile", Usage: "each kind of operator"},
			&urfave.StringFlag{Name: "random", Value: "sd1", Usage: "`KIND` without -m, a model of full size with random weights: sd1, sd2, sdxl, sdxl-refiner (default: sd1)"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"}),
		Action: r.runBench,
		Description: `
A step is one evaluation of the UNet with guidance: two latents, as a batch. GFLOP
are those of the plain algorithms, whatever is really multiplied. Peak memory is
that of the whole program, in which weights count that are mapped from the file.

Without -m it is a model of full size with random weights, which is made once
and kept in the user's cache folder: 2.1 GB for sd1 (Stable Diffusion 1.5). What
weights are makes no difference to how long they take.

Examples:
  sdgo bench --plain
  sdgo bench -m sd15.safetensors --size 512 --plain
  sdgo bench -m sd15.safetensors --size 256 --profile`,
	}
}

// benchResult is all that one way of computing gave.
type benchResult struct {
	Kernels string       `json:"kernels"` // "avx2", "generic" …, or "ggml"
	Load    float64      `json:"load"`    // seconds, of opening the file
	First   float64      `json:"first"`   // seconds, of the first pass through all stages
	Peak    uint64       `json:"peak,omitempty"`
	Stages  []benchStage `json:"stages"`

	model *sd.Model
	all   [][]sd.StageTiming
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

func (r *run) runBench(c *urfave.Context) error {
	r.json = c.Bool("json")
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	o, err := r.modelOptions(c)
	if err != nil {
		return err
	}
	size, runs := c.Int("size"), c.Int("runs")
	var problems []problem
	if c.IsSet("size") && (size < 8 || size > sd.MaxSide || size%8 != 0) {
		problems = append(problems, problem{r.flagName("size"), fmt.Sprintf("%d, a multiple of 8 from 8 to %d wanted", size, sd.MaxSide)})
	}
	if runs < 1 || runs > maxRuns {
		problems = append(problems, problem{r.flagName("runs"), fmt.Sprintf("%d, 1 to %d wanted", runs, maxRuns)})
	}
	kind := c.String("random")
	if !fullsize.Known(kind) {
		problems = append(problems, problem{r.flagName("random"), fmt.Sprintf("%q, %s wanted", kind, fullsize.Kinds)})
	}
	if c.IsSet("random") && c.IsSet("model") {
		problems = append(problems, problem{r.flagName("random"), "not beside --model"})
	}
	if len(problems) > 0 {
		return usageProblems(problems)
	}
	model := c.String("model")
	if !c.IsSet("model") {
		if model, err = r.randomModel(c.Context, kind); err != nil {
			return err
		}
	}
	ways := []string{""}
	if c.Bool("plain") {
		ways = append(ways, "ggml")
	}
	results, size, err := r.measure(c.Context, model, o, ways, size, runs)
	if err != nil {
		return err
	}
	for i := range results {
		results[i].sum(c.Bool("profile"))
	}
	if r.json {
		return encodeJSON(r.out, struct {
			Model   string        `json:"model"`
			Size    int           `json:"size"`
			Threads int           `json:"threads"`
			Runs    int           `json:"runs"`
			Results []benchResult `json:"results"`
		}{results[0].model.Name(), size, results[0].model.Threads(), runs, results}, "")
	}
	return r.writeBench(results, size, runs)
}

// randomModel is a file of full size with random weights in the user's cache
// folder, made if it isn't there.
func (r *run) randomModel(ctx context.Context, kind string) (string, error) {
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
	fmt.Fprintf(r.err, "writing %s, a model with random weights, once\n", printable(path))
	return path, fullsize.Write(ctx, path, fullsize.Options{Arch: kind, Seed: 1})
}

// measure opens a model once for each way of computing and measures all of
// them in turns, so that whatever slows the machine down slows all of them. The
// models are closed when it returns.
func (r *run) measure(ctx context.Context, name string, o sd.Options, ways []string, size, runs int) ([]benchResult, int, error) {
	results := make([]benchResult, len(ways))
	for i, kernels := range ways {
		resetPeak()
		o.Kernels = kernels
		var err error
		if results[i].Kernels, err = sd.Kernels(kernels); err != nil {
			return nil, 0, err
		}
		start := time.Now()
		m, err := r.openModel(ctx, name, o)
		if err != nil {
			return nil, 0, err
		}
		defer m.Close()
		results[i].model, results[i].Load = m, seconds(time.Since(start))
		size = cmp.Or(size, m.NativeSize())
		start = time.Now()
		if _, err := m.Benchmark(ctx, size, size); err != nil {
			return nil, 0, err
		}
		results[i].First = seconds(time.Since(start))
		results[i].Peak = peakMemory()
	}
	for range runs {
		for i := range results {
			one, err := results[i].model.Benchmark(ctx, size, size)
			if err != nil {
				return nil, 0, err
			}
			results[i].all = append(results[i].all, one)
		}
	}
	return results, size, nil
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

func (r *run) writeBench(results []benchResult, size, runs int) error {
	first := results[0]
	fmt.Fprintf(r.out, "%s, %dx%d, %s, median of %d\n\n", printable(first.model.Name()), size, size, plural(first.model.Threads(), "thread"), runs)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	// Every row has every cell: tabwriter lines columns up over rows that touch.
	row := func(cells ...string) {
		if len(results) == 1 {
			cells = cells[:4]
		}
		fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
	}
	row("", "GFLOP", "seconds", "GFLOP/s", "ggml: seconds", "GFLOP/s", "times as long")
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
	fmt.Fprintln(r.out)
	for _, b := range results {
		fmt.Fprintf(r.out, "%s: opened in %.3f s, first pass in %.2f s", b.Kernels, b.Load, b.First)
		if b.Peak > 0 {
			fmt.Fprintf(r.out, ", peak memory %s", byteSize(b.Peak))
		}
		fmt.Fprintln(r.out)
	}
	return nil
}

// rate is GFLOP a second; nothing where no arithmetic is counted.
func rate(gflop, seconds float64) string {
	if gflop == 0 || seconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", gflop/seconds)
}

// resetPeak makes Linux forget the highest memory use so far.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peakMemory is the highest memory use since resetPeak, in bytes, where Linux
// tells it.
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
