package cli

import (
	"cmp"
	"fmt"
	"image"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// defaultPreviewEvery is after how many steps a preview is made.
const defaultPreviewEvery = 2

// previewFlags ask for previews, and for a tiny autoencoder.
func previewFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "taesd", Usage: "`FILE` a tiny autoencoder that decodes the pictures, and previews, in a fraction of the time"},
		&urfave.BoolFlag{Name: "taesd-preview-only", Usage: "use it for previews only"},
		&urfave.StringFlag{Name: "preview", Usage: "`FILE` keep a preview of the picture in progress there"},
		&urfave.IntFlag{Name: "preview-every", Usage: fmt.Sprintf("`N` a preview after every N steps (default: %d); without --preview it is shown on the terminal, if that is kitty, Ghostty, WezTerm or iTerm2", defaultPreviewEvery)},
	}
}

// isPreviewFlag reports whether a flag is one of previewFlags.
func isPreviewFlag(name string) bool {
	for _, f := range previewFlags() {
		if f.Names()[0] == name {
			return true
		}
	}
	return false
}

// previewer shows the picture that is being drawn, in a file or on the terminal.
type previewer interface {
	Show(img *image.NRGBA) error
	Clear() // takes it off the terminal
}

// setPreviews puts the flags of previewFlags into a request. The previewer is nil
// if none is asked for.
func setPreviews(p *program, f *flags, q *sd.Request) (previewer, error) {
	q.TAESDPreviewOnly = f.bool("taesd-preview-only")
	if q.TAESDPreviewOnly && !f.set("taesd") {
		return nil, report.Usagef("%s needs a tiny autoencoder: --taesd FILE names one", f.name("taesd-preview-only"))
	}
	if f.set("taesd") && f.string("taesd") == "" {
		return nil, f.problem("taesd", "must be the name of a file")
	}
	if !f.set("preview") && !f.set("preview-every") {
		return nil, nil
	}
	q.PreviewEvery = cmp.Or(f.int("preview-every"), defaultPreviewEvery)
	if n := f.int("preview-every"); f.set("preview-every") && (n < 1 || n > sd.MaxSteps) {
		return nil, f.problem("preview-every", "must be 1 to %d, got %d", sd.MaxSteps, n)
	}
	if f.set("preview") {
		file, err := output.NewPreview(f.string("preview"))
		if err != nil {
			return nil, inFlag(f.name("preview"), err)
		}
		return file, nil
	}
	protocol := report.TerminalProtocol(p.getenv)
	if protocol == "" || !p.stderrIsTerminal || f.events() || f.bool("quiet") {
		return nil, report.Usagef("%s: the terminal must be one that shows pictures (kitty, Ghostty, WezTerm or iTerm2); --preview FILE writes them to a file",
			f.name("preview-every"))
	}
	return report.NewInline(p.stderr, protocol), nil
}
