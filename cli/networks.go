package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
)

// modelFlags say which model a command runs, and how.
func modelFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the model: .safetensors, .gguf, .ckpt, a diffusers folder, or builtin:NAME"},
		&urfave.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` CPU threads (default: one for each physical core)"},
		&urfave.StringFlag{Name: "backend", Usage: "`NAME` the device to compute on: auto, cpu, cuda0, vulkan0, metal; or one for each network: unet=cuda0,text=cpu,vae=cpu (sdgo devices lists them)"},
		&urfave.BoolFlag{Name: "offload", Usage: "keep the weights of text encoders and autoencoder off the GPU while they are not needed"},
		&urfave.StringFlag{Name: "max-memory", Usage: "`SIZE` the most memory to take, such as 6G or 800M: on a GPU for everything, on the CPU for decoding, and half of it for packed weights"},
		&urfave.StringFlag{Name: "precision", Usage: "`TIER` of the denoiser on the CPU: exact, or fast with numbers of 8 bits where they are faster (default: exact)"},
		&urfave.StringFlag{Name: "type", Usage: "`TYPE` convert the weights while loading: f32, f16, bf16, q8_0, q4_0 …"},
		&urfave.StringFlag{Name: "prediction", Usage: "`KIND` what the model predicts, epsilon, v or sample (default: detected)"},
	}
}

// partFlags name files whose networks are in place of the model's own.
func partFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "vae", Usage: "`FILE` take the autoencoder of this file: one alone, or a whole model's"},
		&urfave.StringFlag{Name: "clip-l", Usage: "`FILE` take the text encoder of this file (of SDXL: the first one, CLIP-L)"},
		&urfave.StringFlag{Name: "clip-g", Usage: "`FILE` take SDXL's second text encoder of this file"},
		&urfave.StringFlag{Name: "t5xxl", Usage: "`FILE` take the T5 text encoder of this file"},
		&urfave.StringFlag{Name: "t5-tokenizer", Usage: "`FILE` T5's vocabulary, tokenizer.json or spiece.model, where the model brings none"},
		&urfave.StringFlag{Name: "llm", Usage: "`FILE` take the Qwen text encoder of this file (Z-Image, FLUX.2, Qwen-Image)"},
		&urfave.StringFlag{Name: "llm-vision", Usage: "`FILE` take what Qwen-Image-Edit's text encoder sees with of this file (mmproj)"},
	}
}

// partNames are the names of partFlags.
func partNames() (all []string) {
	for _, f := range partFlags() {
		all = append(all, f.Names()[0])
	}
	return all
}

// modelOptions reads the flags of modelFlags, except the model itself.
func modelOptions(p *program, f *flags) (sd.Options, error) {
	o := sd.Options{
		Threads:    f.int("threads"),
		Backend:    f.string("backend"),
		Type:       f.string("type"),
		Precision:  f.string("precision"),
		Prediction: f.string("prediction"),
		Warn:       p.log(f).Warn,
		Offload:    f.bool("offload"),
	}
	wrong := problems{flags: f}
	if f.set("threads") && (o.Threads < 1 || o.Threads > 512) {
		wrong.add("threads", "must be 1 to 512, got %d", o.Threads)
	}
	if err := sd.CheckBackend(o.Backend); err != nil {
		wrong.add("backend", "%s", strings.TrimPrefix(err.Error(), "backend "))
	}
	if f.set("max-memory") {
		n, err := parseBytes(f.string("max-memory"))
		if err != nil {
			wrong.add("max-memory", "%v", err)
		}
		o.MaxMemory = n
	}
	if f.set("precision") && o.Precision != sd.Exact && o.Precision != sd.Fast {
		wrong.add("precision", "must be %s or %s, got %q", sd.Exact, sd.Fast, o.Precision)
	}
	if f.set("type") {
		if _, err := dtype.Parse(o.Type); err != nil {
			wrong.add("type", "%v", err)
		}
	}
	if f.set("prediction") && !slices.Contains([]string{"epsilon", "v", "sample"}, o.Prediction) {
		wrong.add("prediction", "must be epsilon, v or sample, got %q", o.Prediction)
	}
	return o, wrong.err()
}

// drawOptions are the options of a model that draws.
func drawOptions(p *program, f *flags) (sd.Options, error) {
	o, err := modelOptions(p, f)
	o.VAE, o.CLIPL, o.CLIPG, o.T5, o.LLM = f.string("vae"), f.string("clip-l"), f.string("clip-g"), f.string("t5xxl"), f.string("llm")
	o.T5Tokenizer, o.LLMVision = f.string("t5-tokenizer"), f.string("llm-vision")
	if f.bool("fastest") && !f.set("precision") {
		o.Precision = sd.Fast
	}
	if n := f.int("batch-size"); err == nil && f.set("batch-size") {
		if n < 1 || n > sd.MaxBatch {
			return o, f.problem("batch-size", "must be 1 to %d, got %d", sd.MaxBatch, n)
		}
		o.Batch = n
	}
	return o, err
}

// parseBytes reads a size such as 6G, 800M, 1.5GB or 1000000, in powers of 1000 as
// report.Size writes them.
func parseBytes(s string) (uint64, error) {
	text := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(s)), "B")
	unit := 1.0
	if n := len(text); n > 0 {
		if power := strings.IndexByte("KMGT", text[n-1]); power >= 0 {
			unit, text = math.Pow(1000, float64(power+1)), text[:n-1]
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(v*unit >= 1 && v*unit < 1<<53) {
		return 0, fmt.Errorf("must be a size such as 6G or 800M, got %q", s)
	}
	return uint64(v * unit), nil
}

// openModel opens a model. Without a name it asks package sd for the one that
// comes with it.
func openModel(ctx context.Context, name string, o sd.Options) (*sd.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	m, err := sd.Open(name, o)
	if errors.Is(err, sd.ErrNoModel) {
		return nil, report.Usagef("no model: -m FILE names one, such as a Stable Diffusion 1.5 checkpoint in .safetensors form from huggingface.co or civitai.com")
	}
	return m, err
}

// networks are what requests are drawn with: a model, and what goes with it.
type networks struct {
	model   *sd.Model
	refiner *sd.Model            // of SDXL; nil without one
	stages  map[string]*sd.Model // by their files
	taesd   *sd.TAESD            // nil without one
	esrgan  map[string]*sd.ESRGAN
	control map[string]sd.Control // by their files
	options sd.Options            // of TAESD and ESRGAN
	typed   string                // the type that models' weights are converted to
	folders adapterFolders
	fastest bool // whether requests leave out evaluations where they don't say

	classifiers map[string]*sd.Classifier // by their files
	directions  map[string]*sd.Direction  // by their files

	clipVision string // the file of IP-Adapters' image encoder
	base       string // the model's file, or its name after sd.BuiltinPrefix
}

// openNetworks opens those that flags name. ESRGAN networks are opened when a
// request needs them.
func openNetworks(ctx context.Context, f *flags, o sd.Options) (*networks, error) {
	n := &networks{esrgan: map[string]*sd.ESRGAN{}, control: map[string]sd.Control{}, classifiers: map[string]*sd.Classifier{}, directions: map[string]*sd.Direction{}, stages: map[string]*sd.Model{}, options: o}
	n.options.Type, n.options.Prediction, n.typed = "", "", o.Type
	n.options = n.options.Alone()
	n.clipVision, n.fastest = f.string("clip-vision"), f.bool("fastest")
	n.base = f.string("model")
	if all := sd.Builtins(); n.base == "" && len(all) > 0 {
		n.base = sd.BuiltinPrefix + all[0]
	}
	if err := n.open(ctx, f, o); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *networks) open(ctx context.Context, f *flags, o sd.Options) (err error) {
	if n.folders, err = readFolders(f); err != nil {
		return err
	}
	if n.model, err = n.openOwn(ctx, f, o); err != nil {
		return err
	}
	if name := f.string("refiner"); name != "" {
		o.CLIPL, o.CLIPG, o.T5, o.LLM, o.LLMVision, o.T5Tokenizer = "", "", "", "", "", "" // the model's; one autoencoder is for both
		if n.refiner, err = openModel(ctx, name, o); err != nil {
			return err
		}
		if err = n.model.Attach(n.refiner); err != nil {
			return err
		}
	}
	if name := f.string("taesd"); name != "" {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n.taesd, err = sd.OpenTAESD(name, n.options); err != nil {
			return fmt.Errorf("%s %w", f.name("taesd"), err)
		}
		return n.model.Attach(n.taesd)
	}
	return nil
}

// openOwn opens the model that draws: of sdgo sample and purify, unless a flag names one, the
// first built-in one that takes no text.
func (n *networks) openOwn(ctx context.Context, f *flags, o sd.Options) (*sd.Model, error) {
	if f.set("model") || f.command.name != sampleName && f.command.name != purifyName {
		return openModel(ctx, f.string("model"), o)
	}
	for _, name := range sd.Builtins() {
		m, err := openModel(ctx, sd.BuiltinPrefix+name, o)
		if err != nil || !m.TakesText() {
			return m, err
		}
		m.Close()
	}
	return nil, report.Usagef("no model: -m FILE names one that takes no text")
}

// attach gives a request its networks, and what --fastest fills in: the refiner and the tiny autoencoder, and for
// its passes those of ESRGAN files, which hires named, and adapters, which lora did.
func (n *networks) attach(ctx context.Context, q *sd.Request, hires, lora string) error {
	q.Refiner = ""
	if n.refiner != nil {
		q.Refiner = n.refiner.Name()
	}
	q.TAESD = n.taesd.Name()
	q.Stages = slices.Clone(q.Stages)
	for i, file := range q.Stages {
		m, err := n.stage(ctx, file)
		if err != nil {
			return fmt.Errorf("stages: %w", err)
		}
		q.Stages[i] = m.Name()
	}
	q.Hires = slices.Clone(q.Hires) // which requests may share
	for i, pass := range q.Hires {
		if !isFileName(pass.Upscaler) {
			continue
		}
		u, err := n.upscaler(ctx, pass.Upscaler)
		if err != nil {
			return fmt.Errorf("%s %w", hires, err)
		}
		q.Hires[i].Upscaler = u.Name()
	}
	q.Controls = slices.Clone(q.Controls) // which requests may share
	for i, c := range q.Controls {
		if c.Name == sd.Reference {
			continue
		}
		net, err := n.controlNet(ctx, c.Name)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		q.Controls[i].Name = net.Name()
	}
	if err := n.attachGuiding(ctx, q); err != nil {
		return err
	}
	if n.fastest {
		*q = sd.Fastest(n.model, *q)
	}
	return n.attachExtras(ctx, q, lora)
}

// stage opens a model that enlarges pictures, once. The name of an open one is as good
// as its file.
func (n *networks) stage(ctx context.Context, file string) (*sd.Model, error) {
	if m := n.stages[file]; m != nil {
		return m, nil
	}
	for _, m := range n.stages {
		if m.Name() == file {
			return m, nil
		}
	}
	o := n.options
	o.Type = n.typed
	m, err := openModel(ctx, file, o)
	if err != nil {
		return nil, err
	}
	n.stages[file] = m
	return m, n.model.Attach(m)
}

// controlNet opens a ControlNet or a T2I-Adapter, once. The name of an open one is as good as its file.
func (n *networks) controlNet(ctx context.Context, file string) (sd.Control, error) {
	if c := n.control[file]; c != nil {
		return c, nil
	}
	for _, c := range n.control {
		if c.Name() == file {
			return c, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	switch paths := n.folders.controls[strings.ToLower(file)]; len(paths) {
	case 0:
	case 1:
		file = paths[0]
	default:
		slices.Sort(paths)
		return nil, fmt.Errorf("%.80q may be %s or %s", file, paths[0], paths[1])
	}
	o := n.options
	o.Type, o.CLIPVision, o.ControlBase = n.typed, n.clipVision, n.base
	c, err := sd.OpenControl(file, o)
	if err != nil {
		return nil, err
	}
	n.control[file] = c
	return c, n.model.Attach(c)
}

// upscaler opens an ESRGAN network, once.
func (n *networks) upscaler(ctx context.Context, file string) (*sd.ESRGAN, error) {
	if u := n.esrgan[file]; u != nil {
		return u, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	u, err := sd.OpenESRGAN(file, n.options)
	if err != nil {
		return nil, err
	}
	n.esrgan[file] = u
	return u, n.model.Attach(u)
}

// close closes what is open.
func (n *networks) close() {
	n.closeAdapters()
	for _, u := range n.esrgan {
		u.Close()
	}
	for _, m := range n.stages {
		m.Close()
	}
	for _, c := range n.control {
		c.Close()
	}
	for _, c := range n.classifiers {
		c.Close()
	}
	n.taesd.Close()
	n.refiner.Close()
	n.model.Close()
}
