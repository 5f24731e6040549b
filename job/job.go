// Package job is requests as text: as flags, as JSON and as the parameters that
// AUTOMATIC1111's web UI writes into pictures. One table, [Fields], says of each field
// of [request.Request] what it is called and how it is written in all of them.
//
// [Set] puts a flag into a request, [Decode] and [Encode] read and write JSON, [Text]
// and [ReadText] the parameters of pictures, and [Pictures] reads the files that a
// request names. Whatever is read is checked; errors say what would be right, and
// leave it to the caller to say where.
package job

import (
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/internal/nearest"
	"github.com/sdgo/sdgo/sd/request"
)

// Command is a kind of command, or several.
type Command uint8

// The commands that draw. Flags of Batch are the fields of its jobs, and hold for all
// of them.
const (
	Txt2Img Command = 1 << iota
	Img2Img
	Inpaint
	Interpolate
	Batch
	Sample // without text

	All = Txt2Img | Img2Img | Inpaint | Interpolate | Batch | Sample

	// Texts are the commands that draw from text, or may.
	Texts = All &^ Sample
)

// Flag is a flag of a command.
type Flag struct {
	Name    string // long
	Short   string // one letter, or ""
	Kind    Kind
	List    bool   // whether the value is a list with commas, of values of the Kind
	Arg     string // what help calls the value; "" of a switch
	Range   string // in words; "" where the kind says all
	Default string // in words; "" where there is nothing to say
	Help    string
}

// FlagsFor returns the flags of a command that say what to draw, in the order in which
// help lists them and [Set] takes them.
func FlagsFor(c Command) []Flag {
	var flags []Flag
	for _, f := range Fields() {
		if f.For&c == 0 {
			continue
		}
		out := Flag{f.Flag, f.Short, f.Kind, f.List, f.Arg, f.Range, f.Default, f.Help}
		if b, ok := f.begin(c); ok {
			out.Default = b.text
		}
		flags = append(flags, out)
	}
	return flags
}

// begin is what a command begins with in place of a field's zero value.
func (f Field) begin(c Command) (begin, bool) {
	for commands, b := range f.begins {
		if commands&c != 0 {
			return b, true
		}
	}
	return begin{}, false
}

// Begin is the request that a command begins with, before any flag is set: seeds are
// random, and inpainting replaces everything under the mask.
func Begin(c Command) request.Request {
	var r request.Request
	for _, f := range Fields() {
		if b, ok := f.begin(c); ok && b.value != "" {
			if err := f.of.set(&r, b.value); err != nil {
				panic(fmt.Sprintf("%s cannot begin with %s: %v", f.Path, b.value, err)) // a mistake in the table
			}
		}
	}
	return r
}

// CommandOf is the command that draws what a request describes: inpainting has a mask
// or a canvas.
func CommandOf(r request.Request) Command {
	switch {
	case r.Mask != nil || r.MaskFile != "" || r.Canvas != image.Point{}:
		return Inpaint
	case r.Image != nil || r.ImageFile != "":
		return Img2Img
	}
	return Txt2Img
}

// Set puts the value of a flag into a request. Flags of hires passes need those passes:
// set flags in the order of [FlagsFor]. The error says what the value must be, as in
// "must be 1 to 1000, got 0", and not the flag's name. A zero that would be taken for
// the default is an error, because who writes it means something else.
func Set(r *request.Request, flag, value string) error {
	all := Fields()
	for _, f := range all {
		if f.Flag == flag {
			return f.of.set(r, value)
		}
	}
	return fmt.Errorf("unknown flag; did you mean %s?", closest(flag, all, func(f Field) string { return f.Flag }))
}

// Find returns the field that an error of [request.Request.Resolve] names:
// "Hires[1].Scale" is Hires.Scale, Image is ImageFile, Face FaceFile, and Interpolate is the first of
// its fields.
func Find(path string) (Field, bool) {
	if before, rest, ok := strings.Cut(path, "["); ok {
		_, after, _ := strings.Cut(rest, "]")
		path = before + after
	}
	if path == "Image" || path == "Mask" || path == "Controls.Image" || path == "Controls.Face" || path == "Guides.Image" || path == "Guides.Of" {
		path += "File"
	}
	for _, f := range Fields() {
		if f.Path == path || slices.Contains(f.Also, path) || slices.Contains(f.Also, path+".*") || strings.HasPrefix(f.Path, path+".") {
			return f, true
		}
	}
	return Field{}, false
}

// closest is the name of a field that is most like a name, which is some field's in
// AUTOMATIC1111's API or has the least edit distance.
func closest(name string, all []Field, of func(Field) string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	name = fold(name)
	if len(name) > 64 {
		name = name[:64] // the rest cannot matter, and the time is quadratic
	}
	best, least := "", 1<<30
	for _, f := range all {
		if name == f.API || name == f.Short && name != "" {
			return of(f)
		}
		if d := nearest.Distance(name, fold(of(f))); d < least {
			best, least = of(f), d
		}
	}
	return best
}
