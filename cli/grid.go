package cli

import (
	"fmt"
	"image"
	"image/draw"
	"io"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// maxGridPixels bounds a contact sheet: half a gigabyte of pixels.
const maxGridPixels = 1 << 27

// grid is a contact sheet of pictures of one size, row by row.
type grid struct {
	columns, count int
	pictures       []sd.Image
}

// check makes sure that pictures of one size give a sheet that can be kept.
func (g *grid) check(flag string, width, height int) error {
	rows := (g.count + g.columns - 1) / g.columns
	if w, h := int64(width*g.columns), int64(height*rows); w > maxGridPixels || h > maxGridPixels || w*h > maxGridPixels {
		return usagef("%s %d: %d pictures of %dx%d make %dx%d pixels, at most %d in all wanted: smaller or fewer pictures",
			flag, g.columns, g.count, width, height, w, h, maxGridPixels)
	}
	return nil
}

// image is the sheet so far; places of pictures that are missing are black.
func (g *grid) image() *image.NRGBA {
	size := g.pictures[0].Image.Bounds().Size()
	columns := min(g.columns, len(g.pictures))
	rows := (len(g.pictures) + columns - 1) / columns
	sheet := image.NewNRGBA(image.Rect(0, 0, columns*size.X, rows*size.Y))
	draw.Draw(sheet, sheet.Rect, image.Black, image.Point{}, draw.Src)
	for i, p := range g.pictures {
		at := image.Pt(i%columns*size.X, i/columns*size.Y)
		draw.Draw(sheet, image.Rectangle{at, at.Add(size)}, p.Image, p.Image.Rect.Min, draw.Src)
	}
	return sheet
}

// encode writes the sheet with the parameters of its first picture, as
// AUTOMATIC1111 does.
func (g *grid) encode(w io.Writer, to *target) error {
	return to.encode(w, g.image(), job.Text(g.pictures[0].Params, sd.Version))
}

// save writes the sheet, if it has any pictures, and returns its path.
func (r *run) saveGrid(g *grid, to *target) (path string, err error) {
	if to.name == "-" {
		return "-", g.encode(r.out, to)
	}
	path = to.path(1, g.pictures[0].Params.Seed)
	if err := writeFile(path, func(w io.Writer) error { return g.encode(w, to) }); err != nil {
		return "", fmt.Errorf("%w; %s lost", err, plural(len(g.pictures), "picture"))
	}
	return path, nil
}
