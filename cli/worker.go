package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/server/wire"
	"github.com/sdgo/sdgo/server/worker"
)

func workerCommand() *command {
	return &command{
		name:        "worker",
		usage:       "opens a model for sdgo serve, which starts it, and draws what that sends",
		synopsis:    "worker [flags] <messages >messages",
		flags:       append(modelFlags()[1:], batchSizeFlag()),
		run:         runWorker,
		description: "It is no command for people: its messages are those of package server/wire.",
	}
}

// runWorker draws until the server is gone.
func runWorker(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	if p.stdoutIsTerminal {
		return report.Usagef("worker: sdgo serve starts workers; there is nothing to see on a terminal")
	}
	o, err := drawOptions(p, f)
	if err != nil {
		return err
	}
	o.MaxWaiting = sd.MaxQueue // the server bounds them
	err = worker.Run(ctx, p.stdin, p.stdout, workerBackend(o))
	if errors.Is(err, worker.ErrOrphan) {
		return nil
	}
	return err
}

// workerBackend opens models of the library.
func workerBackend(o sd.Options) worker.Backend {
	return worker.Backend{
		Open: func(m wire.Model, warn func(string)) (worker.Engine, error) {
			o := o
			o.Warn = warn
			return openEngine(m, o)
		},
		Code: func(err error) string {
			var memory *sd.MemoryError
			switch {
			case errors.As(err, &memory):
				return wire.CodeMemory
			case errors.Is(err, sd.ErrBusy):
				return wire.CodeBusy
			}
			return ""
		},
		Version: sd.Version,
	}
}

// engine is an open model, with what is attached to it.
type engine struct {
	*sd.Model
	network *sd.ESRGAN // in place of a model
	tiles   sync.Mutex // the network upscales one picture at a time
	options sd.Options
	extras  extras
}

// openEngine opens a model or an upscaler.
func openEngine(m wire.Model, o sd.Options) (*engine, error) {
	o.VAE, o.CLIPL, o.CLIPG, o.T5, o.T5Tokenizer, o.LLM, o.LLMVision = m.VAE, m.CLIPL, m.CLIPG, m.T5, m.T5Tokenizer, m.LLM, m.LLMVision
	e := &engine{options: o}
	if !strings.HasPrefix(m.Path, sd.BuiltinPrefix) {
		e.extras.base = m.Path
	}
	var err error
	switch m.Role {
	case wire.RoleModel, wire.RoleRefiner:
		e.Model, err = sd.Open(m.Path, o)
	case wire.RoleESRGAN:
		e.network, err = sd.OpenESRGAN(m.Path, networkOptions(o))
	default:
		err = fmt.Errorf("%q is no role of a model", m.Role)
	}
	return e, err
}

// networkOptions are the options of what is no model of pictures.
func networkOptions(o sd.Options) sd.Options {
	o.Type, o.Prediction = "", ""
	return o.Alone()
}

// Info describes the engine.
func (e *engine) Info() wire.Info {
	if e.network != nil {
		return wire.Info{Name: e.network.Name(), Scale: e.network.Scale()}
	}
	return wire.Info{Name: e.Name(), NativeSize: e.NativeSize(), Threads: e.Threads()}
}

// Attach opens another network for requests that name it.
func (e *engine) Attach(m wire.Model) (err error) {
	var other sd.Attachment
	switch m.Role {
	case wire.RoleRefiner: // one autoencoder is for both
		o := e.options.Alone()
		o.VAE = e.options.VAE
		other, err = sd.Open(m.Path, o)
	case wire.RoleStage:
		o := networkOptions(e.options)
		o.Type = e.options.Type
		other, err = sd.Open(m.Path, o)
	case wire.RoleTAESD:
		other, err = sd.OpenTAESD(m.Path, networkOptions(e.options))
	case wire.RoleESRGAN:
		other, err = sd.OpenESRGAN(m.Path, networkOptions(e.options))
	default:
		err = fmt.Errorf("%q is no role of a network", m.Role)
	}
	if err != nil {
		return err
	}
	if e.Model == nil {
		return errors.New("an upscaler takes no other network")
	}
	return e.Model.Attach(sd.Named(m.Name, other))
}

// Draw makes a request's pictures, in passes with those of others.
func (e *engine) Draw(ctx context.Context, r sd.Request, priority int, all []wire.Model) (*sd.Result, error) {
	if e.Model == nil {
		return nil, errors.New("an upscaler draws no pictures")
	}
	m, release, err := e.extras.fork(ctx, e.Model, e.options, all)
	if err != nil {
		return nil, err
	}
	defer release()
	return m.Submit(ctx, r, priority)
}

// Upscale enlarges a picture.
func (e *engine) Upscale(ctx context.Context, img image.Image, width, height int, onTile func(index, of int) error) (*image.NRGBA, error) {
	if e.network == nil {
		return nil, errors.New("a model of pictures upscales none")
	}
	e.tiles.Lock()
	defer e.tiles.Unlock()
	e.network.OnTile = onTile
	return e.network.UpscaleTo(ctx, img, width, height)
}
