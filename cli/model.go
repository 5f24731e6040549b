package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
)

// modelFlags say which model a command runs, and how.
func modelFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the model: .safetensors, .gguf, .ckpt, or a diffusers folder"},
		&urfave.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` CPU threads (default: one a physical core)"},
		&urfave.StringFlag{Name: "backend", Usage: "`NAME` the device to compute on: auto, cpu, cuda0, vulkan0, metal; or one a part: unet=cuda0,text=cpu,vae=cpu (sdgo devices lists them)"},
		&urfave.BoolFlag{Name: "offload", Usage: "keep the weights of text encoders and autoencoder off the GPU while they are not needed"},
		&urfave.StringFlag{Name: "max-memory", Usage: "`SIZE` at most so much memory, as in 6G or 800M: on a GPU for all, on the CPU for decoding"},
		&urfave.StringFlag{Name: "type", Usage: "`TYPE` convert the weights while loading: f32, f16, bf16, q8_0, q4_0 …"},
		&urfave.StringFlag{Name: "prediction", Usage: "`KIND` what the model predicts, epsilon or v (default: found out)"},
	}
}

// modelOptions checks the flags of modelFlags.
func (r *run) modelOptions(c *urfave.Context) (sd.Options, error) {
	o := sd.Options{
		Threads:    c.Int("threads"),
		Backend:    c.String("backend"),
		Type:       c.String("type"),
		Prediction: c.String("prediction"),
		Warn:       r.warn,
		Offload:    c.Bool("offload"),
	}
	var problems []problem
	wrong := func(name, format string, args ...any) {
		problems = append(problems, problem{r.flagName(name), fmt.Sprintf(format, args...)})
	}
	if c.IsSet("threads") && (o.Threads < 1 || o.Threads > 512) {
		wrong("threads", "%d, 1 to 512 wanted", o.Threads)
	}
	if err := sd.CheckBackend(o.Backend); err != nil {
		wrong("backend", "%s", strings.TrimPrefix(err.Error(), "backend "))
	}
	if c.IsSet("max-memory") {
		n, err := parseBytes(c.String("max-memory"))
		if err != nil {
			wrong("max-memory", "%v", err)
		}
		o.MaxMemory = n
	}
	if c.IsSet("type") {
		if _, err := dtype.Parse(o.Type); err != nil {
			wrong("type", "%v", err)
		}
	}
	if c.IsSet("prediction") && o.Prediction != "epsilon" && o.Prediction != "v" {
		wrong("prediction", "%q, epsilon or v wanted", o.Prediction)
	}
	if len(problems) > 0 {
		return o, usageProblems(problems)
	}
	return o, nil
}

// warn shows what a person should know although all goes on.
func (r *run) warn(text string) {
	if r.json {
		writeEvent(r.out, warningEvent{"warning", text})
		return
	}
	fmt.Fprintln(r.err, "sdgo: warning: "+printable(text))
}

// openModel opens a model. Without a name it asks package sd for the one that
// comes with it.
func (r *run) openModel(ctx context.Context, name string, o sd.Options) (*sd.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	m, err := sd.Open(name, o)
	if errors.Is(err, sd.ErrNoModel) {
		return nil, usagef("no model: -m FILE names one, such as a Stable Diffusion 1.5 checkpoint in .safetensors form from huggingface.co or civitai.com")
	}
	return m, err
}
