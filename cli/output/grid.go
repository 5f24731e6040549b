package output

import (
	"fmt"
	"image"
	"image/draw"
	"strconv"
)

// maxPixels bounds contact sheets and animations: half a gigabyte of pixels.
const maxPixels = 1 << 27

// Grid is a contact sheet: pictures of one size, row by row, in one file with the
// parameters of the first, as AUTOMATIC1111 writes it.
type Grid struct {
	to             *Target
	columns, count int
	pictures       []Picture
}

// NewGrid makes a contact sheet for count pictures, which goes to a target for
// one.
func NewGrid(to *Target, columns, count int) *Grid {
	return &Grid{to: to, columns: columns, count: count}
}

// Check makes sure that pictures of a size make a sheet that fits in memory. Errors
// are an *[Error] whose name is the number of columns.
func (g *Grid) Check(width, height int) error {
	rows := (g.count + g.columns - 1) / g.columns
	if w, h := int64(width*g.columns), int64(height*rows); w > maxPixels || h > maxPixels || w*h > maxPixels {
		return &Error{Name: strconv.Itoa(g.columns), Wrong: true,
			Text: fmt.Sprintf("%d pictures of %dx%d make %dx%d pixels, which must be at most %d in all: try smaller or fewer pictures",
				g.count, width, height, w, h, maxPixels)}
	}
	return nil
}

// Put puts a picture on the sheet.
func (g *Grid) Put(p Picture) (string, error) {
	if size := p.Image.Rect.Size(); len(g.pictures) == 0 {
		if err := g.Check(size.X, size.Y); err != nil {
			return "", err
		}
	}
	g.pictures = append(g.pictures, p)
	return "", nil
}

// Finish writes the sheet, complete or not, if it has any pictures.
func (g *Grid) Finish(bool) (path string, pictures int, err error) {
	n := len(g.pictures)
	if n == 0 {
		return "", 0, nil
	}
	path, err = g.to.Put(Picture{Image: g.sheet(), Number: 1, Seed: g.pictures[0].Seed, Text: g.pictures[0].Text})
	if err != nil && !g.to.Stdout() {
		lost := "1 picture"
		if n > 1 {
			lost = fmt.Sprintf("%d pictures", n)
		}
		err = fmt.Errorf("%w; %s lost", err, lost)
	}
	return path, n, err
}

// sheet is the picture of all pictures; the places of those that are missing are
// black.
func (g *Grid) sheet() *image.NRGBA {
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
