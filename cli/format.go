package cli

import (
	"fmt"
	"image"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd/picture"
)

// settingsRoom is more than what a picture's parameters have beside prompts,
// bytes.
const settingsRoom = 2000

// formatFlags say what files pictures become.
func formatFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "format", Usage: "`NAME` png, jpeg or webp, in a folder or on standard output (default: png; else -o's ending)"},
		&urfave.IntFlag{Name: "quality", Value: picture.DefaultQuality, Usage: fmt.Sprintf("`N` of JPEG, 1 to 100 (default: %d)", picture.DefaultQuality)},
	}
}

// format puts the flags of formatFlags into a target. texts are the longest
// that the parameters of its pictures will have.
func (r *run) format(c *urfave.Context, t *target, texts ...string) error {
	if c.IsSet("format") {
		f, err := picture.ParseFormat(c.String("format"))
		switch {
		case err != nil:
			return usageProblems([]problem{{r.flagName("format"), err.Error()}})
		case t.name != "-" && !t.folder && f != t.options.Format:
			return usagef("%s %s and %s %s name two formats; one of them is enough", r.flagName("output"), t.name, r.flagName("format"), c.String("format"))
		}
		t.options.Format = f
	}
	if c.IsSet("quality") {
		t.options.Quality = c.Int("quality")
		if t.options.Quality == 0 || t.options.Check() != nil {
			return usageProblems([]problem{{r.flagName("quality"), fmt.Sprintf("%d, 1 to 100 wanted", t.options.Quality)}})
		}
		if t.options.Format != picture.JPEG {
			return usageProblems([]problem{{r.flagName("quality"), "only JPEG has one; PNG and WebP are written without losses"}})
		}
	}
	o := t.options
	o.Parameters = strings.Join(texts, "\n") + strings.Repeat(" ", settingsRoom)
	if err := o.Check(); err != nil {
		return usagef("%s: %v", r.flagName("output"), err)
	}
	return nil
}

// encode writes a picture in the target's format.
func (t *target) encode(w io.Writer, img image.Image, parameters string) error {
	o := t.options
	o.Parameters = parameters
	return picture.Encode(w, img, o)
}
