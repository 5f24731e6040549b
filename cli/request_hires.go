package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// hiresFlags ask for further passes at larger sizes. A list has a value for each
// pass; the last value is repeated for the remaining passes.
func hiresFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "hires", Usage: "`FACTOR` a second pass at a larger size, such as 2x; 1.5x,2x are two more passes"},
		&urfave.StringFlag{Name: "hires-size", Usage: "`WxH` the same, to a size such as 1024x1536; several with commas"},
		&urfave.StringFlag{Name: "hires-upscaler", Usage: "`NAME` how the picture is enlarged: " + strings.Join(sd.Upscalers(), ", ") + ", or an ESRGAN file (default: latent)"},
		&urfave.StringFlag{Name: "hires-strength", Usage: "`X` denoising strength, 0 to 1 (default: 0.7)"},
		&urfave.StringFlag{Name: "hires-steps", Usage: "`N` steps of a pass (default: as many as --steps)"},
		&urfave.StringFlag{Name: "hires-sampler", Usage: "`NAME` (default: that of --sampler)"},
		&urfave.StringFlag{Name: "hires-cfg-scale", Usage: "`X` how strictly to follow the prompt (default: that of --cfg-scale)"},
		&urfave.BoolFlag{Name: "save-stages", Usage: "save the picture before each pass, too, as NAME-stage1.png …"},
	}
}

// stageFlag is a flag with a list of values, one for each stage.
type stageFlag struct {
	name, want string

	// set puts a value into a stage, or its file of an ESRGAN network into
	// *esrgan, and reports whether the value is valid.
	set func(s *sd.HiresPass, text string, esrgan *string) bool
}

// stageFlags are in the order in which their problems are reported.
var stageFlags = []stageFlag{
	{"hires", "a factor such as 2x", func(s *sd.HiresPass, text string, _ *string) bool {
		v, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
		s.Scale = v
		return err == nil && v > 0
	}},
	{"hires-size", "a width and a height such as 1024x1536", func(s *sd.HiresPass, text string, _ *string) bool {
		p, ok := pair(text, "x")
		s.Width, s.Height = p.X, p.Y
		return ok && p.X > 0 && p.Y > 0
	}},
	{"hires-upscaler", "a name such as latent, or an ESRGAN file", func(s *sd.HiresPass, text string, esrgan *string) bool {
		if s.Upscaler = text; isFileName(text) {
			s.Upscaler, *esrgan = "", text
		}
		return text != ""
	}},
	{"hires-strength", "a number from 0 to 1", func(s *sd.HiresPass, text string, _ *string) bool {
		v, err := strconv.ParseFloat(text, 64)
		s.Strength = &v
		return err == nil
	}},
	{"hires-steps", fmt.Sprintf("1 to %d", sd.MaxSteps), func(s *sd.HiresPass, text string, _ *string) bool {
		v, err := strconv.Atoi(text)
		s.Steps = v
		return err == nil && v > 0
	}},
	{"hires-sampler", "a name (sdgo samplers lists them)", func(s *sd.HiresPass, text string, _ *string) bool {
		s.Sampler = text
		return text != ""
	}},
	{"hires-cfg-scale", "a number", func(s *sd.HiresPass, text string, _ *string) bool {
		v, err := strconv.ParseFloat(text, 64)
		s.Guidance = &v
		return err == nil
	}},
}

// setHires puts the flags of hiresFlags into a request. It returns for each stage
// the file of an ESRGAN network, or "".
func setHires(f *flags, q *sd.Request) (esrgan []string, err error) {
	if !f.has("hires") {
		return nil, nil
	}
	name, err := sizeFlag(f)
	if name == "" {
		return nil, err
	}
	q.Hires = make([]sd.HiresPass, strings.Count(f.string(name), ",")+1)
	q.KeepHiresInput = f.bool("save-stages")
	if q.KeepHiresInput && (f.set("grid") || f.string("output") == "-") {
		return nil, report.Usagef("%s needs a file for each picture; it does not go with %s or %s -", f.name("save-stages"), f.name("grid"), f.name("output"))
	}
	esrgan = make([]string, len(q.Hires))
	wrong := problems{flags: f}
	for _, flag := range stageFlags {
		if !f.set(flag.name) {
			continue
		}
		list := strings.Split(f.string(flag.name), ",")
		if len(list) > len(q.Hires) {
			wrong.add(flag.name, "%d values for %s", len(list), report.Plural(len(q.Hires), "pass"))
			continue
		}
		for i := range q.Hires {
			if text := list[min(i, len(list)-1)]; !flag.set(&q.Hires[i], text, &esrgan[i]) {
				wrong.add(flag.name, "must be %s, got %.40q", flag.want, text)
				break
			}
		}
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return esrgan, nil
}

// sizeFlag is the flag that says how large the stages are: "hires", "hires-size",
// or "" without stages.
func sizeFlag(f *flags) (string, error) {
	by, to := f.set("hires"), f.set("hires-size")
	switch {
	case by && to:
		return "", report.Usagef("%s and %s both say how large; use one of them", f.name("hires"), f.name("hires-size"))
	case by:
		return "hires", nil
	case to:
		return "hires-size", nil
	}
	for _, other := range hiresFlags()[2:] {
		if name := other.Names()[0]; f.set(name) {
			return "", report.Usagef("%s needs a second pass: --hires 2x asks for one", f.name(name))
		}
	}
	return "", nil
}

// isFileName distinguishes files from names of upscalers.
func isFileName(text string) bool {
	return filepath.Base(text) != text || slices.Contains([]string{".pth", ".pt", ".safetensors", ".gguf", ".ckpt"}, strings.ToLower(filepath.Ext(text)))
}

// stageField is the flag that sets a field of a stage, "Hires[1].Scale".
func stageField(field string) (flag string, ok bool) {
	_, of, ok := strings.Cut(field, "].")
	if !ok || !strings.HasPrefix(field, "Hires[") {
		return "", false
	}
	if of == "Scale" {
		return "hires", true
	}
	flag, ok = map[string]string{"Width": "hires-size", "Height": "hires-size", "Upscaler": "hires-upscaler", "Strength": "hires-strength",
		"Steps": "hires-steps", "Sampler": "hires-sampler", "Schedule": "hires-sampler", "Guidance": "hires-cfg-scale"}[of]
	return flag, ok
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
