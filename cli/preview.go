package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"strings"

	"github.com/disintegration/imaging"
	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

// defaultPreviewEvery is after how many steps a preview is made.
const defaultPreviewEvery = 2

// previewFlags ask for previews, and for a tiny autoencoder.
func previewFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "taesd", Usage: "`FILE` a tiny autoencoder that decodes the pictures, and previews, in a fraction of the time"},
		&urfave.BoolFlag{Name: "taesd-preview-only", Usage: "it decodes previews alone"},
		&urfave.StringFlag{Name: "preview", Usage: "`FILE` keep a preview of the picture that is being drawn there"},
		&urfave.IntFlag{Name: "preview-every", Usage: fmt.Sprintf("`N` a preview after every N steps (default: %d); without --preview it is shown on the terminal, if that is kitty, Ghostty, WezTerm or iTerm2", defaultPreviewEvery)},
	}
}

// previewer shows previews, in a file or on the terminal.
type previewer struct {
	path     string
	options  picture.Options
	terminal *inline // nil without one
}

// previews puts the flags of previewFlags into a request. The previewer is nil
// where none are wanted.
func (r *run) previews(c *urfave.Context, q *sd.Request) (*previewer, error) {
	if findFlag(c.Command, "preview") == nil {
		return nil, nil
	}
	q.TAESDPreviewOnly = c.Bool("taesd-preview-only")
	if q.TAESDPreviewOnly && !c.IsSet("taesd") {
		return nil, usagef("%s without a tiny autoencoder: --taesd FILE names one", r.flagName("taesd-preview-only"))
	}
	if c.IsSet("taesd") && c.String("taesd") == "" {
		return nil, usageProblems([]problem{{r.flagName("taesd"), "the name of a file is wanted"}})
	}
	if !c.IsSet("preview") && !c.IsSet("preview-every") {
		return nil, nil
	}
	q.PreviewEvery = cmp.Or(c.Int("preview-every"), defaultPreviewEvery)
	if c.IsSet("preview-every") && (c.Int("preview-every") < 1 || q.PreviewEvery > sd.MaxSteps) {
		return nil, usageProblems([]problem{{r.flagName("preview-every"), fmt.Sprintf("%d, 1 to %d wanted", c.Int("preview-every"), sd.MaxSteps)}})
	}
	p := &previewer{path: c.String("preview")}
	if c.IsSet("preview") {
		format, known := picture.FormatOf(p.path)
		if !known {
			return nil, usagef("%s %s: pictures are written as .png, .jpg or .webp", r.flagName("preview"), p.path)
		}
		p.options.Format = format
		return p, checkFolder(r.flagName("preview"), p.path)
	}
	protocol := terminalPictures(os.Getenv)
	if protocol == "" || !isTerminal(r.err) || r.json || c.Bool("quiet") {
		return nil, usagef("%s: there is no terminal that shows pictures here (kitty, Ghostty, WezTerm and iTerm2 do); --preview FILE writes them to a file",
			r.flagName("preview-every"))
	}
	p.terminal = &inline{w: r.err, protocol: protocol}
	return p, nil
}

// openTAESD opens the tiny autoencoder of a drawing, if it wants one. The
// function that it returns closes it.
func (r *run) openTAESD(ctx context.Context, m *sd.Model, file string, q *sd.Request, o sd.Options) (func(), error) {
	if file == "" {
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return func() {}, context.Cause(ctx)
	}
	o.Type, o.Prediction = "", ""
	t, err := sd.OpenTAESD(file, o)
	if err != nil {
		return func() {}, fmt.Errorf("%s %w", r.flagName("taesd"), err)
	}
	q.TAESD = t.Name()
	return func() { t.Close() }, m.Attach(t)
}

// previewSide is what the longer side of a preview in a file has at least,
// pixels.
const previewSide = 512

// show shows a preview, if there is one.
func (p *previewer) show(img *image.NRGBA) error {
	if p == nil || img == nil {
		return nil
	}
	if p.terminal != nil {
		return p.terminal.show(img)
	}
	if longer := max(img.Rect.Dx(), img.Rect.Dy()); longer < previewSide {
		n := (previewSide + longer - 1) / longer
		img = imaging.Resize(img, n*img.Rect.Dx(), n*img.Rect.Dy(), imaging.Linear)
	}
	return writeFile(p.path, func(w io.Writer) error { return picture.Encode(w, img, p.options) })
}

// clear wipes a preview off the terminal.
func (p *previewer) clear() {
	if p != nil && p.terminal != nil {
		p.terminal.clear()
	}
}

// Protocols for pictures on terminals.
const (
	kitty  = "kitty"  // sw.kovidgoyal.net/kitty/graphics-protocol
	iTerm2 = "iTerm2" // iterm2.com/documentation-images.html
)

// terminalPictures tells from the environment how the terminal shows pictures;
// "" is not at all.
func terminalPictures(getenv func(string) string) string {
	program := getenv("TERM_PROGRAM")
	switch {
	case getenv("TMUX") != "" || strings.HasPrefix(getenv("TERM"), "screen"):
		return "" // these keep such sequences to themselves
	case getenv("KITTY_WINDOW_ID") != "" || getenv("TERM") == "xterm-kitty" || getenv("TERM") == "xterm-ghostty" || program == "ghostty":
		return kitty
	case program == "iTerm.app" || program == "WezTerm" || getenv("LC_TERMINAL") == "iTerm2":
		return iTerm2
	}
	return ""
}

// inlineRows is the height of a preview on a terminal, lines.
const inlineRows = 14

// inline shows a picture below the terminal's line of progress.
type inline struct {
	w        io.Writer
	protocol string
	shown    bool
}

// show replaces the picture. The cursor stays where it is.
func (t *inline) show(img *image.NRGBA) error {
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	var b bytes.Buffer
	if !t.shown { // make room, which may scroll
		b.WriteString(strings.Repeat("\n", inlineRows+1) + fmt.Sprintf("\x1b[%dA", inlineRows+1))
		t.shown = true
	}
	b.WriteString("\x1b7\x1b[1B\r") // remember the place, go to the line below
	data := base64.StdEncoding.EncodeToString(file.Bytes())
	if t.protocol == iTerm2 {
		fmt.Fprintf(&b, "\x1b]1337;File=inline=1;size=%d;height=%d;preserveAspectRatio=1:%s\a", file.Len(), inlineRows, data)
	} else {
		head := fmt.Sprintf("a=T,f=100,i=1,p=1,q=2,C=1,r=%d,", inlineRows)
		for more := 1; more == 1; head = "" {
			part := data[:min(4096, len(data))]
			if data = data[len(part):]; data == "" {
				more = 0
			}
			fmt.Fprintf(&b, "\x1b_G%sm=%d;%s\x1b\\", head, more, part)
		}
	}
	b.WriteString("\x1b8")
	_, err := t.w.Write(b.Bytes())
	return err
}

// clear takes the picture away, and all that is below the cursor.
func (t *inline) clear() {
	if !t.shown {
		return
	}
	t.shown = false
	if t.protocol == kitty {
		fmt.Fprint(t.w, "\x1b_Ga=d,d=I,i=1,q=2\x1b\\")
	}
	fmt.Fprint(t.w, "\x1b[J")
}

// isPreviewFlag reports whether a flag is one of previewFlags, which batch has
// none of.
func isPreviewFlag(name string) bool {
	for _, f := range previewFlags() {
		if f.Names()[0] == name {
			return true
		}
	}
	return false
}
