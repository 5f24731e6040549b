package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/cli/output"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// notOfJobs are flags of the command line that no job may have, by their names in JSON.
var notOfJobs = []string{"model", "threads", "backend", "offload", "max_memory", "type", "precision", "fastest", "prediction", "batch_size", "lora_dir", "control_dir", "clip_vision", "embedding_dir", "json", "quiet"}

// notOfBatches are flags of the other commands that neither a batch nor its jobs have.
var notOfBatches = []string{"prompts", "grid", "preview", "preview_every", "taesd_preview_only"}

// ofNetworks are fields that name networks of the command line.
var ofNetworks = []string{"refiner", "taesd"}

// jobMaker makes jobs from lines.
type jobMaker struct {
	flags  *flags // of the command line, which hold for every job that does not say otherwise
	folder string // for the pictures
	model  string // its name, and what else of it pictures depend on
}

// newJobMaker takes the jobs' defaults from the flags of the command line.
func newJobMaker(f *flags, folder string, o sd.Options) jobMaker {
	m := jobMaker{flags: f, folder: folder}
	m.model = strings.Join([]string{filepath.Base(f.string("model")), o.Type, o.Prediction,
		filepath.Base(f.string("refiner")), filepath.Base(f.string("taesd"))}, "\x00")
	for _, part := range partNames() {
		if f.set(part) {
			m.model += "\x00" + part + "=" + filepath.Base(f.string(part))
		}
	}
	if o.Precision == sd.Fast {
		m.model += "\x00precision=" + o.Precision
	}
	if f.bool("fastest") {
		m.model += "\x00fastest"
	}
	return m
}

// job is a line whose members are known to be right.
type job struct {
	line    jobLine
	flags   *flags // of the command line
	output  string // "" without one of its own
	format  format
	to      *output.Target
	mark    string     // follows the parameters in a file: tells whether the job is done
	request sd.Request // whose pictures and networks are files yet
}

// job makes a job from a line.
func (m *jobMaker) job(line jobLine) (*job, error) {
	j := &job{line: line, flags: m.flags}
	members, err := j.places()
	if err != nil {
		return nil, err
	}
	if err := j.makeRequest(members); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		key  string
		name *string
	}{{"input", &j.request.ImageFile}, {"mask", &j.request.MaskFile}} {
		if *p.name == "-" {
			return nil, fmt.Errorf("%q: must be the name of a file", p.key)
		}
		if line.set(p.key) && line.file != standardInput && !filepath.IsAbs(*p.name) {
			*p.name = filepath.Join(filepath.Dir(line.file), *p.name)
		}
	}
	for i := range j.request.Adapters {
		name := &j.request.Adapters[i].Name
		if line.set("lora") && line.file != standardInput && isFileName(*name) && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(line.file), *name)
		}
	}
	for i := range j.request.Controls {
		c := &j.request.Controls[i]
		for _, p := range []struct {
			key  string
			name *string
			file bool
		}{{"control", &c.Name, isFileName(c.Name)}, {"control_image", &c.ImageFile, c.ImageFile != ""}, {"control_face", &c.FaceFile, c.FaceFile != ""}} {
			if (line.set(p.key) || line.set("control")) && p.file && line.file != standardInput && !filepath.IsAbs(*p.name) {
				*p.name = filepath.Join(filepath.Dir(line.file), *p.name)
			}
		}
	}
	for _, f := range guideFiles(&j.request) {
		if line.set(f.flag) && (f.picture || isFileName(*f.name)) && line.file != standardInput && !filepath.IsAbs(*f.name) {
			*f.name = filepath.Join(filepath.Dir(line.file), *f.name)
		}
	}
	return j, j.setTarget(m.folder)
}

// places takes the members that say where the pictures go, and returns the others.
func (j *job) places() (others []requests.Member, err error) {
	for _, m := range j.line.members {
		switch {
		case slices.Contains(notOfJobs, m.Key):
			return nil, fmt.Errorf("%q belongs on the command line: it is for all jobs", m.Key)
		case slices.Contains(notOfBatches, m.Key):
			return nil, fmt.Errorf("%q is not for batches", m.Key)
		case !slices.Contains([]string{"output", "format", "quality"}, m.Key):
			others = append(others, m)
		case string(m.Value) == "null":
		case m.Key == "quality":
			if json.Unmarshal(m.Value, &j.format.quality) != nil {
				return nil, fmt.Errorf("quality: must be a whole number, got %.40s", m.Value)
			}
		default:
			to := map[string]*string{"output": &j.output, "format": &j.format.name}[m.Key]
			if json.Unmarshal(m.Value, to) != nil || *to == "" {
				return nil, fmt.Errorf("%s: must be a text, got %.40s", m.Key, m.Value)
			}
		}
	}
	return others, nil
}

// has reports whether the job has what a flag of one word sets, of its own or from the
// command line.
func (j *job) has(flag string) bool { return j.line.set(flag) || j.flags.set(flag) }

// command is the command that would draw the job.
func (j *job) command() requests.Command {
	switch {
	case j.has("mask"), j.has("canvas"):
		return requests.Inpaint
	case j.has("input"):
		return requests.Img2Img
	}
	return requests.Txt2Img
}

// makeRequest makes the request of the flags of the command line that are for such a
// job, and of the job's own members.
func (j *job) makeRequest(members []requests.Member) error {
	c := j.command()
	q := requests.Begin(requests.Batch)
	// What passes there are is settled before what is said of them. A list of objects
	// says all.
	var sizes, others []requests.Member
	list := false
	for _, m := range members {
		if m.Key != "hires" && m.Key != "hires_size" {
			others = append(others, m)
			continue
		}
		list = list || len(m.Value) > 0 && m.Value[0] == '['
		sizes = append(sizes, m)
	}
	if list {
		sizes, others = nil, members
	}
	for _, f := range requests.Fields() {
		if own := j.line.set(f.Key) || f.Object != "" && j.line.set(f.Object); own && !allowed(f, c) {
			return wrongField(f, c)
		}
		ofSize := f.Path == "Hires.Scale" || f.Path == "Hires.Width"
		switch {
		case !j.flags.set(f.Flag) || !allowed(f, c) || f.List && list:
		case ofSize && len(sizes) > 0 || f.List && !ofSize && len(q.Hires) == 0:
		default:
			if err := requests.Set(&q, f.Flag, j.flags.text(f.Flag)); err != nil {
				return j.flags.problem(f.Flag, "%v", err)
			}
		}
		if f.Path == "Hires.Width" {
			if err := requests.Apply(&q, sizes); err != nil {
				return inKeys(err)
			}
		}
	}
	if err := requests.Apply(&q, others); err != nil {
		return inKeys(err)
	}
	j.request = q
	return j.complete(c)
}

// complete checks that all is there that the job needs.
func (j *job) complete(c requests.Command) error {
	q := &j.request
	switch {
	case j.line.prompt != nil:
		q.Prompt = *j.line.prompt
	case !j.has("prompt") && !j.has("class"):
		return errors.New(`no "prompt": it says what to draw ("" is an empty one); models that take none have a "class"`)
	}
	if c == requests.Inpaint {
		if q.ImageFile == "" {
			return errors.New(`no picture: "input" names the initial one`)
		}
		if q.Strength == nil { // as the command has it
			q.Strength = requests.Begin(c).Strength
		}
	}
	return nil
}

// inKeys are the problems of JSON, whose fields have the names that it gives them.
func inKeys(err error) error {
	var e *sd.RequestError
	if !errors.As(err, &e) {
		return err
	}
	return errors.New(e.Error())
}

// allowed reports whether a job of a command's kind can have a field. Those of batches
// alone are for all jobs.
func allowed(f requests.Field, c requests.Command) bool {
	const kinds = requests.Txt2Img | requests.Img2Img | requests.Inpaint
	return f.For&requests.Batch != 0 && (f.For&c != 0 || f.For&kinds == 0)
}

// wrongField says why a job cannot have a field.
func wrongField(f requests.Field, c requests.Command) error {
	switch {
	case c == requests.Inpaint && f.For&requests.Img2Img != 0:
		return fmt.Errorf("%q belongs to a job without a \"mask\" or a \"canvas\"", f.Key)
	case f.For&requests.Img2Img != 0:
		return fmt.Errorf("%q belongs to a job with an \"input\"", f.Key)
	}
	return fmt.Errorf("%q belongs to a job with a \"mask\" or a \"canvas\"", f.Key)
}

// setTarget says where the job's pictures go.
func (j *job) setTarget(folder string) (err error) {
	name := j.output
	if name == "" && j.format.name == "" {
		j.format.name = j.flags.string("format") // for its own name the command line's is not meant
	}
	own := j.format.quality != nil
	if !own && j.flags.set("quality") {
		n := j.flags.int("quality")
		j.format.quality = &n
	}
	if name == "" {
		kind := picture.PNG
		if j.format.name != "" {
			if kind, err = picture.ParseFormat(j.format.name); err != nil {
				return fmt.Errorf("format: %w", err)
			}
		}
		base := filepath.Base(j.line.file)
		if j.line.file == standardInput {
			base = "jobs"
		}
		name = fmt.Sprintf("%s-%04d%s", strings.TrimSuffix(base, filepath.Ext(base)), j.line.number, kind.Extension())
	}
	if name == "-" || os.IsPathSeparator(name[len(name)-1]) {
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
	if drafts := draftsOf(j.request); len(drafts) > 0 {
		if err := j.to.CheckStages(slices.Max(drafts)); err != nil {
			return inFlag("output", err)
		}
	}
	if !own && j.to.Format() != picture.JPEG {
		j.format.quality = nil // the command line's is for other jobs
	}
	return j.format.set(j.to, func(name string) string { return name }, j.request.Prompt, j.request.NegativePrompt)
}

// paths are the files that the job writes, with those before each pass.
func (j *job) paths() (all []string) {
	for _, path := range j.to.Paths() {
		all = append(all, path)
		for _, number := range draftsOf(j.request) {
			all = append(all, output.StagePath(path, number))
		}
	}
	return all
}

// sources are the pictures that the job reads.
func (j *job) sources() (all []string) {
	paths := []string{j.request.ImageFile, j.request.MaskFile}
	for _, c := range j.request.Controls {
		paths = append(paths, c.ImageFile, c.FaceFile)
	}
	q := j.request
	for _, f := range guideFiles(&q) {
		if f.picture {
			paths = append(paths, *f.name)
		}
	}
	for _, path := range paths {
		if path != "" {
			all = append(all, path)
		}
	}
	return all
}

// whole is the whole request, with its pictures and networks.
func (j *job) whole(ctx context.Context, n *networks, open opener) (sd.Request, error) {
	q := j.request
	if err := j.checkNetworks(n); err != nil {
		return q, err
	}
	if err := readPictures(&q, open, func(flag string) string { return flag }); err != nil {
		return q, err
	}
	refiner, taesd := q.Refiner, q.TAESD
	err := n.attach(ctx, &q, "hires_upscaler", "lora")
	if refiner == "" { // it may be without one
		q.Refiner = ""
	}
	if taesd == "" {
		q.TAESD = ""
	}
	return q, err
}

// checkNetworks checks that the networks that the job names are those of the command
// line, by their names or by their files.
func (j *job) checkNetworks(n *networks) error {
	for _, key := range ofNetworks {
		there, name := n.refiner != nil, j.request.Refiner
		if key == "taesd" {
			there, name = n.taesd != nil, j.request.TAESD
		}
		if !j.line.set(key) {
			continue
		}
		if !there {
			return fmt.Errorf("%q belongs on the command line, too: --%s FILE names its file", key, key)
		}
		have := n.taesd.Name()
		if key == "refiner" {
			have = n.refiner.Name()
		}
		if name != have && name != j.flags.string(key) {
			return fmt.Errorf("%s: must be that of the command line, %q, got %.80q", key, have, name)
		}
	}
	return nil
}

// field is the name of a request's field where the user wrote it: in the job, or on the
// command line.
func (j *job) field(f requests.Field) string {
	if !j.line.set(f.Key) && !(f.Object != "" && j.line.set(f.Object)) && j.flags.set(f.Flag) {
		return j.flags.name(f.Flag)
	}
	return f.Key
}

// hash makes the mark: of everything that the pictures depend on.
func (j *job) hash(model string) error {
	q := j.request
	for _, name := range []*string{&q.ImageFile, &q.MaskFile, &q.Refiner, &q.TAESD} {
		if *name != "" {
			*name = filepath.Base(*name) // the folder may move
		}
	}
	q.Stages = slices.Clone(q.Stages)
	for i, name := range q.Stages {
		q.Stages[i] = filepath.Base(name)
	}
	type source struct{ key, path string }
	sources := []source{{"input", j.request.ImageFile}, {"mask", j.request.MaskFile}}
	q.Controls = slices.Clone(q.Controls)
	for i, c := range q.Controls {
		sources = append(sources, source{"control_image", c.ImageFile})
		if q.Controls[i].Name = filepath.Base(c.Name); c.ImageFile != "" {
			q.Controls[i].ImageFile = filepath.Base(c.ImageFile)
		}
		if c.FaceFile != "" {
			sources = append(sources, source{"control_face", c.FaceFile})
			q.Controls[i].FaceFile = filepath.Base(c.FaceFile)
		}
	}
	for _, f := range guideFiles(&q) {
		if f.picture {
			sources = append(sources, source{f.flag, *f.name})
		}
		*f.name = filepath.Base(*f.name)
	}
	text, err := requestJSON(q)
	if err != nil {
		return inKeys(err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", model, text, q.Prompt, q.NegativePrompt)
	for _, p := range sources {
		if p.path == "" {
			continue
		}
		f, err := os.Open(p.path)
		if err == nil {
			_, err = io.Copy(h, f)
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", p.key, p.path, output.Cause(err))
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
