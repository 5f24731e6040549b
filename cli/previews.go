package cli

import (
	"cmp"
	"image"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// defaultPreviewEvery is after how many steps a preview is made.
const defaultPreviewEvery = 2

// previewer shows the picture that is being drawn, in a file or on the terminal.
type previewer interface {
	Show(img *image.NRGBA) error
	Clear() // takes it off the terminal
}

// setPreviews makes what shows the previews that a request asks for, and those that
// --preview does; nil if there are none.
func setPreviews(p *program, f *flags, q *sd.Request) (previewer, error) {
	if q.TAESDPreviewOnly && !f.set("taesd") {
		return nil, report.Usagef("%s needs a tiny autoencoder: --taesd FILE names one", f.name("taesd-preview-only"))
	}
	if !f.set("preview") && !f.set("preview-every") {
		return nil, nil
	}
	q.PreviewEvery = cmp.Or(q.PreviewEvery, defaultPreviewEvery)
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
