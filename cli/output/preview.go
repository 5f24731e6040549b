package output

import (
	"image"
	"io"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/picture"
)

// previewSide is the least that the longer side of a preview has, in pixels.
const previewSide = 512

// Preview is a file with the picture in progress, rewritten each time.
type Preview struct {
	path    string
	options picture.Options
}

// NewPreview makes sure that the file can be created; errors are an *[Error].
func NewPreview(path string) (*Preview, error) {
	format, known := picture.FormatOf(path)
	if !known {
		return nil, &Error{Name: path, Text: "must end in .png, .jpg or .webp", Wrong: true}
	}
	return &Preview{path, picture.Options{Format: format}}, CheckFolder(path)
}

// Path is the file.
func (p *Preview) Path() string { return p.path }

// Show writes the file. A small picture is enlarged by a whole number.
func (p *Preview) Show(img *image.NRGBA) error {
	if longer := max(img.Rect.Dx(), img.Rect.Dy()); longer < previewSide {
		n := (previewSide + longer - 1) / longer
		img = imaging.Resize(img, n*img.Rect.Dx(), n*img.Rect.Dy(), imaging.Linear)
	}
	return WriteFile(p.path, func(w io.Writer) error { return picture.Encode(w, img, p.options) })
}

// Clear leaves the file as it is.
func (p *Preview) Clear() {}
