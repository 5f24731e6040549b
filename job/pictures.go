package job

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sdgo/sdgo/sd/face"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
)

// Pictures says from where the pictures are read that a request names.
type Pictures struct {
	// Folder is what names are relative to; "" is the working directory.
	Folder string

	// Confined refuses names that lead out of Folder, by themselves or through links,
	// and whatever is no regular file. Without it a name may be any file's.
	Confined bool
}

// Read reads the pictures and the faces' vectors of a request that has their names and not them: Image of
// ImageFile, Mask of MaskFile. The error is a [*request.Error] with these fields.
func (p Pictures) Read(r *request.Request) error {
	var e request.Error
	type named struct {
		field, name string
		to          *image.Image
	}
	all := []named{{"ImageFile", r.ImageFile, &r.Image}, {"MaskFile", r.MaskFile, &r.Mask}}
	r.Controls = slices.Clone(r.Controls) // which requests may share
	for i := range r.Controls {
		all = append(all, named{fmt.Sprintf("Controls[%d].ImageFile", i), r.Controls[i].ImageFile, &r.Controls[i].Image})
	}
	r.Guides = slices.Clone(r.Guides)
	for i := range r.Guides {
		g := &r.Guides[i]
		all = append(all, named{fmt.Sprintf("Guides[%d].ImageFile", i), g.ImageFile, &g.Image}, named{fmt.Sprintf("Guides[%d].OfFile", i), g.OfFile, &g.Of})
	}
	for _, f := range all {
		if f.name == "" || *f.to != nil {
			continue
		}
		img, err := open(p, f.name, picture.Open, picture.Read)
		if err != nil {
			e.Add(f.field, "%v", err)
			continue
		}
		*f.to = img
	}
	for i := range r.Controls {
		c := &r.Controls[i]
		if c.FaceFile == "" || len(c.Face) > 0 {
			continue
		}
		var err error
		if c.Face, err = open(p, c.FaceFile, face.Open, face.Read); err != nil {
			e.Add(fmt.Sprintf("Controls[%d].FaceFile", i), "%v", err)
		}
	}
	return e.Err()
}

// open reads a file, of a name or what is open of it.
func open[T any](p Pictures, name string, named func(string) (T, error), read func(io.Reader) (T, error)) (of T, err error) {
	if !p.Confined {
		if p.Folder != "" && !filepath.IsAbs(name) {
			name = filepath.Join(p.Folder, name)
		}
		return named(name)
	}
	f, err := p.openConfined(name)
	if err == nil {
		defer f.Close()
		of, err = read(f)
	}
	if err != nil {
		return of, fmt.Errorf("%.80q: %w", name, err)
	}
	return of, nil
}

// openConfined opens a file that is in the folder for sure, whoever changes the folder
// meanwhile.
func (p Pictures) openConfined(name string) (*os.File, error) {
	folder := p.Folder
	if folder == "" {
		folder = "."
	}
	if !filepath.IsLocal(name) {
		return nil, errors.New("leads out of the folder that pictures are read from")
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder that pictures are read from cannot be opened: %w", withoutPath(err))
	}
	defer root.Close()
	info, err := root.Stat(name) // opening a pipe would wait
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("must be a regular file")
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	return f, nil
}

// withoutPath leaves out a name that the caller knows, and the folder's, which is
// nobody's business.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
