package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

func batchCommand() *command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FOLDER` for the pictures, created if it does not exist (default: the working directory)"},
		&urfave.StringFlag{Name: "prompts", Usage: "`FILE` instead of JOBS: each of its lines is a prompt; - is standard input"},
	}
	flags = append(flags, drawFlags(requests.Batch, map[string][]urfave.Flag{"prompt": nil, "negative": nil, "count": {batchSizeFlag()}})...)
	return &command{
		name:     "batch",
		usage:    "draws the jobs of a file, and continues where it was stopped",
		synopsis: "batch -m MODEL JOBS.jsonl [flags]",
		flags:    flags,
		run:      runBatch,
		events:   true,
		description: `
A job is a line: a JSON object whose fields are named like the flags of txt2img, img2img and inpaint, such as the request
that sdgo info --json shows of a picture. Flags given here apply to every job that does not say otherwise.

Examples:
  sdgo batch -m sd15.safetensors jobs.jsonl -o pictures
  sdgo batch -m sd15.safetensors --prompts list.txt -s 1 --steps 30 --format webp`,
	}
}

// batch is a run of the command.
type batch struct {
	jobs     jobMaker
	lines    []jobLine
	networks *networks
	report   report.Reporter
	names    io.Writer
	now      func() time.Time
	start    time.Time

	skipped, finished, failed, images int
	first                             error // the first failure
	spent                             sd.Result
}

// runBatch checks every job before any work begins.
func runBatch(ctx context.Context, p *program, f *flags) error {
	b := batch{names: p.names(f), now: p.now, start: p.now()}
	var err error
	if b.lines, err = readLines(p, f); err != nil {
		return err
	}
	o, err := drawOptions(p, f)
	if err != nil {
		return err
	}
	folder := f.string("output")
	if err := os.Mkdir(folder, 0o777); err == nil {
		defer os.Remove(folder) // if it stays empty
	} else if folder != "" && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: the folder %s cannot be created: %w", f.name("output"), folder, output.Cause(err))
	}
	b.jobs = newJobMaker(f, folder, o)
	if err := checkLines(b.lines, b.checkPlaces()); err != nil {
		return err
	}
	if b.networks, err = openNetworks(ctx, f, o); err != nil {
		return err
	}
	defer b.networks.close()
	if err := b.openOthers(ctx, f); err != nil {
		return err
	}
	load := p.since(b.start)
	if err := checkLines(b.lines, func(line jobLine) error { return b.checkRequest(ctx, line) }); err != nil {
		return err
	}
	b.report = p.reporter(f)
	defer b.report.Close()
	m := b.networks.model
	b.report.Loaded(report.Load{Model: m.Name(), Threads: m.Threads(), Seconds: report.Seconds(load)})
	return b.runAll(ctx, max(1, o.Batch), load)
}

// readLines reads the jobs: those of a file of jobs, or one for each prompt.
func readLines(p *program, f *flags) ([]jobLine, error) {
	if !f.set("prompts") {
		if err := f.arguments(1, "the file of jobs"); err != nil {
			return nil, err
		}
		return readJobs(f.args[0], p.stdin)
	}
	if err := f.arguments(0, ""); err != nil {
		return nil, err
	}
	return readPromptFile(f.name("prompts"), f.string("prompts"), p.stdin)
}

// checkLines checks every job, and reports all that are wrong.
func checkLines(lines []jobLine, check func(jobLine) error) error {
	var bad lineErrors
	for _, line := range lines {
		if err := check(line); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", line, err))
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// checkPlaces checks the fields of jobs, one after the other, and that none of them
// writes what another one writes or any reads.
func (b *batch) checkPlaces() func(jobLine) error {
	var places output.Places[jobLine]
	return func(line jobLine) error {
		j, err := b.jobs.job(line)
		if err != nil {
			return err
		}
		for _, path := range j.sources() {
			places.Read(path, line)
			if other, ok := places.WriterOfSource(path); ok {
				return fmt.Errorf("%q: the job of line %d writes what this one reads", path, other.number)
			}
		}
		for _, path := range j.paths() {
			if other, ok := places.Writer(path); ok {
				return fmt.Errorf("output %q: the job of line %d writes it, too", path, other.number)
			}
			if other, ok := places.Reader(path); ok {
				return fmt.Errorf("output %q: the job of line %d reads it", path, other.number)
			}
			places.Write(path, line)
		}
		return nil
	}
}

// openOthers opens the ESRGAN networks and the stages that the command line names,
// which jobs may call by their names.
func (b *batch) openOthers(ctx context.Context, f *flags) error {
	if f.set("stages") {
		var q sd.Request
		if err := requests.Set(&q, "stages", f.string("stages")); err != nil {
			return f.problem("stages", "%v", err)
		}
		if err := b.networks.attach(ctx, &q, "", ""); err != nil {
			return err
		}
	}
	for file := range strings.SplitSeq(f.string("hires-upscaler"), ",") {
		if file = strings.TrimSpace(file); isFileName(file) {
			if _, err := b.networks.upscaler(ctx, file); err != nil {
				return fmt.Errorf("%s %w", f.name("hires-upscaler"), err)
			}
		}
	}
	return nil
}

// checkRequest checks a job with the model. Of its pictures' files only the headers
// are read.
func (b *batch) checkRequest(ctx context.Context, line jobLine) error {
	j, err := b.jobs.job(line)
	if err != nil {
		return err
	}
	q, err := j.whole(ctx, b.networks, probe)
	if err != nil {
		return err
	}
	return requestError(j.field, b.networks.model.Check(q))
}

// runAll draws what does not exist yet, n jobs at a time.
func (b *batch) runAll(ctx context.Context, n int, load time.Duration) error {
	for lines := range slices.Chunk(b.lines, n) {
		if err := b.runSome(ctx, lines); err != nil {
			b.report.Close()
			return report.Stopped(ctx, err, b.finished+b.skipped, len(b.lines), "job")
		}
	}
	b.report.Close()
	b.report.Done(report.Done{Images: b.images, Jobs: &report.Jobs{Done: b.finished, Skipped: b.skipped, Failed: b.failed},
		Timings: timings(load, b.spent, b.now().Sub(b.start))})
	if b.failed > 0 {
		return fmt.Errorf("%d of %s failed; the first: %v", b.failed, report.Plural(len(b.lines), "job"), b.first)
	}
	return nil
}

// runSome draws some jobs. A job that fails is reported; an error ends all.
func (b *batch) runSome(ctx context.Context, lines []jobLine) error {
	var jobs []*job
	var requests []sd.Request
	for _, line := range lines {
		j, there, err := b.prepare(ctx, line)
		switch {
		case err != nil:
			b.fail(line, err)
		case there:
			b.skipped++
			b.ended(report.Job{Line: line.number, State: report.JobSkipped})
		default:
			j.request.OnEvent = func(e sd.Event) error { return b.event(j, e) }
			jobs, requests = append(jobs, j), append(requests, j.request)
		}
	}
	return b.networks.model.GenerateAll(ctx, requests, func(i int, r *sd.Result, err error) error {
		addTimes(&b.spent, r)
		var damaged *convert.NotFiniteError
		switch {
		case err == nil:
			b.finished++
			b.ended(report.Job{Line: jobs[i].line.number, State: report.JobDone, Images: len(r.Images)})
		case ctx.Err() != nil, errors.As(err, &damaged): // no job could be done
			return err
		default:
			b.fail(jobs[i].line, requestError(jobs[i].field, err))
		}
		return nil
	})
}

// prepare makes a job's request, unless its pictures are there.
func (b *batch) prepare(ctx context.Context, line jobLine) (j *job, there bool, err error) {
	if j, err = b.jobs.job(line); err != nil {
		return nil, false, err
	}
	if err = j.hash(b.jobs.model); err != nil {
		return nil, false, err
	}
	if j.there() {
		return j, true, nil
	}
	if j.request, err = j.whole(ctx, b.networks, openPicture); err == nil {
		err = requestError(j.field, b.networks.model.Check(j.request))
	}
	return j, false, err
}

// fail reports that a job has failed.
func (b *batch) fail(line jobLine, err error) {
	err = fmt.Errorf("%s: %w", line, err)
	if b.first == nil {
		b.first = err
	}
	b.failed++
	b.ended(report.Job{Line: line.number, State: report.JobFailed, Message: report.Printable(err.Error())})
}

// ended reports that a job has ended.
func (b *batch) ended(j report.Job) {
	b.report.Job(j, report.JobsDone{Ended: b.skipped + b.finished + b.failed, Of: len(b.lines), Skipped: b.skipped, Elapsed: b.now().Sub(b.start)})
}

// put writes a picture. Another process that made the folder, and had nothing to put into
// it, may have removed it.
func (b *batch) put(j *job, p output.Picture) (string, error) {
	path, err := j.to.Put(p)
	if errors.Is(err, fs.ErrNotExist) && b.jobs.folder != "" && os.Mkdir(b.jobs.folder, 0o777) == nil {
		return j.to.Put(p)
	}
	return path, err
}

// event shows a job's progress and saves its pictures.
func (b *batch) event(j *job, e sd.Event) error {
	if e.Stage == sd.StageDraft {
		path, err := j.to.PutStage(pictureOf(e), e.Index)
		if err == nil {
			fmt.Fprintln(b.names, path)
		}
		return err
	}
	if e.Stage != sd.StageImage {
		e.Picture = j.line.number - 1
		b.report.Progress(progressReport(e))
		return nil
	}
	p := pictureOf(e)
	p.Text += j.mark
	path, err := b.put(j, p)
	if err != nil {
		return err
	}
	b.images++
	e.Picture, e.Of = j.line.number-1, len(b.lines)
	b.report.Saved(imageReport(e, path))
	fmt.Fprintln(b.names, path)
	return nil
}
