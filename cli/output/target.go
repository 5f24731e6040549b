package output

import (
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd/picture"
)

// Target says where pictures go, by a name:
//
//	out.png       one picture; several become out-1.png, out-2.png …
//	out-%03d.png  the picture's number in place of %03d
//	folder/       the picture's seed as its name; nothing is overwritten
//	out.jpg       JPEG, as .webp is WebP
//	-             standard output
//
// As a [Sink] it writes a file for each picture.
type Target struct {
	name    string
	count   int
	folder  bool
	stdout  io.Writer
	options picture.Options // the format is that of the name's ending, else PNG
	drafts  map[int]int     // in a folder: picture's number → which of its seed's names its drafts have
}

// numberVerb is the place of a picture's number in a name.
var numberVerb = regexp.MustCompile(`%(0[1-9])?d`)

// New makes the target that a name says, for count pictures. It creates nothing,
// but makes sure that files can be created; errors are an *[Error]. stdout is for
// the name "-".
func New(name string, count int, stdout io.Writer) (*Target, error) {
	t := &Target{name: name, count: count, stdout: stdout, options: picture.Options{Format: picture.PNG}}
	switch {
	case name == "-" && count > 1:
		return nil, &Error{Name: name, Text: fmt.Sprintf("standard output takes one picture, not %d", count), Wrong: true}
	case name == "-":
		return t, nil
	case name == "":
		return nil, &Error{Text: "must be a file name such as out.png", Wrong: true}
	}
	format, known := picture.FormatOf(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() || os.IsPathSeparator(name[len(name)-1]) {
		t.folder = true
	} else if !known {
		text := fmt.Sprintf("must end in .png, .jpg or .webp, such as %s.png", strings.TrimSuffix(name, filepath.Ext(name)))
		if filepath.Ext(name) == "" {
			text += ", or be a folder that exists"
		}
		return nil, &Error{Name: name, Wrong: true, Text: text}
	} else if err := checkRegular(name); err != nil {
		return nil, err
	} else {
		t.options.Format = format
	}
	for _, number := range []int{1, count} { // the last one has the longest name
		if err := CheckFolder(t.Path(number, 0)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// CheckStages makes sure that there can be files for pictures as they are before so many
// passes ([StagePath]); errors are an *[Error].
func (t *Target) CheckStages(passes int) error {
	return CheckFolder(StagePath(t.Path(t.count, 0), passes))
}

// NewFolder makes a target in a folder, which is not looked at. Its format is PNG.
func NewFolder(path string) *Target {
	return &Target{name: path, folder: true, options: picture.Options{Format: picture.PNG}}
}

// Name is the name that the target was made of.
func (t *Target) Name() string { return t.name }

// Folder reports whether pictures go to a folder, under their seeds.
func (t *Target) Folder() bool { return t.folder }

// Stdout reports whether the picture goes to standard output.
func (t *Target) Stdout() bool { return t.name == "-" && !t.folder }

// Path is the file for a picture, by its number, which counts from 1, or, in a
// folder, by its seed; there Put takes another one if this one exists.
func (t *Target) Path(number int, seed uint64) string {
	if t.Stdout() {
		return "-"
	}
	if t.folder {
		return t.ofSeed(seed, 1)
	}
	folder, name := filepath.Split(t.name)
	if at := numberVerb.FindStringIndex(name); at != nil {
		return folder + name[:at[0]] + fmt.Sprintf(name[at[0]:at[1]], number) + name[at[1]:]
	}
	if t.count == 1 {
		return t.name
	}
	ext := filepath.Ext(name)
	return folder + strings.TrimSuffix(name, ext) + "-" + strconv.Itoa(number) + ext
}

// ofSeed is the n-th name that a picture of a seed may have in a folder.
func (t *Target) ofSeed(seed uint64, n int) string {
	name := strconv.FormatUint(seed, 10)
	if n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return filepath.Join(t.name, name+t.Extension())
}

// Paths are the files of all pictures, as far as they are known before: those in a
// folder are not.
func (t *Target) Paths() (all []string) {
	for i := range t.count {
		if !t.folder && !t.Stdout() {
			all = append(all, t.Path(i+1, 0))
		}
	}
	return all
}

// StagePath is the file for a picture as it is before pass number stage, counting
// from 1, of the one that will be at path.
func StagePath(path string, stage int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-stage%d%s", strings.TrimSuffix(path, ext), stage, ext)
}

// Check fits any size: each picture has a file of its own.
func (t *Target) Check(int, int) error { return nil }

// Put writes a picture.
func (t *Target) Put(p Picture) (path string, err error) {
	if !t.folder {
		path = t.Path(p.Number, p.Seed)
		return path, t.Save(path, p.Image, p.Text)
	}
	// The first name that is free, from that of the picture's drafts on: others may
	// have taken names meanwhile.
	before := max(0, t.drafts[p.Number]-1)
	n, err := writeNew(func(n int) string { return t.ofSeed(p.Seed, before+n) }, func(w io.Writer) error { return t.encode(w, p.Image, p.Text) })
	delete(t.drafts, p.Number)
	return t.ofSeed(p.Seed, before+n), err
}

// PutStage writes a picture as it is before a pass, beside the file that the
// finished one will be in.
func (t *Target) PutStage(p Picture, stage int) (path string, err error) {
	if !t.folder {
		path = StagePath(t.Path(p.Number, p.Seed), stage)
		return path, t.Save(path, p.Image, p.Text)
	}
	first := max(1, t.drafts[p.Number])
	for stage == 1 && exists(t.ofSeed(p.Seed, first)) { // a finished picture of an earlier time
		first++
	}
	n, err := writeNew(func(n int) string { return StagePath(t.ofSeed(p.Seed, first-1+n), stage) },
		func(w io.Writer) error { return t.encode(w, p.Image, p.Text) })
	if t.drafts == nil {
		t.drafts = map[int]int{}
	}
	t.drafts[p.Number] = first - 1 + n
	return StagePath(t.ofSeed(p.Seed, first-1+n), stage), err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Finish has nothing left to write.
func (t *Target) Finish(bool) (string, int, error) { return "", 0, nil }

// Save writes a picture with its parameters to a file, in the target's format. The
// path "-" is standard output.
func (t *Target) Save(path string, img image.Image, parameters string) error {
	return t.write(path, func(w io.Writer) error { return t.encode(w, img, parameters) })
}

func (t *Target) write(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(t.stdout)
	}
	return WriteFile(path, write)
}
