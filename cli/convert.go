package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

func (r *run) convert() *urfave.Command {
	return &urfave.Command{
		Name:      "convert",
		Usage:     "writes a model as GGUF, in another type if wanted",
		UsageText: "convert -o OUT.gguf [--type q8_0] MODEL",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` the file to write"},
			&urfave.StringFlag{Name: "type", Value: "f16", Usage: "`TYPE` what the weights become: f32, f16, bf16, q8_0, q4_0 …"},
			&urfave.BoolFlag{Name: "force", Usage: "replace the file if it is there"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing but errors"},
		},
		Action: r.runConvert,
	}
}

func (r *run) runConvert(c *urfave.Context) error {
	if err := arguments(c, 1, "the model to convert"); err != nil {
		return err
	}
	in, out := c.Args().First(), c.String("output")
	if out == "" {
		return usagef("-o is missing: name the file to write")
	}
	typ, err := dtype.Parse(c.String("type"))
	if err != nil {
		return usageProblems([]problem{{r.flagName("type"), err.Error()}})
	}
	if err := checkConvertTarget(in, out, c.Bool("force")); err != nil {
		return err
	}
	m, err := convert.Load(in)
	if err != nil {
		return err
	}
	defer m.Close()
	o := convert.Options{Type: typ, Quantize: cgo.Quantize}
	if !c.Bool("quiet") {
		o.Progress = r.convertProgress()
	}
	start := time.Now()
	if err := convert.Convert(c.Context, m, out, o); err != nil {
		return err
	}
	if info, err := os.Stat(out); err == nil && !c.Bool("quiet") {
		fmt.Fprintf(r.err, "%s: %s, %s, in %s\n", out, typ, byteSize(uint64(info.Size())), short(time.Since(start)))
	}
	return nil
}

// checkConvertTarget keeps the source and, unless forced, a file that is there.
func checkConvertTarget(in, out string, force bool) error {
	if err := checkFolder("-o", out); err != nil {
		return err
	}
	there, err := os.Stat(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if source, err := os.Stat(in); err == nil && os.SameFile(source, there) {
		return fmt.Errorf("%s: the model cannot be written over itself; another name for -o is wanted", out)
	}
	if there.IsDir() {
		return fmt.Errorf("%s: a folder; the name of a file is wanted for -o", out)
	}
	if !force {
		return fmt.Errorf("%s: there already; --force replaces it", out)
	}
	return nil
}

// convertProgress tells every tenth of the way.
func (r *run) convertProgress() func(done, total int64) {
	told := int64(0)
	return func(done, total int64) {
		if tenth := done * 10 / max(total, 1); tenth > told {
			told = tenth
			fmt.Fprintf(r.err, "converting: %d%%\n", tenth*10)
		}
	}
}
