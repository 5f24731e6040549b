package cli

import (
	"fmt"
	"image"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// defaultColumns is how many pictures a trajectory, or a forward process, is shown in.
const defaultColumns = 8

// Bounds of a trajectory's sheet.
const (
	maxColumns     = 256
	maxTrajectory  = 64 // rows
	adaptiveFrames = 64 // that are kept of samplers that do not know how many steps they make
)

// trajectory collects how noise became pictures, for a contact sheet.
type trajectory struct {
	to      *output.Target
	columns int
	rows    [][]*image.NRGBA // of each picture
	report  func(error) error
}

// newTrajectory makes what --trajectory asks for, with a row for each picture, and asks
// for its previews; nil without.
func newTrajectory(p *program, f *flags, q *sd.Request, rows int) (*trajectory, error) {
	columns := f.int("trajectory-columns")
	switch {
	case !f.set("trajectory") && f.set("trajectory-columns"):
		return nil, report.Usagef("%s needs %s FILE", f.name("trajectory-columns"), f.name("trajectory"))
	case !f.set("trajectory"):
		return nil, nil
	case f.set("preview") || f.set("preview-every"):
		return nil, report.Usagef("%s does not go with %s and %s: it needs previews of its own", f.name("trajectory"), f.name("preview"), f.name("preview-every"))
	case columns < 1 || columns > maxColumns:
		return nil, f.problem("trajectory-columns", "must be 1 to %d, got %d", maxColumns, columns)
	case rows > maxTrajectory:
		return nil, f.problem("trajectory", "shows at most %d pictures, got %d", maxTrajectory, rows)
	}
	to, err := newTarget(p, f.name("trajectory"), f.string("trajectory"), 1)
	if err != nil {
		return nil, err
	}
	q.PreviewEvery, q.PreviewNoisy = 1, true
	return &trajectory{to: to, columns: columns, rows: make([][]*image.NRGBA, rows), report: func(err error) error { return inFlag(f.name("trajectory"), err) }}, nil
}

// checkPlace makes sure that the sheet has a file of its own.
func (t *trajectory) checkPlace(f *flags, pictures *output.Target) error {
	if t == nil {
		return nil
	}
	if t.to.Stdout() && pictures.Stdout() {
		return report.Usagef("%s - and %s - both write to standard output", f.name("trajectory"), f.name("output"))
	}
	var places output.Places[string]
	for _, path := range pictures.Paths() {
		places.Write(path, "output")
	}
	for _, path := range t.to.Paths() {
		if _, ok := places.Writer(path); ok {
			return report.Usagef("%s and %s both name %s", f.name("trajectory"), f.name("output"), path)
		}
	}
	return nil
}

// keep keeps a preview if it is one of those that are shown: as many as there are
// columns, evenly spread, the last one among them.
func (t *trajectory) keep(e sd.Event) {
	if t == nil || e.Stage != sd.StageSample || e.Preview == nil || e.Pass > 0 {
		return
	}
	row := &t.rows[e.Picture]
	switch {
	case e.Of == 0 && len(*row) < adaptiveFrames, e.Index*t.columns/max(e.Of, 1) > (e.Index-1)*t.columns/max(e.Of, 1):
		*row = append(*row, e.Preview)
	}
}

// finish writes the sheet, and returns its path and how many pictures are in it.
func (t *trajectory) finish() (path string, n int, err error) {
	if t == nil {
		return "", 0, nil
	}
	columns := 0
	for _, row := range t.rows {
		columns = max(columns, len(row))
	}
	grid := output.NewGrid(t.to, columns, columns*len(t.rows))
	for _, row := range t.rows {
		if len(row) == 0 {
			continue // was not begun
		}
		for i := range columns {
			picture := output.Picture{Image: row[min(i, len(row)-1)]}
			if _, err := grid.Put(picture); err != nil {
				return "", 0, t.report(fmt.Errorf("the sheet: %w", err))
			}
		}
	}
	path, n, err = grid.Finish(true)
	return path, n, err
}
