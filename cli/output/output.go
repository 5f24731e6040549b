// Package output puts pictures into files: where each of them goes, in which
// format, with which texts, and that a file appears only when it is complete.
//
// A [Sink] takes the pictures of a command one by one: a [Target] writes a file
// for each, a [Grid] one contact sheet, an [Animation] one file that moves.
// [Places] keeps files that are read and written apart.
package output

import (
	"errors"
	"image"
	"io/fs"
	"os"
)

// Picture is a finished picture.
type Picture struct {
	Image  *image.NRGBA
	Number int    // among all of the command, from 1
	Seed   uint64 // its name in a folder
	Text   string // how it was made: the file's "parameters"
}

// Sink takes finished pictures.
type Sink interface {
	// Check fails if pictures of a size are more than the sink can hold. It is
	// asked before the work begins.
	Check(width, height int) error

	// Put takes a picture. It returns the file that the picture is in, or "" if
	// that is written by Finish.
	Put(p Picture) (path string, err error)

	// Finish ends the output. complete says that all pictures were put. It returns
	// the file that it wrote, if any, and how many pictures are in it.
	Finish(complete bool) (path string, pictures int, err error)
}

// Error says why pictures can't go where a name says.
type Error struct {
	Name  string // the name; "" if the text does without
	Text  string // what is wrong with it
	Err   error  // what the system said; nil if that is not the cause
	Wrong bool   // the name is wrong in itself, whatever is on the disk
}

// Error is the text after the name.
func (e *Error) Error() string {
	text := e.Text
	if e.Name != "" {
		text = e.Name + ": " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Cause takes the cause out of a file's error, without the operation and the
// path: the name of a temporary file would only confuse.
func Cause(err error) error {
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
