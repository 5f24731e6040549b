package cli

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// What a request's fields are called, what they can be and what they mean is in the
// table of package job. Here it becomes flags, and flags become a request.

// requestFlags are the flags of a request that a command has, each followed by those
// that after has for it.
func requestFlags(c requests.Command, after map[string][]urfave.Flag) (all []urfave.Flag) {
	for _, f := range requests.FlagsFor(c) {
		if f.Kind == requests.KindSwitch {
			all = append(all, &urfave.BoolFlag{Name: f.Name, Usage: usageOf(f, c)})
		} else if isRepeated(f.Name) { // several are as good as a list
			all = append(all, &urfave.GenericFlag{Name: f.Name, Value: new(texts), Usage: usageOf(f, c)})
		} else {
			flag := &urfave.StringFlag{Name: f.Name, Usage: usageOf(f, c)} // package job reads the value
			if f.Short != "" {
				flag.Aliases = []string{f.Short}
			}
			all = append(all, flag)
		}
		all = append(all, after[f.Name]...)
	}
	return all
}

// isRepeated reports whether a flag may be given several times.
func isRepeated(name string) bool {
	return name == "lora" || name == "guide" || name == "edit" || name == "direction" || strings.HasPrefix(name, "control")
}

// usageOf is what help says about a flag of a request.
func usageOf(f requests.Flag, c requests.Command) string {
	text := f.Help
	switch {
	case f.Name == "hires-upscaler":
		text = "how the picture is enlarged: " + strings.Join(sd.Upscalers(), ", ") + ", or an ESRGAN file"
	case f.Name == "save-stages":
		text += ", as NAME-stage1.png …"
	case f.Name == "preview-every":
		text += "; without --preview it is shown on the terminal, if that is kitty, Ghostty, WezTerm or iTerm2"
		f.Default = fmt.Sprintf("%d, with --preview", defaultPreviewEvery)
	case f.Name == "input" && c == requests.Sample:
		text = "a picture to begin with, or to enlarge; - is standard input"
	case c == requests.Batch:
	case f.Name == "prompt":
		text += "; - reads it from standard input"
	case f.Name == "input":
		text += "; - is standard input"
	}
	var more []string
	if f.Range != "" && f.Kind != requests.KindText && !strings.HasPrefix(f.Range, "each ") {
		more = append(more, strings.ReplaceAll(f.Range, "the model's alignment (8)", "8"))
	}
	if f.Default != "" {
		more = append(more, "default: "+f.Default)
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, "; ") + ")"
	}
	if f.Arg != "" {
		text = "`" + f.Arg + "` " + text
	}
	return text
}

// newRequest makes the request of a command that draws, without its prompt: with its
// pictures, which open reads.
func newRequest(f *flags, c requests.Command, open opener) (sd.Request, error) {
	q := requests.Begin(c)
	wrong := problems{flags: f}
	for _, flag := range requests.FlagsFor(c) {
		if !f.set(flag.Name) || flag.Name == "prompt" || flag.Name == "class" { // of which there may be several
			continue
		}
		if err := requests.Set(&q, flag.Name, f.text(flag.Name)); err != nil {
			wrong.add(flag.Name, "%v", err)
		}
	}
	if columns := f.int("grid"); f.set("grid") && (columns < 1 || columns > sd.MaxCount) {
		wrong.add("grid", "must be 1 to %d columns, got %d", sd.MaxCount, columns)
	}
	if err := wrong.err(); err != nil {
		return q, err
	}
	if err := checkStages(f, q); err != nil {
		return q, err
	}
	return q, commandPictures(f, c, &q, open)
}

// checkStages checks that there are further passes whose pictures can be saved.
func checkStages(f *flags, q sd.Request) error {
	switch {
	case q.KeepStages && (f.set("grid") || f.string("output") == "-"):
		return report.Usagef("%s needs a file for each picture; it does not go with %s or %s -", f.name("save-each-stage"), f.name("grid"), f.name("output"))
	case !q.KeepHiresInput:
		return nil
	case len(q.Hires) == 0:
		return report.Usagef("%s needs a second pass: --hires 2x asks for one", f.name("save-stages"))
	case f.set("grid") || f.string("output") == "-":
		return report.Usagef("%s needs a file for each picture; it does not go with %s or %s -", f.name("save-stages"), f.name("grid"), f.name("output"))
	}
	return nil
}

// opener reads the picture that a flag names. Its errors begin with the name.
type opener func(name string) (image.Image, error)

// pictureFlags name the pictures that a request reads.
var pictureFlags = []string{"input", "mask"}

// commandPictures reads the pictures of a command that needs them. One from standard
// input has no name.
func commandPictures(f *flags, c requests.Command, q *sd.Request, open opener) error {
	switch {
	case c == requests.Sample && q.ImageFile != "":
		c = requests.Img2Img
	case c&(requests.Img2Img|requests.Inpaint) == 0:
		return nil
	}
	switch {
	case q.ImageFile == "":
		return report.Usagef("no picture: -i FILE names the initial one")
	case q.ImageFile == "-" && (f.string("prompt") == "-" || f.string("prompts") == "-"):
		return report.Usagef("%s - and the prompt both read standard input", f.name("input"))
	case q.ImageFile == "-" && q.MaskFile == "-":
		return report.Usagef("%s - and %s - both read standard input", f.name("input"), f.name("mask"))
	case c != requests.Inpaint:
	case f.set("mask") && f.set("canvas"):
		return report.Usagef("%s and %s both say what to paint; use one of them", f.name("mask"), f.name("canvas"))
	case !f.set("mask") && !f.set("canvas"):
		return report.Usagef("no mask: --mask FILE says what to repaint, in white (--canvas WxH paints around the picture)")
	}
	err := readPictures(q, open, f.name)
	for _, name := range []*string{&q.ImageFile, &q.MaskFile} {
		if *name == "-" {
			*name = ""
		}
	}
	return err
}

// readPictures reads the pictures that a request names. name is what a flag is called
// in errors.
func readPictures(q *sd.Request, open opener, name func(flag string) string) error {
	for _, p := range []struct {
		flag, file string
		to         *image.Image
	}{{"input", q.ImageFile, &q.Image}, {"mask", q.MaskFile, &q.Mask}} {
		if p.file == "" {
			continue
		}
		img, err := open(p.file)
		if err != nil {
			return fmt.Errorf("%s %w", name(p.flag), err)
		}
		*p.to = img
	}
	return nil
}

// requestError puts the problems of a request in terms of what set its fields; other
// errors stay as they are.
func requestError(name func(requests.Field) string, err error) error {
	var e *sd.RequestError
	if !errors.As(err, &e) {
		return err
	}
	all := make([]report.Problem, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = report.Problem{Flag: p.Field, Message: p.Text}
		if f, text, ok := requests.Blame(p); ok {
			all[i] = report.Problem{Flag: name(f), Message: text}
		}
	}
	return report.Usage(all...)
}

// field is the name of a request's field as the user wrote it.
func (f *flags) field(of requests.Field) string { return f.name(of.Flag) }

// isFileName distinguishes files from names of upscalers.
func isFileName(text string) bool {
	return text != "" && filepath.Base(text) != text || slices.Contains([]string{".pth", ".pt", ".safetensors", ".gguf", ".ckpt"}, strings.ToLower(filepath.Ext(text)))
}

// finalSize is the size that a request's stages make of a picture.
func finalSize(q sd.Request, width, height int) (int, int) {
	for _, s := range q.Hires {
		if s.Width > 0 {
			width, height = s.Width, s.Height
			continue
		}
		width, height = int(float64(width)*s.Scale), int(float64(height)*s.Scale)
	}
	return width, height
}
