package cli

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// notOfJobs are flags of the command line that no job may have.
var notOfJobs = []string{"model", "threads", "backend", "type", "prediction", "refiner", "taesd", "batch-size", "json", "quiet"}

// notOfBatches reports whether neither a batch nor its jobs have a flag of the other
// commands.
func notOfBatches(name string) bool {
	return name == "prompts" || name == "grid" || isPreviewFlag(name) && name != "taesd"
}

// notHashed are flags that a job's pictures don't depend on.
var notHashed = []string{"output", "threads", "backend", "batch-size", "model", "json", "quiet", "format", "quality"}

// jobMaker makes jobs from lines.
type jobMaker struct {
	folder   string  // for the pictures
	defaults []field // of the command line
	model    string  // its name, and what else of it pictures depend on
}

// newJobMaker takes the jobs' defaults from the flags of the command line.
func newJobMaker(f *flags, folder string, o sd.Options) jobMaker {
	m := jobMaker{folder: folder}
	for _, flag := range f.command.flags {
		if name := flag.Names()[0]; f.set(name) && name != "output" && name != "prompts" {
			m.defaults = append(m.defaults, field{name, f.text(name)})
		}
	}
	m.model = strings.Join([]string{filepath.Base(f.string("model")), o.Type, o.Prediction,
		filepath.Base(f.string("refiner")), filepath.Base(f.string("taesd"))}, "\x00")
	return m
}

// job is a line whose fields are known to be flags.
type job struct {
	line    jobLine
	flags   *flags
	fields  []field // the job's and, where it has none, the command line's
	to      *output.Target
	mark    string // follows the parameters in a file: tells whether the job is done
	request sd.Request
}

// job makes a job from a line: it finds the command and reads its flags.
func (m *jobMaker) job(line jobLine) (*job, error) {
	for _, f := range line.fields {
		if slices.Contains(notOfJobs, f.name) {
			return nil, fmt.Errorf("%q belongs on the command line: it is for all jobs", f.name)
		}
	}
	j := &job{line: line, fields: slices.Clone(line.fields)}
	for _, f := range m.defaults {
		if !line.set(f.name) && (!line.set("output") || f.name != "format") {
			j.fields = append(j.fields, f)
		}
	}
	if err := j.makeFlags(); err != nil {
		return nil, err
	}
	if !j.flags.set("prompt") {
		return nil, errors.New(`no "prompt": it says what to draw ("" is an empty one)`)
	}
	for _, name := range pictureFlags {
		if j.flags.string(name) == "-" {
			return nil, fmt.Errorf("%q: must be the name of a file", name)
		}
	}
	return j, j.setTarget(m.folder)
}

// makeFlags reads the job's fields as flags of the command that they are for.
func (j *job) makeFlags() error {
	set := jobLine{fields: j.fields}.set
	command := txt2imgCommand()
	switch {
	case set("mask"), set("canvas"):
		command = inpaintCommand()
	case set("input"):
		command = img2imgCommand()
	}
	typed := map[string]string{}
	var fields []field
	for _, f := range j.fields {
		own := j.line.set(f.name)
		flag := command.flag(f.name)
		if flag == nil && !own { // the command line's, for jobs of another command
			continue
		}
		if flag == nil || flag.Names()[0] != f.name || notOfBatches(f.name) {
			return wrongField(command, flag, f.name)
		}
		value, err := checkValue(flag, f.name, f.value)
		if err != nil {
			return err
		}
		if own {
			typed[f.name] = f.name
		}
		fields = append(fields, field{f.name, value})
	}
	f, err := newFlags(command, fields)
	if err != nil {
		return err
	}
	f.typed, j.flags = typed, f
	return nil
}

// wrongField says why a job can't have a field: flag is what the command has under
// its name, if anything.
func wrongField(c *command, flag urfave.Flag, name string) error {
	txt2img, img2img, inpaint := txt2imgCommand().flag(name) != nil, img2imgCommand().flag(name) != nil, inpaintCommand().flag(name) != nil
	switch {
	case flag == nil && txt2img && img2img:
		return fmt.Errorf("%q belongs to a job without a \"mask\" or a \"canvas\"", name)
	case flag == nil && txt2img:
		return fmt.Errorf("%q belongs to a job without an \"input\"", name)
	case flag == nil && inpaint:
		return fmt.Errorf("%q belongs to a job with a \"mask\" or a \"canvas\"", name)
	case flag == nil && img2img:
		return fmt.Errorf("%q belongs to a job with an \"input\" and no \"mask\"", name)
	case flag != nil && notOfBatches(name):
		return fmt.Errorf("%q is not for batches", name)
	}
	hint := strings.TrimLeft(urfave.SuggestFlag(c.flags, name, true), "-")
	if flag != nil { // by its short form
		hint = flag.Names()[0]
	}
	return fmt.Errorf("unknown field %q; did you mean %q? (the fields are the flags of sdgo %s --help)", name, hint, c.name)
}

// setTarget says where the job's pictures go.
func (j *job) setTarget(folder string) (err error) {
	if j.request, err = basicRequest(j.flags); err != nil {
		return err
	}
	name := j.flags.string("output")
	if !j.line.set("output") {
		format := picture.PNG
		if j.flags.set("format") {
			if format, err = picture.ParseFormat(j.flags.string("format")); err != nil {
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
		return fmt.Errorf("output %q: must be the name of a file, such as fox.png", name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
	}
	if j.to, err = output.New(name, picturesOf(j.request), nil); err != nil {
		return inFlag("output", err)
	}
	if j.to.Folder() {
		return fmt.Errorf("output %q: is a folder; must be the name of a file, such as fox.png", name)
	}
	if j.flags.set("quality") && !j.line.set("quality") && j.to.Format() != picture.JPEG {
		return nil // the command line's is for other jobs
	}
	return setFormat(j.flags, j.to, j.flags.string("prompt"), j.request.NegativePrompt)
}

// paths are the files that the job writes, with those before each pass.
func (j *job) paths() (all []string) {
	q, passes := j.request, 0
	if _, err := setHires(j.flags, &q); err == nil && q.KeepHiresInput {
		passes = len(q.Hires)
	}
	for _, path := range j.to.Paths() {
		all = append(all, path)
		for i := range passes {
			all = append(all, output.StagePath(path, i+1))
		}
	}
	return all
}

// sources are the pictures that the job reads.
func (j *job) sources() (all []string) {
	for _, name := range pictureFlags {
		if path := j.flags.string(name); path != "" {
			all = append(all, path)
		}
	}
	return all
}

// makeRequest makes the whole request, with its pictures and networks.
func (j *job) makeRequest(n *networks, open opener) error {
	q, err := newRequest(j.flags, open)
	if err != nil {
		return err
	}
	upscalers, err := setHires(j.flags, &q)
	if err != nil {
		return err
	}
	if err := n.attach(&q, upscalers, "hires-upscaler"); err != nil {
		return err
	}
	q.Prompt = j.flags.string("prompt")
	j.request = q
	return nil
}

// hash makes the mark: of everything that the pictures depend on.
func (j *job) hash(model string) error {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", j.flags.command.name, model)
	slices.SortFunc(j.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	for _, f := range j.fields {
		if !slices.Contains(notHashed, f.name) {
			fmt.Fprintf(h, "%s\x00%s\x00", f.name, f.value)
		}
	}
	for _, name := range pictureFlags {
		path := j.flags.string(name)
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err == nil {
			_, err = io.Copy(h, f)
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", name, path, output.Cause(err))
		}
	}
	j.mark = fmt.Sprintf(", Job hash: %x", h.Sum(nil)[:8])
	return nil
}

// there reports whether all of the job's pictures exist as the job would draw them.
func (j *job) there() bool {
	return !slices.ContainsFunc(j.paths(), func(path string) bool { return !isMarked(path, j.mark) })
}

// isMarked reports whether a picture's parameters end in a mark.
func isMarked(path, mark string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	facts, err := picture.ReadFacts(f)
	return err == nil && slices.ContainsFunc(facts.Texts, func(t pngtext.Text) bool {
		return t.Keyword == picture.Keyword && strings.HasSuffix(t.Value, mark)
	})
}

// openPicture reads a picture's file.
func openPicture(name string) (image.Image, error) { return picture.Open(name) }

// probe checks the header of a picture's file. It returns a small white picture
// instead of reading the whole file.
func probe(name string) (image.Image, error) {
	if err := picture.Probe(name); err != nil {
		return nil, err
	}
	white := image.NewGray(image.Rect(0, 0, 8, 8))
	draw.Draw(white, white.Rect, image.White, image.Point{}, draw.Src)
	return white, nil
}
