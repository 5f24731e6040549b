package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

func infoCommand() *command {
	return &command{
		name:     "info",
		usage:    "says what a model is, or how a picture was made",
		synopsis: "info [--tensors] [--json] FILE",
		flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		run: runInfo,
		description: `
Examples:
  sdgo info sd15.safetensors
  sdgo info --json out.webp
  sdgo txt2img -q -m sd15.safetensors -p "a fox" -o - | sdgo info -`,
	}
}

func runInfo(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(1, "the file"); err != nil {
		return err
	}
	path := f.args[0]
	facts, err := readPictureFacts(path, p.stdin)
	switch {
	case err == nil && f.bool("json"):
		facts.readRequest()
		return report.JSON(p.stdout, facts, "  ")
	case err == nil:
		return writePicture(p.stdout, facts)
	case !errors.Is(err, picture.ErrUnknown):
		return fmt.Errorf("%s: %w", path, output.Cause(err))
	case path == "-":
		return fmt.Errorf("standard input: %w; models are read from files", err)
	}
	m, err := convert.Load(path)
	if err != nil {
		return err
	}
	defer m.Close()
	if f.bool("json") {
		return report.JSON(p.stdout, modelJSON(m, f.bool("tensors")), "  ")
	}
	return writeModel(p.stdout, m, f.bool("tensors"))
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

	// What the parameters say, as a job of sdgo batch, of which model, and what of them
	// is not understood.
	Request   json.RawMessage `json:"request,omitempty"`
	Model     string          `json:"model,omitempty"`
	ModelHash string          `json:"model_hash,omitempty"`
	jsonParts
	Unread []jsonUnread `json:"unread,omitempty"`

	order []pngtext.Text
}

// jsonUnread is a setting that is in no request.
type jsonUnread struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Why   string `json:"why,omitempty"` // what is wrong with the value; "" of an unknown key
}

// readPictureFacts reads the header and the texts of a picture's file, but no
// pixels. Anything else, such as a folder, is picture.ErrUnknown. The path "-" is
// standard input.
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
	f, err := picture.ReadFacts(in)
	if err != nil {
		return nil, err
	}
	p := &pictureFacts{File: path, Kind: "picture", Format: f.Format, Width: f.Width, Height: f.Height, Texts: map[string]string{}, order: f.Texts}
	for _, t := range f.Texts {
		p.Texts[t.Keyword] = t.Value
	}
	return p, nil
}

// readRequest reads the parameters, if there are any.
func (p *pictureFacts) readRequest() {
	for _, t := range p.order {
		if t.Keyword != picture.Keyword {
			continue
		}
		params, unread, err := requests.ReadText(t.Value)
		if err == nil {
			p.Request, err = requestJSON(params.Request)
		}
		if err != nil {
			p.Unread = []jsonUnread{{Key: t.Keyword, Why: err.Error()}}
			return
		}
		p.Model, p.ModelHash, p.jsonParts = params.Model, params.ModelHash, jsonParts(params.Parts)
		for _, u := range unread {
			p.Unread = append(p.Unread, jsonUnread(u))
		}
		return
	}
}

// writePicture shows what a picture's file says.
func writePicture(w io.Writer, p *pictureFacts) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\n", report.Printable(p.File))
	fmt.Fprintf(t, "picture\t%s, %dx%d\n", p.Format.Name(), p.Width, p.Height)
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
	return t.Flush()
}
