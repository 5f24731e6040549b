package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sd/picture"
)

// target is where pictures go: what -o says.
//
//	out.png       one picture; several become out-1.png, out-2.png …
//	out-%03d.png  the picture's number in place of %03d
//	folder/       the picture's seed as its name; nothing is overwritten
//	out.jpg       JPEG, as .webp is WebP
//	-             standard output
type target struct {
	name    string
	count   int
	folder  bool
	options picture.Options // the format is that of the name's ending, else PNG
}

// numberVerb is the place of a picture's number in a name.
var numberVerb = regexp.MustCompile(`%(0[1-9])?d`)

// newTarget checks what -o says, written as flag, for count pictures. It
// creates nothing, but makes sure that files can be created.
func newTarget(flag, name string, count int, stdout io.Writer) (*target, error) {
	t := &target{name: name, count: count, options: picture.Options{Format: picture.PNG}}
	switch {
	case name == "-" && count > 1:
		return nil, usagef("%s -: one picture fits standard output, not %d", flag, count)
	case name == "-" && isTerminal(stdout):
		return nil, usagef("%s -: standard output is a terminal; redirect it, or name a file", flag)
	case name == "-":
		return t, nil
	case name == "":
		return nil, usagef("%s: a file name is wanted, such as out.png", flag)
	}
	format, known := picture.FormatOf(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() || os.IsPathSeparator(name[len(name)-1]) {
		t.folder = true
	} else if !known {
		return nil, usagef("%s %s: pictures are written as .png, .jpg or .webp: %s.png", flag, name, strings.TrimSuffix(name, filepath.Ext(name)))
	} else if t.options.Format = format; err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s: not a regular file", flag, name)
	}
	if err := checkFolder(flag, t.path(1, 0)); err != nil {
		return nil, err
	}
	return t, nil
}

// path is the file for a picture, counting from 1.
func (t *target) path(picture int, seed int64) string {
	if t.folder {
		for i := 1; ; i++ {
			name := strconv.FormatInt(seed, 10)
			if i > 1 {
				name += "-" + strconv.Itoa(i)
			}
			path := filepath.Join(t.name, name+t.options.Format.Extension())
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || i == 1<<20 {
				return path
			}
		}
	}
	folder, name := filepath.Split(t.name)
	if at := numberVerb.FindStringIndex(name); at != nil {
		return folder + name[:at[0]] + fmt.Sprintf(name[at[0]:at[1]], picture) + name[at[1]:]
	}
	if t.count == 1 {
		return t.name
	}
	ext := filepath.Ext(name)
	return folder + strings.TrimSuffix(name, ext) + "-" + strconv.Itoa(picture) + ext
}

// checkFolder makes sure that a file can be created at path, by creating
// another beside it for a moment.
func checkFolder(flag, path string) error {
	// Windows gives names like con.png to devices, and a:b.png to a stream of a.
	if name := filepath.Base(path); !filepath.IsLocal(name) {
		return usagef("%s %s: %s cannot be the name of a file on this system", flag, path, name)
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the folder %s does not exist", flag, folder)
	} else if err == nil && !info.IsDir() {
		return fmt.Errorf("%s: %s is not a folder", flag, folder)
	}
	replace.Sweep(folder)
	f, err := replace.Create(path)
	if err != nil {
		return fmt.Errorf("%s: no file can be created in the folder %s: %w", flag, folder, cause(err))
	}
	f.Discard()
	return nil
}

// writeFile creates the file at path with what write gives. There is never a
// part of a file at path: everything goes to a temporary file beside it, which
// is renamed when it is complete and on the disk, and removed when anything fails.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := replace.Create(path)
	if err == nil {
		defer f.Discard()
		err = write(f)
	}
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, cause(err))
	}
	return nil
}

// cause takes a file error's cause out of it: the temporary file's name would
// only confuse.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// placeOf is what a file to be written at path is called, however its folder is
// spelled.
func placeOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		folder = filepath.Dir(path)
	}
	path = filepath.Join(folder, filepath.Base(path))
	if runtime.GOOS == "windows" {
		return strings.ToLower(path) // A.png is a.png
	}
	return path
}

// placesRead are those of a file that is read at path: where it would be
// written, and where the file behind a symbolic link is.
func placesRead(path string) []string {
	places := []string{placeOf(path)}
	if file, err := filepath.EvalSymlinks(places[0]); err == nil && placeOf(file) != places[0] {
		places = append(places, placeOf(file))
	}
	return places
}
