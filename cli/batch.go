package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/convert"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// notOfJobs are flags of the command line that no job may have.
var notOfJobs = []string{"model", "threads", "backend", "type", "prediction", "refiner", "taesd", "batch-size", "json", "quiet"}

// notOfBatches reports whether a flag of the other commands is none of a
// batch's, nor of its jobs'.
func notOfBatches(name string) bool {
	return name == "prompts" || name == "grid" || isPreviewFlag(name) && name != "taesd"
}

func (r *run) batch() *urfave.Command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FOLDER` for the pictures, made if it is not there (default: the working directory)"},
		&urfave.StringFlag{Name: "prompts", Usage: "`FILE` in place of JOBS: each of its lines is a prompt; - is standard input"},
	}
	for _, f := range append(r.inpaint().Flags, hiresFlags()...) {
		if name := f.Names()[0]; name != "output" && !notOfBatches(name) {
			flags = append(flags, f)
		}
		if f, ok := f.(*urfave.Float64Flag); ok && f.Name == "strength" {
			f.Usage = strengthUsage("0.75, with a mask 1")
		}
	}
	return &urfave.Command{
		Name:      "batch",
		Usage:     "draws the jobs of a file, and goes on where it was stopped",
		UsageText: "batch -m MODEL JOBS.jsonl [flags]",
		HideHelp:  true,
		Flags:     flags,
		Action:    r.runBatch,
		Description: `
A job is a line: a JSON object whose fields are named like the flags of txt2img, img2img and inpaint. Flags given here
hold for every job that does not say otherwise.

Examples:
  sdgo batch -m sd15.safetensors jobs.jsonl -o pictures
  sdgo batch -m sd15.safetensors --prompts list.txt -s 1 --steps 30 --format webp`,
	}
}

// batchRun is one run of the command.
type batchRun struct {
	*run
	folder   string     // for the pictures
	defaults []jobField // flags of the command line
	model    string     // name, and what else of the model changes pictures
	m        *sd.Model
	refiner  *sd.Model
	taesd    string                // its name, attached to the model
	esrgan   map[string]*sd.ESRGAN // by their files
	options  sd.Options
	report   reporter
	start    time.Time

	paths, sources map[string]jobLine // which job writes or reads a file

	jobs, skipped, finished, failed, images int
	spent                                   sd.Result
}

// runBatch checks every job before any work begins.
func (r *run) runBatch(c *urfave.Context) error {
	r.json = c.Bool("json")
	b := &batchRun{run: r, folder: c.String("output"), start: time.Now(), paths: map[string]jobLine{}, sources: map[string]jobLine{}}
	lines, err := b.lines(c)
	if err != nil {
		return err
	}
	o, err := r.drawOptions(c)
	if err != nil {
		return err
	}
	if err := os.Mkdir(b.folder, 0o777); err == nil {
		defer os.Remove(b.folder) // if it stays empty
	} else if b.folder != "" && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: the folder %s cannot be made: %w", b.flagName("output"), b.folder, cause(err))
	}
	for _, name := range c.LocalFlagNames() {
		if f := findFlag(c.Command, name); f.Names()[0] == name && name != "output" && name != "prompts" {
			b.defaults = append(b.defaults, jobField{name, fmt.Sprint(c.Value(name))})
		}
	}
	b.model = strings.Join([]string{filepath.Base(c.String("model")), o.Type, o.Prediction,
		filepath.Base(c.String("refiner")), filepath.Base(c.String("taesd"))}, "\x00")
	b.jobs = len(lines)
	if err := b.check(lines, b.checkFields); err != nil {
		return err
	}

	if b.m, err = r.openModel(c.Context, c.String("model"), o); err != nil {
		return err
	}
	defer b.m.Close()
	if name := c.String("refiner"); name != "" {
		if b.refiner, err = r.openModel(c.Context, name, o); err != nil {
			return err
		}
		defer b.refiner.Close()
		if err := b.m.Attach(b.refiner); err != nil {
			return err
		}
	}
	var tiny sd.Request
	closeTAESD, err := r.openTAESD(c.Context, b.m, c.String("taesd"), &tiny, o)
	if err != nil {
		return err
	}
	defer closeTAESD()
	b.taesd, b.options, b.esrgan = tiny.TAESD, o, map[string]*sd.ESRGAN{}
	defer func() {
		for _, u := range b.esrgan {
			u.Close()
		}
	}()
	load := time.Since(b.start)
	if err := b.check(lines, b.checkRequest); err != nil {
		return err
	}
	b.report = r.newReporter(c.Bool("quiet"))
	defer b.report.close()
	b.report.loaded(b.m.Name(), b.m.Threads(), load)
	return b.runAll(c.Context, lines, max(1, o.Batch), load)
}

// lines are the jobs: those of a file of jobs, or one for each prompt.
func (b *batchRun) lines(c *urfave.Context) ([]jobLine, error) {
	if !c.IsSet("prompts") {
		if err := arguments(c, 1, "the file of jobs"); err != nil {
			return nil, err
		}
		return b.readJobs(c.Args().First())
	}
	if err := arguments(c, 0, ""); err != nil {
		return nil, err
	}
	return b.readPrompts(b.flagName("prompts"), c.String("prompts"))
}

// check checks every job, and reports all that cannot be.
func (b *batchRun) check(lines []jobLine, one func(jobLine) error) error {
	var bad lineErrors
	for _, j := range lines {
		if err := one(j); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", j, err))
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// checkFields checks a job's fields, and that no job writes what another writes
// or any reads.
func (b *batchRun) checkFields(j jobLine) error {
	job, err := b.arrange(j)
	if err != nil {
		return err
	}
	for _, path := range job.sources() {
		for _, place := range placesRead(path) {
			b.sources[place] = j
			if other, ok := b.paths[place]; ok {
				return fmt.Errorf("%q: the job of line %d writes what this one reads", path, other.number)
			}
		}
	}
	for _, path := range job.paths() {
		place := placeOf(path)
		if other, ok := b.paths[place]; ok {
			return fmt.Errorf("output %q: the job of line %d writes it, too", path, other.number)
		}
		if other, ok := b.sources[place]; ok {
			return fmt.Errorf("output %q: the job of line %d reads it", path, other.number)
		}
		b.paths[place] = j
	}
	return nil
}

// checkRequest checks a job with the model. Its pictures' files are looked at,
// but not read.
func (b *batchRun) checkRequest(j jobLine) error {
	job, err := b.arrange(j)
	if err == nil {
		job.run.open = probe
		err = job.makeRequest(b)
	}
	if err == nil {
		err = job.run.inFlags(b.m.Check(job.request), requestFlags)
	}
	return err
}

// runAll draws what is not there yet, n jobs at a time.
func (b *batchRun) runAll(ctx context.Context, lines []jobLine, n int, load time.Duration) error {
	var first error // failure
	for part := range slices.Chunk(lines, n) {
		if err := b.runSome(ctx, part, &first); err != nil {
			b.report.close()
			if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return &interrupted{fmt.Sprintf("%d of %s finished", b.finished+b.skipped, plural(b.jobs, "job"))}
			}
			return err
		}
	}
	b.report.close()
	t := timings{Load: seconds(load), Text: seconds(b.spent.Text), Encode: seconds(b.spent.Encode),
		Sample: seconds(b.spent.Sample), Decode: seconds(b.spent.Decode), Total: seconds(time.Since(b.start))}
	b.report.batchDone(b.images, batchCounts{b.finished, b.skipped, b.failed}, t)
	if b.failed > 0 {
		return fmt.Errorf("%d of %s failed; the first: %v", b.failed, plural(b.jobs, "job"), first)
	}
	return nil
}

// runSome draws some jobs. A job that fails is reported; an error ends all.
func (b *batchRun) runSome(ctx context.Context, lines []jobLine, first *error) error {
	fail := func(j jobLine, err error) {
		err = fmt.Errorf("%s: %w", j, err)
		if *first == nil {
			*first = err
		}
		b.failed++
		b.ended(jobEvent{"job", j.number, "failed", 0, printable(err.Error())})
	}
	var jobs []*batchJob
	var requests []sd.Request
	for _, j := range lines {
		job, err := b.arrange(j)
		if err == nil {
			err = job.hash(b)
		}
		if err == nil && job.there() {
			b.skipped++
			b.ended(jobEvent{"job", j.number, "skipped", 0, ""})
			continue
		}
		if err == nil {
			err = job.makeRequest(b)
		}
		if err == nil {
			err = job.run.inFlags(b.m.Check(job.request), requestFlags)
		}
		if err != nil {
			fail(j, err)
			continue
		}
		job.request.OnEvent = func(e sd.Event) error { return b.event(job, e) }
		jobs, requests = append(jobs, job), append(requests, job.request)
	}
	return b.m.GenerateAll(ctx, requests, func(i int, r *sd.Result, err error) error {
		b.spent.Text += r.Text
		b.spent.Encode += r.Encode
		b.spent.Sample += r.Sample
		b.spent.Decode += r.Decode
		var damaged *convert.NotFiniteError
		switch {
		case err == nil:
			b.finished++
			b.ended(jobEvent{"job", jobs[i].line.number, "done", len(r.Images), ""})
		case ctx.Err() != nil, errors.As(err, &damaged): // no job could be done
			return err
		default:
			fail(jobs[i].line, jobs[i].run.inFlags(err, requestFlags))
		}
		return nil
	})
}

// ended tells that a job is.
func (b *batchRun) ended(e jobEvent) {
	b.report.job(e, b.skipped+b.finished+b.failed, b.jobs, time.Since(b.start), b.skipped)
}

// event shows a job's progress and saves its pictures.
func (b *batchRun) event(job *batchJob, e sd.Event) error {
	if e.Stage == sd.StageDraft {
		return job.run.keepDraft(e, drawing{to: job.to})
	}
	number := e.Picture
	e.Picture = job.line.number - 1
	if e.Stage != sd.StageImage {
		b.report.progress(e)
		return nil
	}
	path := job.to.path(number+1, e.Image.Params.Seed)
	text := requests.Text(e.Image.Params, sd.Version) + job.mark
	err := writeFile(path, func(w io.Writer) error { return job.to.encode(w, e.Image.Image, text) })
	if err != nil {
		return err
	}
	b.images++
	e.Of = b.jobs
	b.report.saved(e, path)
	b.name(path)
	return nil
}
