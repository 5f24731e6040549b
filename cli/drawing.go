package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// drawing is what a command draws, and where the pictures go.
type drawing struct {
	requests []sd.Request
	options  sd.Options // of the model

	to    *output.Target        // single pictures
	sink  output.Sink           // takes the pictures; often it is to
	wrong func(err error) error // puts the sink's errors in terms of flags

	preview    previewer   // nil without one
	trajectory *trajectory // nil without one
	report     report.Reporter
	names      io.Writer // the names of files that were written
}

// pictures is their number.
func (d *drawing) pictures() (n int) {
	for _, q := range d.requests {
		n += picturesOf(q)
	}
	return n
}

// open opens the requests' networks.
func (d *drawing) open(ctx context.Context, f *flags) (*networks, error) {
	n, err := openNetworks(ctx, f, d.options)
	if err != nil {
		return nil, err
	}
	for i := range d.requests {
		if err == nil {
			err = n.attach(ctx, &d.requests[i], f.name("hires-upscaler"), f.name("lora"))
		}
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// fits checks that pictures of the size that the first request asks for fit the
// sink.
func (d *drawing) fits(m *sd.Model) error {
	q := d.requests[0]
	width, height := cmp.Or(q.Width, m.NativeSize()), cmp.Or(q.Height, m.NativeSize())
	return d.wrong(d.sink.Check(finalSize(q, width, height)))
}

// draw draws the requests with networks whose opening began at start. What is
// finished is kept, however it ends.
func (d *drawing) draw(ctx context.Context, p *program, n *networks, start time.Time) error {
	load := p.since(start)
	d.report.Loaded(report.Load{Model: n.model.Name(), Threads: n.model.Threads(), Seconds: report.Seconds(load)})
	if err := d.fits(n.model); err != nil {
		return err
	}
	finished, spent, err := d.generate(ctx, n.model)
	d.report.Close()
	d.clearPreview()
	path, pictures, problem := d.sink.Finish(err == nil)
	if problem != nil && err == nil {
		err = problem
	}
	if problem == nil && pictures > 0 {
		d.report.Sheet(report.Sheet{Images: pictures, Path: path})
		d.name(path)
	}
	if path, n, wrong := d.trajectory.finish(); wrong == nil && n > 0 {
		d.report.Sheet(report.Sheet{Images: n, Path: path})
		d.name(path)
	} else if err == nil {
		err = wrong
	}
	if err = report.Stopped(ctx, err, finished, d.pictures(), "picture"); err != nil {
		return err
	}
	d.report.Done(report.Done{Images: finished, Timings: timings(load, spent, p.since(start))})
	return nil
}

// generate draws the requests. It returns how many pictures there were, and the
// time that they took.
func (d *drawing) generate(ctx context.Context, m *sd.Model) (finished int, spent sd.Result, err error) {
	first := 0 // picture of the request
	for i := range d.requests {
		from := first
		d.requests[i].OnEvent = func(e sd.Event) error {
			e.Picture += from
			err := d.event(e)
			if err == nil && e.Stage == sd.StageImage {
				finished++
			}
			return err
		}
		first += picturesOf(d.requests[i])
	}
	err = m.GenerateAll(ctx, d.requests, func(_ int, result *sd.Result, err error) error {
		addTimes(&spent, result)
		return err
	})
	return finished, spent, err
}

// event shows progress, and keeps a picture as soon as it is finished.
func (d *drawing) event(e sd.Event) error {
	switch e.Stage {
	case sd.StageDraft:
		path, err := d.to.PutStage(pictureOf(e), e.Index)
		if err == nil {
			d.name(path)
		}
		return err
	case sd.StageImage:
		d.clearPreview()
		path, err := d.sink.Put(pictureOf(e))
		if err != nil {
			return d.wrong(err)
		}
		e.Of = d.pictures()
		d.report.Saved(imageReport(e, path))
		d.name(path)
		return nil
	}
	d.report.Progress(progressReport(e))
	d.trajectory.keep(e)
	if d.preview == nil || e.Preview == nil {
		return nil
	}
	return d.preview.Show(e.Preview)
}

func (d *drawing) clearPreview() {
	if d.preview != nil {
		d.preview.Clear()
	}
}

// name writes the name of a file for scripts.
func (d *drawing) name(path string) {
	if path != "" && path != "-" {
		fmt.Fprintln(d.names, path)
	}
}

// picturesOf is how many pictures a request gives.
func picturesOf(q sd.Request) int { return max(1, q.Count) }

// draftsOf are the numbers of the pictures that a request keeps as they are before a
// hires pass, and after these before a stage.
func draftsOf(q sd.Request) (all []int) {
	if q.KeepHiresInput {
		for i := range q.Hires {
			all = append(all, i+1)
		}
	}
	if q.KeepStages {
		for i := range q.Stages {
			all = append(all, len(q.Hires)+i+1)
		}
	}
	return all
}

// pictureOf is an event's picture for a sink.
func pictureOf(e sd.Event) output.Picture {
	return output.Picture{Image: e.Image.Image, Number: e.Picture + 1, Seed: uint64(e.Image.Params.Seed), Text: requests.Text(e.Image.Params, sd.Version)}
}

// progressReport is an event for a reporter.
func progressReport(e sd.Event) report.Progress {
	return report.Progress{Stage: report.Stage(e.Stage), Picture: e.Picture, Pass: e.Pass, Index: e.Index, Of: e.Of, Elapsed: e.Elapsed}
}

// imageReport is an event's picture, in a file or "", for a reporter.
func imageReport(e sd.Event, path string) report.Image {
	p, size := e.Image.Params, e.Image.Image.Rect.Size()
	return report.Image{Picture: e.Picture + 1, Of: e.Of, Path: path, Seed: uint64(p.Seed), Params: jsonParams{p},
		Width: size.X, Height: size.Y, Steps: p.Steps, Sampler: p.Sampler}
}

// addTimes adds the times of a request.
func addTimes(to, r *sd.Result) {
	to.Text += r.Text
	to.Encode += r.Encode
	to.Sample += r.Sample
	to.Decode += r.Decode
	for i, spent := range r.Stages {
		if i == len(to.Stages) {
			to.Stages = append(to.Stages, 0)
		}
		to.Stages[i] += spent
	}
}

// timings are times for a reporter.
func timings(load time.Duration, r sd.Result, total time.Duration) report.Timings {
	t := report.Timings{Load: report.Seconds(load), Text: report.Seconds(r.Text), Encode: report.Seconds(r.Encode),
		Sample: report.Seconds(r.Sample), Decode: report.Seconds(r.Decode), Total: report.Seconds(total)}
	for _, spent := range r.Stages {
		t.Stages = append(t.Stages, report.Seconds(spent))
	}
	return t
}
