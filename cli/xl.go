package cli

import (
	"fmt"
	"image"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
)

// xlFlags are what only models of Stable Diffusion XL's family know.
func xlFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "refiner", Usage: "`FILE` the model of Stable Diffusion XL that makes the last steps"},
		&urfave.Float64Flag{Name: "refiner-at", Value: 0.8, Usage: "`X` the fraction of the steps behind which it does (default: 0.8)"},
		&urfave.StringFlag{Name: "original-size", Usage: "`WxH` what SDXL is told of a picture's size before it was scaled (default: its size)"},
		&urfave.StringFlag{Name: "target-size", Usage: "`WxH` what SDXL is told of its size (default: its size)"},
		&urfave.StringFlag{Name: "crop", Usage: "`X,Y` what SDXL is told of the left top corner of its crop (default: 0,0)"},
		&urfave.Float64Flag{Name: "aesthetic", Value: 6, Usage: "`X` the score that SDXL's refiner is told, 0 to 10 (default: 6)"},
		&urfave.Float64Flag{Name: "negative-aesthetic", Value: 2.5, Usage: "`X` the same with the negative prompt (default: 2.5)"},
	}
}

// xl puts the flags of xlFlags into a request.
func (r *run) xl(c *urfave.Context, q *sd.Request) error {
	var problems []problem
	for _, f := range []struct {
		name, separator, want string
		to                    *image.Point
	}{
		{"original-size", "x", "a width and a height are wanted, as in 1024x1024", &q.OriginalSize},
		{"target-size", "x", "a width and a height are wanted, as in 1024x1024", &q.TargetSize},
		{"crop", ",", "the left and the top pixel are wanted, as in 0,0", &q.CropTopLeft},
	} {
		if !c.IsSet(f.name) {
			continue
		}
		var ok bool
		if *f.to, ok = pair(c.String(f.name), f.separator); !ok {
			problems = append(problems, problem{r.flagName(f.name), fmt.Sprintf("%.40q, %s", c.String(f.name), f.want)})
		}
	}
	for name, to := range map[string]**float64{"aesthetic": &q.AestheticScore, "negative-aesthetic": &q.NegativeAestheticScore, "refiner-at": &q.RefinerAt} {
		if c.IsSet(name) {
			*to = sd.Float(c.Float64(name))
		}
	}
	if c.IsSet("refiner-at") && !c.IsSet("refiner") {
		problems = append(problems, problem{r.flagName("refiner-at"), "a fraction of the steps without a refiner"})
	}
	if c.IsSet("refiner") && c.String("refiner") == "" {
		problems = append(problems, problem{r.flagName("refiner"), "the name of a file is wanted"})
	}
	if len(problems) > 0 {
		return usageProblems(problems)
	}
	return nil
}

// pair reads two whole numbers, not negative.
func pair(text, separator string) (p image.Point, ok bool) {
	a, b, ok := strings.Cut(text, separator)
	x, err := strconv.ParseUint(a, 10, 31)
	y, err2 := strconv.ParseUint(b, 10, 31)
	return image.Pt(int(x), int(y)), ok && err == nil && err2 == nil
}
