package cli

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

// batchJob is a job whose fields are known to be flags.
type batchJob struct {
	line    jobLine
	run     *run // whose flags are the job's fields
	context *urfave.Context
	fields  []jobField // the job's and, where it has none, the command line's
	to      *target
	count   int
	mark    string // behind the parameters: tells a finished job
	request sd.Request
}

// arrange makes a job of a line: which command it is for, and its flags.
func (b *batchRun) arrange(line jobLine) (*batchJob, error) {
	j := &batchJob{line: line, run: &run{in: strings.NewReader(""), out: b.out, err: b.err, json: b.json, typed: map[string]string{}}}
	for _, f := range line.fields {
		if slices.Contains(notOfJobs, f.name) {
			return nil, fmt.Errorf("%q belongs on the command line: it holds for all jobs", f.name)
		}
	}
	j.fields = slices.Clone(line.fields)
	for _, f := range b.defaults {
		if !line.set(f.name) && (!line.set("output") || f.name != "format") {
			j.fields = append(j.fields, f)
		}
	}
	set := func(name string) bool { return jobLine{fields: j.fields}.set(name) }
	command := j.run.txt2img()
	switch {
	case set("mask"), set("canvas"):
		command = j.run.inpaint()
	case set("input"):
		command = j.run.img2img()
	}
	flags := flag.NewFlagSet(command.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, f := range command.Flags {
		if err := f.Apply(flags); err != nil {
			return nil, err
		}
	}
	for _, f := range j.fields {
		if err := j.setFlag(command, flags, f, line.set(f.name)); err != nil {
			return nil, err
		}
	}
	j.context = urfave.NewContext(&urfave.App{}, flags, nil)
	j.context.Command = command
	if !set("prompt") {
		return nil, errors.New(`no "prompt": it says what to draw ("" is an empty one)`)
	}
	for _, name := range pictureFlags {
		if j.context.String(name) == "-" {
			return nil, fmt.Errorf("%q: the name of a file is wanted", name)
		}
	}
	return j, j.target(b)
}

// setFlag sets a flag. own is whether the job itself has it: what the command
// line says is left out where the command has no such flag.
func (j *batchJob) setFlag(command *urfave.Command, flags *flag.FlagSet, f jobField, own bool) error {
	known := findFlag(command, f.name)
	switch {
	case known == nil && !own:
		return nil
	case known == nil && findFlag(j.run.txt2img(), f.name) != nil && findFlag(j.run.img2img(), f.name) != nil:
		return fmt.Errorf("%q belongs to a job without a \"mask\" or a \"canvas\"", f.name)
	case known == nil && findFlag(j.run.txt2img(), f.name) != nil:
		return fmt.Errorf("%q belongs to a job without an \"input\"", f.name)
	case known == nil && findFlag(j.run.inpaint(), f.name) != nil:
		return fmt.Errorf("%q belongs to a job with a \"mask\" or a \"canvas\"", f.name)
	case known == nil && findFlag(j.run.img2img(), f.name) != nil:
		return fmt.Errorf("%q belongs to a job with an \"input\" and no \"mask\"", f.name)
	case known != nil && notOfBatches(f.name):
		return fmt.Errorf("%q is not for batches", f.name)
	case known == nil || known.Names()[0] != f.name:
		hint := strings.TrimLeft(urfave.SuggestFlag(command.Flags, f.name, true), "-")
		if known != nil && known.Names()[0] != f.name { // a flag's short form
			hint = known.Names()[0]
		}
		return fmt.Errorf("unknown field %q; did you mean %q? (the fields are the flags of sdgo %s --help)", f.name, hint, command.Name)
	}
	value, err := checkValue(known, f.name, f.value, true)
	if err != nil {
		return err
	}
	if own {
		j.run.typed[f.name] = f.name
	}
	return flags.Set(f.name, value)
}

// target says where the job's pictures go, and that no other job's do.
func (j *batchJob) target(b *batchRun) (err error) {
	if j.request, err = j.run.request(j.context); err != nil {
		return err
	}
	j.count = max(1, j.request.Count)
	name := j.context.String("output")
	if !j.line.set("output") {
		format := picture.PNG
		if text := j.context.String("format"); j.context.IsSet("format") {
			if format, err = picture.ParseFormat(text); err != nil {
				return fmt.Errorf("format: %w", err)
			}
		}
		base := filepath.Base(j.line.file)
		if j.line.file == standardInput {
			base = "jobs"
		}
		name = fmt.Sprintf("%s-%04d%s", strings.TrimSuffix(base, filepath.Ext(base)), j.line.number, format.Extension())
	}
	if name == "" || name == "-" || os.IsPathSeparator(name[len(name)-1]) {
		return fmt.Errorf("output %q: the name of a file is wanted, such as fox.png", name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(b.folder, name)
	}
	if j.to, err = newTarget("output", name, j.count, nil); err != nil {
		return err
	}
	if j.to.folder {
		return fmt.Errorf("output %q: a folder; the name of a file is wanted, such as fox.png", name)
	}
	if j.context.IsSet("quality") && !j.line.set("quality") && j.to.options.Format != picture.JPEG {
		return nil // the command line's
	}
	return j.run.format(j.context, j.to, j.context.String("prompt"), j.request.NegativePrompt)
}

// paths are the files that the job gives, with those of its stages.
func (j *batchJob) paths() (all []string) {
	q, stages := j.request, 0
	if _, err := j.run.hires(j.context, &q); err == nil && q.KeepHiresInput {
		stages = len(q.Hires)
	}
	for i := range j.count {
		path := j.to.path(i+1, 0)
		all = append(all, path)
		for s := range stages {
			all = append(all, stagePath(path, s+1))
		}
	}
	return all
}

// sources are the pictures that the job reads.
func (j *batchJob) sources() (all []string) {
	for _, name := range pictureFlags {
		if path := j.context.String(name); path != "" {
			all = append(all, path)
		}
	}
	return all
}

// makeRequest makes the whole request, with its pictures and networks.
func (j *batchJob) makeRequest(b *batchRun) error {
	q, err := j.run.drawRequest(j.context)
	if err != nil {
		return err
	}
	files, err := j.run.hires(j.context, &q)
	if err != nil {
		return err
	}
	for i, file := range files {
		if file == "" {
			continue
		}
		u, err := b.openESRGAN(file)
		if err != nil {
			return err
		}
		q.Hires[i].Upscaler = u.Name()
	}
	q.Prompt, q.TAESD = j.context.String("prompt"), b.taesd
	if b.refiner != nil {
		q.Refiner = b.refiner.Name()
	}
	j.request = q
	return nil
}

// openESRGAN opens a network that enlarges pictures, once for all jobs.
func (b *batchRun) openESRGAN(file string) (*sd.ESRGAN, error) {
	if b.esrgan[file] != nil {
		return b.esrgan[file], nil
	}
	o := b.options
	o.Type, o.Prediction = "", ""
	u, err := sd.OpenESRGAN(file, o)
	if err != nil {
		return nil, fmt.Errorf("hires-upscaler %w", err)
	}
	b.esrgan[file] = u
	return u, b.m.Attach(u)
}

// hash makes the mark: of everything that the pictures depend on.
func (j *batchJob) hash(b *batchRun) error {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", j.context.Command.Name, b.model)
	slices.SortFunc(j.fields, func(a, b jobField) int { return strings.Compare(a.name, b.name) })
	for _, f := range j.fields {
		if slices.Contains([]string{"output", "threads", "backend", "batch-size", "model", "json", "quiet", "format", "quality"}, f.name) {
			continue
		}
		fmt.Fprintf(h, "%s\x00%s\x00", f.name, f.value)
	}
	for _, name := range pictureFlags {
		if path := j.context.String(name); path != "" {
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, path, cause(err))
			}
			_, err = io.Copy(h, f)
			f.Close()
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, path, cause(err))
			}
		}
	}
	j.mark = fmt.Sprintf(", Job hash: %x", h.Sum(nil)[:8])
	return nil
}

// there reports whether all of the job's pictures are, as the job would draw
// them.
func (j *batchJob) there() bool {
	return !slices.ContainsFunc(j.paths(), func(path string) bool {
		f, err := os.Open(path)
		if err != nil {
			return true
		}
		defer f.Close()
		facts, err := picture.ReadFacts(f)
		if err != nil {
			return true
		}
		for _, t := range facts.Texts {
			if t.Keyword == picture.Keyword && strings.HasSuffix(t.Value, j.mark) {
				return false
			}
		}
		return true
	})
}

// probe looks at a picture's file without reading the whole: a small white one
// stands for it.
func probe(name string) (image.Image, error) {
	if err := picture.Probe(name); err != nil {
		return nil, err
	}
	white := image.NewGray(image.Rect(0, 0, 8, 8))
	draw.Draw(white, white.Rect, image.White, image.Point{}, draw.Src)
	return white, nil
}
