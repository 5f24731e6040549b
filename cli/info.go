package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

func infoCommand() *command {
	return &command{
		name:     "info",
		usage:    "says what a model is, or how a picture was made",
		synopsis: "info [--tensors] [-m MODEL] [--json] FILE",
		flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` say whether a LoRA goes with this model"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		run: runInfo,
		description: `
Examples:
  sdgo info sd15.safetensors
  sdgo info builtin:sdgo-emoji
  sdgo info --json out.webp
  sdgo info -m sd15.safetensors style.safetensors
  sdgo txt2img -q -m sd15.safetensors -p "a fox" -o - | sdgo info -`,
	}
}

func runInfo(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(1, "the file"); err != nil {
		return err
	}
	path := f.args[0]
	if strings.HasPrefix(path, sd.BuiltinPrefix) {
		m, err := sd.OpenWeights(path)
		return showModel(p, f, m, err)
	}
	facts, err := readPictureFacts(path, p.stdin)
	switch {
	case err == nil && f.bool("json"):
		return report.JSON(p.stdout, facts, "  ")
	case err == nil:
		return writePicture(p.stdout, facts)
	case !errors.Is(err, picture.ErrUnknown):
		return fmt.Errorf("%s: %w", path, output.Cause(err))
	case path == "-":
		return fmt.Errorf("standard input: %w; models are read from files", err)
	}
	m, err := convert.Load(path)
	return showModel(p, f, m, err)
}

// showModel writes what an open model is, and closes it.
func showModel(p *program, f *flags, m *convert.Model, err error) error {
	if err != nil {
		return err
	}
	defer m.Close()
	adapter, err := adapterFacts(m, f.string("model"))
	if err != nil {
		return err
	}
	if f.bool("json") {
		return report.JSON(p.stdout, modelJSON(m, adapter, f.bool("tensors")), "  ")
	}
	return writeModel(p.stdout, m, adapter, f.bool("tensors"))
}

// maxLines bounds what is shown of the texts of a picture, without --json.
const maxLines = 10_000

// pictureFacts are what a picture's file says about itself.
type pictureFacts struct {
	File   string            `json:"file"`
	Kind   string            `json:"kind"`   // "picture"
	Format picture.Format    `json:"format"` // "png", "jpeg" or "webp"
	Width  int               `json:"width"`
	Height int               `json:"height"`
	Texts  map[string]string `json:"texts"` // such as "parameters"

	// Broken are the errors of texts that cannot be read.
	Broken []string `json:"broken,omitempty"`

	// What the parameters say, as a job of sdgo batch, of which model, and what of them
	// is not understood.
	Program   string          `json:"program,omitempty"` // that wrote them, if they say
	Request   json.RawMessage `json:"request,omitempty"`
	Model     string          `json:"model,omitempty"`
	ModelHash string          `json:"model_hash,omitempty"`
	jsonParts
	Unread []jsonUnread `json:"unread,omitempty"`

	order []pngtext.Text
	said  *requests.Said // nil if nothing is
}

// jsonUnread is a setting that is in no request.
type jsonUnread struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Why   string `json:"why,omitempty"` // what is wrong with the value; "" of an unknown key
}

// readPictureFacts reads the header and the texts of a picture's file, and what is hidden
// in its pixels where there is no other text of how it was made. Anything that is no
// picture, such as a folder, is picture.ErrUnknown. The path "-" is standard input.
func readPictureFacts(path string, stdin io.Reader) (*pictureFacts, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, picture.ErrUnknown
		}
		in = f
	}
	var seen bytes.Buffer
	read := in
	if path == "-" {
		read = io.TeeReader(in, &seen)
	}
	f, err := picture.ReadFacts(read)
	if err != nil {
		return nil, err
	}
	p := &pictureFacts{File: path, Kind: "picture", Format: f.Format, Width: f.Width, Height: f.Height, Texts: map[string]string{}}
	for _, err := range f.Broken {
		p.Broken = append(p.Broken, err.Error())
	}
	said, err := requests.ReadFacts(f)
	if errors.Is(err, requests.ErrNoParameters) && picture.MayHide(f) {
		if path == "-" {
			in = io.MultiReader(&seen, in)
		} else if _, err := in.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		hidden, wrong := picture.ReadHidden(in)
		switch {
		case wrong == nil:
			f.Texts = append(f.Texts, hidden...)
			said, err = requests.ReadFacts(f)
		case !errors.Is(wrong, picture.ErrNothingHidden):
			p.Broken = append(p.Broken, wrong.Error())
		}
	}
	p.order = f.Texts
	for _, t := range f.Texts {
		p.Texts[t.Keyword] = t.Value
	}
	if !errors.Is(err, requests.ErrNoParameters) {
		p.setRequest(said, err)
	}
	return p, nil
}

// setRequest sets what the texts say.
func (p *pictureFacts) setRequest(said requests.Said, err error) {
	if err == nil {
		p.Request, err = requestJSON(said.Params.Request)
	}
	if err != nil {
		p.Unread = []jsonUnread{{Key: picture.Keyword, Why: err.Error()}}
		return
	}
	p.said = &said
	p.Program, p.Model, p.ModelHash = said.Program, said.Params.Model, said.Params.ModelHash
	p.jsonParts = jsonParts(said.Params.Parts)
	for _, u := range said.Unread {
		p.Unread = append(p.Unread, jsonUnread(u))
	}
}

// writePicture shows what a picture's file says: its texts, and then what they mean.
func writePicture(w io.Writer, p *pictureFacts) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\n", report.Printable(p.File))
	fmt.Fprintf(t, "picture\t%s, %dx%d\n", p.Format.Name(), p.Width, p.Height)
	for _, b := range p.Broken {
		fmt.Fprintf(t, "unreadable\t%s\n", report.Printable(b))
	}
	lines := 0
	for _, text := range p.order {
		name := report.Printable(text.Keyword)
		for line := range strings.Lines(text.Value + "\n") {
			if lines++; lines > maxLines {
				break
			}
			fmt.Fprintf(t, "%s\t%s\n", name, report.Printable(line))
			name = ""
		}
	}
	if lines > maxLines {
		fmt.Fprintf(t, "\t… (more than %d lines; --json has all)\n", maxLines)
	}
	if len(p.order) == 0 {
		fmt.Fprintln(t, "parameters\tnone")
	}
	if err := t.Flush(); err != nil || p.said == nil {
		return err
	}
	fmt.Fprintln(w)
	p.writeSaid(t)
	return t.Flush()
}

// writeSaid shows what a picture was made with, whichever program wrote it.
func (p *pictureFacts) writeSaid(t io.Writer) {
	show := func(name, value string) {
		if value = strings.TrimSpace(value); value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, report.Printable(strings.Join(strings.Fields(value), " ")))
		}
	}
	r := p.said.Params.Request
	show("made by", p.said.Program)
	show("prompt", r.Prompt)
	show("negative prompt", r.NegativePrompt)
	if p.said.HasSeed {
		show("seed", strconv.FormatInt(r.Seed, 10))
	}
	show("sampler", strings.TrimSpace(r.Sampler+" "+r.Schedule))
	if r.Steps > 0 {
		show("steps", strconv.Itoa(r.Steps))
	}
	if r.Guidance != nil {
		show("guidance", strconv.FormatFloat(*r.Guidance, 'g', -1, 64))
	}
	if r.Width > 0 && r.Height > 0 {
		show("size", fmt.Sprintf("%dx%d", r.Width, r.Height))
	}
	show("model", p.said.Params.Model)
	for _, u := range p.said.Unread {
		if u.Why != "" {
			show("not read", u.String())
		}
	}
}
