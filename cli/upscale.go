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

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// maxEnlarging bounds --scale.
const maxEnlarging = 64

func upscaleCommand() *command {
	return &command{
		name:     "upscale",
		usage:    "makes pictures larger with an ESRGAN network",
		synopsis: "upscale -m MODEL [flags] PICTURE...",
		flags: append([]urfave.Flag{
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the network: RRDBNet of ESRGAN, Real-ESRGAN or BSRGAN, as .pth, .safetensors or .gguf"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` the picture, a folder, or - (default: NAME-xSCALE.png next to each picture)"},
			&urfave.Float64Flag{Name: "scale", Usage: "`X` how many times wider and higher (default: the network's)"},
			&urfave.IntFlag{Name: "tile", Usage: fmt.Sprintf("`PIXELS` the side of the tiles, %d to %d (default: 192, or less where memory is short)", sd.MinTile, sd.MaxTile)},
			&urfave.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` CPU threads (default: one for each physical core)"},
			&urfave.StringFlag{Name: "backend", Usage: "`NAME` the device to compute on (sdgo devices lists them)"},
			&urfave.StringFlag{Name: "type", Usage: "`TYPE` convert the weights while loading: f32, f16, bf16"},
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		}, formatFlags()...),
		run:    runUpscale,
		events: true,
		description: `
Examples:
  sdgo upscale -m RealESRGAN_x4plus.pth out.png
  sdgo upscale -m 4x-UltraSharp.pth --scale 2 -o large/ *.png`,
	}
}

// upscaling is a run of the command.
type upscaling struct {
	p       *program
	network *sd.ESRGAN
	scale   float64
	to      *output.Target
	all     []enlarging
	report  report.Reporter
	names   io.Writer
}

// enlarging is one picture to enlarge.
type enlarging struct{ from, to string }

func runUpscale(ctx context.Context, p *program, f *flags) error {
	o, err := upscaleOptions(p, f)
	if err != nil {
		return err
	}
	n, err := sd.OpenESRGAN(f.string("model"), o)
	if err != nil {
		return err
	}
	defer n.Close()
	n.Tile = f.int("tile")
	u := upscaling{p: p, network: n, scale: float64(n.Scale()), names: p.names(f)}
	if f.set("scale") {
		u.scale = f.number("scale")
	}
	if u.to, u.all, err = enlargings(p, f, u.scale); err != nil {
		return err
	}
	u.report = p.reporter(f)
	defer u.report.Close()
	for i := range u.all {
		err := u.enlarge(ctx, i)
		u.report.Close()
		if err := report.Stopped(ctx, err, i, len(u.all), "picture"); err != nil {
			return err
		}
	}
	return nil
}

// upscaleOptions checks the flags, except those of the output.
func upscaleOptions(p *program, f *flags) (sd.Options, error) {
	if !f.set("model") {
		return sd.Options{}, report.Usagef("no network: -m FILE names one, such as RealESRGAN_x4plus.pth from github.com/xinntao/Real-ESRGAN")
	}
	if len(f.args) == 0 {
		return sd.Options{}, report.Usagef("upscale: no picture: sdgo upscale -m MODEL [flags] PICTURE...")
	}
	o, err := modelOptions(p, f)
	if err != nil {
		return o, err
	}
	wrong := problems{flags: f}
	if n := f.int("tile"); f.set("tile") && (n < sd.MinTile || n > sd.MaxTile) {
		wrong.add("tile", "must be %d to %d, got %d", sd.MinTile, sd.MaxTile, n)
	}
	if x := f.number("scale"); f.set("scale") && !(x > 0 && x <= maxEnlarging) {
		wrong.add("scale", "must be more than 0 and at most %d, got %g", maxEnlarging, x)
	}
	return o, wrong.err()
}

// enlargings are the pictures to enlarge, with the files that they become.
func enlargings(p *program, f *flags, scale float64) (t *output.Target, all []enlarging, err error) {
	out, flag := f.string("output"), f.name("output")
	beside := !f.set("output") // the pictures
	t = output.NewFolder("")
	if !beside {
		if out == "-" && f.events() {
			return nil, nil, stdoutTaken(f)
		}
		if t, err = newTarget(p, flag, out, len(f.args)); err != nil {
			return nil, nil, err
		}
	}
	if err := setFormat(f, t); err != nil {
		return nil, nil, err
	}
	var places output.Places[string] // by pictures
	for _, from := range f.args {
		if from != "-" {
			places.Read(from, from)
		}
	}
	for i, from := range f.args {
		name := filepath.Base(from)
		name = strings.TrimSuffix(name, filepath.Ext(name)) + "-x" + strconv.FormatFloat(scale, 'g', 4, 64) + t.Extension()
		var to string
		switch {
		case beside && from == "-":
			return nil, nil, report.Usagef("-: a picture from standard input needs %s to name its file", flag)
		case beside:
			to = filepath.Join(filepath.Dir(from), name)
		case t.Folder():
			to = filepath.Join(out, name)
		default:
			to = t.Path(i+1, 0)
		}
		other, taken := places.Writer(to)
		if !taken {
			other, taken = places.Reader(to)
		}
		if taken && to != "-" {
			return nil, nil, report.Usagef("%s would be written to %s, which is taken by %s; %s can name another file or folder", from, to, other, flag)
		}
		places.Write(to, from)
		if beside || t.Folder() {
			if err := output.CheckFolder(to); err != nil {
				return nil, nil, inFlag(from, err)
			}
		}
		all = append(all, enlarging{from, to})
	}
	return t, all, nil
}

// enlarge enlarges picture i and saves it.
func (u *upscaling) enlarge(ctx context.Context, i int) error {
	start, e := u.p.now(), u.all[i]
	img, texts, err := readWithTexts(e.from, u.p.stdin)
	if err != nil {
		return err
	}
	u.network.OnTile = func(index, of int) error {
		u.report.Progress(report.Progress{Stage: report.Upscale, Picture: i, Index: index, Of: of, Elapsed: u.p.since(start)})
		return nil
	}
	size := img.Bounds().Size()
	width, height := int(math.Round(float64(size.X)*u.scale)), int(math.Round(float64(size.Y)*u.scale))
	if width < 1 || height < 1 || width > sd.MaxUpscaled || height > sd.MaxUpscaled {
		return fmt.Errorf("%s: %dx%d pixels times %g: sides must be 1 to %d", e.from, size.X, size.Y, u.scale, sd.MaxUpscaled)
	}
	large, err := u.network.UpscaleTo(ctx, img, width, height)
	if err != nil {
		return fmt.Errorf("%s: %w", e.from, err)
	}
	u.report.Close()
	how := fmt.Sprintf("Postprocess upscale by: %g, Postprocess upscaler: %s, Version: sdgo %s", u.scale, u.network.Name(), sd.Version)
	if err := u.to.SaveUpscaled(e.to, large, texts, how); err != nil || e.to == "-" {
		return err
	}
	u.report.Upscaled(report.Upscaled{Picture: i + 1, Of: len(u.all), From: e.from, Path: e.to,
		Width: large.Rect.Dx(), Height: large.Rect.Dy(), Seconds: report.Seconds(u.p.since(start))})
	fmt.Fprintln(u.names, e.to)
	return nil
}

// readWithTexts reads a picture and the texts that it carries.
func readWithTexts(path string, stdin io.Reader) (image.Image, []pngtext.Text, error) {
	in, from := stdin, standardInput
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, output.Cause(err))
		}
		defer f.Close()
		in, from = f, path
	}
	data, err := io.ReadAll(io.LimitReader(in, picture.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", from, output.Cause(err))
	}
	img, err := picture.Read(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", from, err)
	}
	facts, err := picture.ReadFacts(bytes.NewReader(data))
	if err != nil && !errors.Is(err, picture.ErrUnknown) {
		return nil, nil, fmt.Errorf("%s: %w", from, err)
	}
	return img, facts.Texts, nil
}
