package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// upscaledKeyword is the keyword of the text that says how a picture was
// enlarged, in AUTOMATIC1111's words.
const upscaledKeyword = "postprocessing"

// maxEnlarging bounds --scale.
const maxEnlarging = 64

func (r *run) upscale() *urfave.Command {
	return &urfave.Command{
		Name:      "upscale",
		Usage:     "makes pictures larger with an ESRGAN network",
		UsageText: "upscale -m MODEL [flags] PICTURE...",
		HideHelp:  true,
		Flags: append([]urfave.Flag{
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the network: RRDBNet of ESRGAN, Real-ESRGAN or BSRGAN, as .pth, .safetensors or .gguf"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` the picture, a folder, or - (default: NAME-xSCALE.png beside each picture)"},
			&urfave.Float64Flag{Name: "scale", Usage: "`X` how many times wider and higher (default: the network's)"},
			&urfave.IntFlag{Name: "tile", Usage: fmt.Sprintf("`PIXELS` the side of the tiles, %d to %d (default: 192, or less where memory is short)", sd.MinTile, sd.MaxTile)},
			&urfave.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` CPU threads (default: one a physical core)"},
			&urfave.StringFlag{Name: "backend", Usage: "`NAME` the device to compute on (sdgo devices lists them)"},
			&urfave.StringFlag{Name: "type", Usage: "`TYPE` convert the weights while loading: f32, f16, bf16"},
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		}, formatFlags()...),
		Action: r.runUpscale,
		Description: `
Examples:
  sdgo upscale -m RealESRGAN_x4plus.pth out.png
  sdgo upscale -m 4x-UltraSharp.pth --scale 2 -o large/ *.png`,
	}
}

// enlarging is one picture to upscale.
type enlarging struct{ from, to string }

func (r *run) runUpscale(c *urfave.Context) error {
	r.json = c.Bool("json")
	if !c.IsSet("model") {
		return usagef("no network: -m FILE names one, such as RealESRGAN_x4plus.pth from github.com/xinntao/Real-ESRGAN")
	}
	if c.NArg() == 0 {
		return usagef("upscale: no picture: sdgo upscale -m MODEL [flags] PICTURE...")
	}
	o, err := r.modelOptions(c)
	if err != nil {
		return err
	}
	var problems []problem
	if n := c.Int("tile"); c.IsSet("tile") && (n < sd.MinTile || n > sd.MaxTile) {
		problems = append(problems, problem{r.flagName("tile"), fmt.Sprintf("%d, %d to %d wanted", n, sd.MinTile, sd.MaxTile)})
	}
	if x := c.Float64("scale"); c.IsSet("scale") && !(x > 0 && x <= maxEnlarging) {
		problems = append(problems, problem{r.flagName("scale"), fmt.Sprintf("%g, more than 0 and at most %d wanted", x, maxEnlarging)})
	}
	if len(problems) > 0 {
		return usageProblems(problems)
	}
	u, err := sd.OpenESRGAN(c.String("model"), o)
	if err != nil {
		return err
	}
	defer u.Close()
	u.Tile = c.Int("tile")
	scale := float64(u.Scale())
	if c.IsSet("scale") {
		scale = c.Float64("scale")
	}
	t, all, err := r.enlargings(c, scale)
	if err != nil {
		return err
	}
	report := r.newReporter(c.Bool("quiet"))
	defer report.close()
	for i, e := range all {
		err := r.enlarge(c.Context, u, t, scale, e, i, len(all), report)
		report.close()
		if ctx := c.Context; ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return &interrupted{fmt.Sprintf("%d of %s finished", i, plural(len(all), "picture"))}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enlargings are the pictures to upscale, with the files that they become.
func (r *run) enlargings(c *urfave.Context, scale float64) (t *target, all []enlarging, err error) {
	out, flag := c.String("output"), r.flagName("output")
	beside := !c.IsSet("output") // the pictures
	t = &target{folder: true, options: picture.Options{Format: picture.PNG}}
	if !beside {
		if out == "-" && r.json {
			r.json = false
			return nil, nil, usagef("%s - and %s both want standard output", flag, r.flagName("json"))
		}
		if t, err = newTarget(flag, out, c.NArg(), r.out); err != nil {
			return nil, nil, err
		}
	}
	if err := r.format(c, t); err != nil {
		return nil, nil, err
	}
	taken := map[string]string{} // files that are written or read → for which picture
	for _, from := range c.Args().Slice() {
		if from != "-" {
			for _, place := range placesRead(from) {
				taken[place] = from
			}
		}
	}
	for i, from := range c.Args().Slice() {
		name := filepath.Base(from)
		name = strings.TrimSuffix(name, filepath.Ext(name)) + "-x" + strconv.FormatFloat(scale, 'g', 4, 64) + t.options.Format.Extension()
		var to string
		switch {
		case beside && from == "-":
			return nil, nil, usagef("-: a picture from standard input wants %s to name its file", flag)
		case beside:
			to = filepath.Join(filepath.Dir(from), name)
		case t.folder:
			to = filepath.Join(out, name)
		case out == "-":
			to = "-"
		default:
			to = t.path(i+1, 0)
		}
		if other, ok := taken[placeOf(to)]; ok && to != "-" {
			return nil, nil, usagef("%s would become %s, which is there for %s; %s names another file or folder", from, to, other, flag)
		}
		taken[placeOf(to)] = from
		if beside {
			if err := checkFolder(from, to); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, enlarging{from, to})
	}
	return t, all, nil
}

// enlarge upscales picture i of n and saves it.
func (r *run) enlarge(ctx context.Context, u *sd.ESRGAN, t *target, scale float64, e enlarging, i, n int, report reporter) error {
	start := time.Now()
	img, texts, err := r.readWithTexts(e.from)
	if err != nil {
		return err
	}
	u.OnTile = func(index, of int) error {
		report.progress(sd.Event{Stage: sd.StageUpscale, Picture: i, Index: index, Of: of, Elapsed: time.Since(start)})
		return nil
	}
	size := img.Bounds().Size()
	width, height := int(math.Round(float64(size.X)*scale)), int(math.Round(float64(size.Y)*scale))
	if width < 1 || height < 1 || width > sd.MaxUpscaled || height > sd.MaxUpscaled {
		return fmt.Errorf("%s: %dx%d pixels times %g: 1 to %d a side are possible", e.from, size.X, size.Y, scale, sd.MaxUpscaled)
	}
	large, err := u.UpscaleTo(ctx, img, width, height)
	if err != nil {
		return fmt.Errorf("%s: %w", e.from, err)
	}
	how := fmt.Sprintf("Postprocess upscale by: %g, Postprocess upscaler: %s, Version: sdgo %s", scale, u.Name(), sd.Version)
	write := func(w io.Writer) error { return t.encodeWith(w, large, texts, how) }
	report.close()
	if e.to == "-" {
		return write(r.out)
	}
	if err := writeFile(e.to, write); err != nil {
		return err
	}
	report.upscaled(upscaledEvent{"upscaled", i + 1, n, e.from, e.to, large.Rect.Dx(), large.Rect.Dy(), seconds(time.Since(start))})
	r.name(e.to)
	return nil
}

// encodeWith writes an enlarged picture with the texts that it had and one that
// says how it was enlarged. In PNG files this one has a place of its own, in
// others it follows the parameters.
func (t *target) encodeWith(w io.Writer, img image.Image, texts []pngtext.Text, how string) error {
	if t.options.Format == picture.PNG {
		return pngtext.Encode(w, img, append(texts, pngtext.Text{Keyword: upscaledKeyword, Value: how})...)
	}
	for _, text := range texts {
		if text.Keyword == picture.Keyword {
			how = text.Value + ", " + how
		}
	}
	return t.encode(w, img, how)
}

// readWithTexts reads a picture and the texts that it carries.
func (r *run) readWithTexts(path string) (image.Image, []pngtext.Text, error) {
	in, from := r.in, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, cause(err))
		}
		defer f.Close()
		in, from = f, path
	}
	data, err := io.ReadAll(io.LimitReader(in, picture.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", from, cause(err))
	}
	img, err := picture.Read(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", from, err)
	}
	facts, err := picture.ReadFacts(bytes.NewReader(data))
	if err != nil && !errors.Is(err, picture.ErrUnknown) {
		return nil, nil, fmt.Errorf("%s: %w", from, err)
	}
	var kept []pngtext.Text
	for _, t := range facts.Texts {
		if t.Keyword != upscaledKeyword {
			kept = append(kept, t)
		}
	}
	return img, kept, nil
}
