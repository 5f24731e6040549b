package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
)

// hiresFlags ask for further passes at larger sizes. A list has a value for
// each of them; the last value goes on.
func hiresFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "hires", Usage: "`FACTOR` a second pass at a larger size, such as 2x; 1.5x,2x are two more passes"},
		&urfave.StringFlag{Name: "hires-size", Usage: "`WxH` the same to a size, such as 1024x1536; several with commas"},
		&urfave.StringFlag{Name: "hires-upscaler", Usage: "`NAME` how the picture is enlarged: " + strings.Join(sd.Upscalers(), ", ") + ", or an ESRGAN file (default: latent)"},
		&urfave.StringFlag{Name: "hires-strength", Usage: "`X` how much is painted anew, 0 to 1 (default: 0.7)"},
		&urfave.StringFlag{Name: "hires-steps", Usage: "`N` steps that are made (default: as many as --steps)"},
		&urfave.StringFlag{Name: "hires-sampler", Usage: "`NAME` (default: that of --sampler)"},
		&urfave.StringFlag{Name: "hires-cfg-scale", Usage: "`X` how strictly to follow the prompt (default: that of --cfg-scale)"},
		&urfave.BoolFlag{Name: "save-stages", Usage: "save the picture before each pass, too, as NAME-stage1.png …"},
	}
}

// hires puts the flags of hiresFlags into a request. files are the ESRGAN
// networks that are wanted, one a stage or "".
func (r *run) hires(c *urfave.Context, q *sd.Request) (files []string, err error) {
	if findFlag(c.Command, "hires") == nil {
		return nil, nil
	}
	by, to := c.IsSet("hires"), c.IsSet("hires-size")
	if by && to {
		return nil, usagef("%s and %s both say how large; one of them is wanted", r.flagName("hires"), r.flagName("hires-size"))
	}
	if !by && !to {
		for _, f := range hiresFlags()[2:] {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, usagef("%s without a second pass: --hires 2x asks for one", r.flagName(name))
			}
		}
		return nil, nil
	}
	name := "hires"
	if to {
		name = "hires-size"
	}
	q.Hires = make([]sd.HiresPass, strings.Count(c.String(name), ",")+1)
	files = make([]string, len(q.Hires))
	q.KeepHiresInput = c.Bool("save-stages")
	if q.KeepHiresInput && (c.IsSet("grid") || c.String("output") == "-") {
		return nil, usagef("%s wants a file for each picture: no %s, and no %s -", r.flagName("save-stages"), r.flagName("grid"), r.flagName("output"))
	}
	var problems []problem
	for _, f := range []struct {
		name, want string
		set        func(s *sd.HiresPass, i int, text string) bool
	}{
		{"hires", "a factor is wanted, such as 2x", func(s *sd.HiresPass, _ int, text string) bool {
			v, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
			s.Scale = v
			return err == nil && v > 0
		}},
		{"hires-size", "a width and a height are wanted, as in 1024x1536", func(s *sd.HiresPass, _ int, text string) bool {
			p, ok := pair(text, "x")
			s.Width, s.Height = p.X, p.Y
			return ok && p.X > 0 && p.Y > 0
		}},
		{"hires-upscaler", "a name is wanted, such as latent, or an ESRGAN file", func(s *sd.HiresPass, i int, text string) bool {
			if s.Upscaler = text; isFileName(text) {
				s.Upscaler, files[i] = "", text
			}
			return text != ""
		}},
		{"hires-strength", "a number from 0 to 1 is wanted", func(s *sd.HiresPass, _ int, text string) bool {
			v, err := strconv.ParseFloat(text, 64)
			s.Strength = &v
			return err == nil
		}},
		{"hires-steps", fmt.Sprintf("1 to %d are wanted", sd.MaxSteps), func(s *sd.HiresPass, _ int, text string) bool {
			v, err := strconv.Atoi(text)
			s.Steps = v
			return err == nil && v > 0
		}},
		{"hires-sampler", "a name is wanted; sdgo samplers lists them", func(s *sd.HiresPass, _ int, text string) bool {
			s.Sampler = text
			return text != ""
		}},
		{"hires-cfg-scale", "a number is wanted", func(s *sd.HiresPass, _ int, text string) bool {
			v, err := strconv.ParseFloat(text, 64)
			s.Guidance = &v
			return err == nil
		}},
	} {
		if !c.IsSet(f.name) {
			continue
		}
		list := strings.Split(c.String(f.name), ",")
		if len(list) > len(q.Hires) {
			problems = append(problems, problem{r.flagName(f.name), fmt.Sprintf("%d values for %s", len(list), plural(len(q.Hires), "stage"))})
			continue
		}
		for i := range q.Hires {
			if text := list[min(i, len(list)-1)]; !f.set(&q.Hires[i], i, text) {
				problems = append(problems, problem{r.flagName(f.name), fmt.Sprintf("%.40q, %s", text, f.want)})
				break
			}
		}
	}
	if len(problems) > 0 {
		return nil, usageProblems(problems)
	}
	return files, nil
}

// isFileName tells a file from an upscaler's name.
func isFileName(text string) bool {
	return filepath.Base(text) != text || slices.Contains([]string{".pth", ".pt", ".safetensors", ".gguf", ".ckpt"}, strings.ToLower(filepath.Ext(text)))
}

// hiresFlag is the flag behind a field of a stage, "Hires[1].Scale".
func (r *run) hiresFlag(field string) (name string, ok bool) {
	_, of, ok := strings.Cut(field, "].")
	if !ok || !strings.HasPrefix(field, "Hires[") {
		return "", false
	}
	if of == "Scale" {
		return "hires", true
	}
	name, ok = map[string]string{"Width": "hires-size", "Height": "hires-size", "Upscaler": "hires-upscaler", "Strength": "hires-strength",
		"Steps": "hires-steps", "Sampler": "hires-sampler", "Schedule": "hires-sampler", "Guidance": "hires-cfg-scale"}[of]
	return name, ok
}

// openUpscalers opens the ESRGAN networks of a drawing's stages, each file
// once. The function that it returns closes them.
func (r *run) openUpscalers(ctx context.Context, m *sd.Model, d *drawing, o sd.Options) (func(), error) {
	open := map[string]*sd.ESRGAN{}
	closeAll := func() {
		for _, u := range open {
			u.Close()
		}
	}
	o.Type, o.Prediction = "", ""
	d.request.Hires = slices.Clone(d.request.Hires)
	for i, file := range d.upscalers {
		if file == "" {
			continue
		}
		if open[file] == nil {
			if err := ctx.Err(); err != nil {
				return closeAll, context.Cause(ctx)
			}
			u, err := sd.OpenESRGAN(file, o)
			if err != nil {
				return closeAll, fmt.Errorf("%s %w", r.flagName("hires-upscaler"), err)
			}
			open[file] = u
			if err := m.Attach(u); err != nil {
				return closeAll, err
			}
		}
		d.request.Hires[i].Upscaler = open[file].Name()
	}
	return closeAll, nil
}

// keepDraft saves a picture as it is before a stage, beside the file that it
// will be in at last.
func (r *run) keepDraft(e sd.Event, d drawing) error {
	final := d.to.path(e.Picture+1, e.Image.Params.Seed)
	path, err := r.saveAs(e, d.to, stagePath(final, e.Index))
	if err == nil {
		r.name(path)
	}
	return err
}

// stagePath is the file for a picture before stage i of the one that it is to
// become.
func stagePath(final string, i int) string {
	ext := filepath.Ext(final)
	return fmt.Sprintf("%s-stage%d%s", strings.TrimSuffix(final, ext), i, ext)
}

// finalSize is the size that a request's stages make of a picture.
func finalSize(q sd.Request, width, height int) (int, int) {
	for _, s := range q.Hires {
		if s.Width > 0 {
			width, height = s.Width, s.Height
			continue
		}
		width, height = int(float64(width)*s.Scale), int(float64(height)*s.Scale)
	}
	return width, height
}
