package output

import (
	"errors"
	"fmt"
	"image"
	"io"
	"strings"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// settingsRoom is more than a picture's parameters take beside the prompts, in
// bytes.
const settingsRoom = 2000

// upscaledKeyword is the keyword of the text that says how a picture was enlarged
// (AUTOMATIC1111's).
const upscaledKeyword = "postprocessing"

// ErrTwoFormats means that a name's ending says another format than the one asked
// for.
var ErrTwoFormats = errors.New("the name's ending says another format")

// SetFormat sets the format of pictures in a folder or on standard output. For
// files, whose names say it, another one is [ErrTwoFormats].
func (t *Target) SetFormat(f picture.Format) error {
	if !t.Stdout() && !t.folder && f != t.options.Format {
		return ErrTwoFormats
	}
	t.options.Format = f
	return nil
}

// Format is that of the pictures.
func (t *Target) Format() picture.Format { return t.options.Format }

// Extension is that of the pictures' files, such as ".png".
func (t *Target) Extension() string { return t.options.Format.Extension() }

// SetQuality sets JPEG's quality, 1 to 100.
func (t *Target) SetQuality(n int) error {
	o := t.options
	o.Quality = n
	if n == 0 || o.Check() != nil {
		return fmt.Errorf("must be 1 to 100, got %d", n)
	}
	if o.Format != picture.JPEG {
		return errors.New("only JPEG has one; PNG and WebP are lossless")
	}
	t.options = o
	return nil
}

// CheckText fails if the format can't hold parameters with the longest texts of
// the pictures: JPEG can't hold more than 64 kB.
func (t *Target) CheckText(texts ...string) error {
	o := t.options
	o.Parameters = strings.Join(texts, "\n") + strings.Repeat(" ", settingsRoom)
	return o.Check()
}

func (t *Target) encode(w io.Writer, img image.Image, parameters string) error {
	o := t.options
	o.Parameters = parameters
	return picture.Encode(w, img, o)
}

// SaveUpscaled writes an enlarged picture to a file, or to standard output ("-"),
// with the texts that it had and one that says how it was enlarged. PNG files have
// a text of its own for that; in others it follows the parameters.
func (t *Target) SaveUpscaled(path string, img image.Image, texts []pngtext.Text, how string) error {
	var kept []pngtext.Text
	parameters := how
	for _, text := range texts {
		if text.Keyword == upscaledKeyword { // of an earlier time
			continue
		}
		kept = append(kept, text)
		if text.Keyword == picture.Keyword {
			parameters = text.Value + ", " + how
		}
	}
	return t.write(path, func(w io.Writer) error {
		if t.options.Format == picture.PNG {
			return pngtext.Encode(w, img, append(kept, pngtext.Text{Keyword: upscaledKeyword, Value: how})...)
		}
		return t.encode(w, img, parameters)
	})
}
