package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/hub"
	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/server"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/inputs"
	"github.com/sdgo/sdgo/server/pool"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/security"
	"github.com/sdgo/sdgo/server/service"
)

func serveCommand() *command {
	return &command{
		name:     "serve",
		usage:    "serves pictures over HTTP, as AUTOMATIC1111's web UI and OpenAI do",
		synopsis: "serve [flags]",
		flags:    serveFlags(),
		run:      runServe,
		patient:  true,
		description: `
Examples:
  sdgo serve                                # the built-in model, on this machine
  sdgo serve --models models -m sd15.safetensors --outputs pictures
  sdgo serve --listen 0.0.0.0:7860 --auth-file users --metrics 127.0.0.1:9090`,
	}
}

// runServe serves until it is told to end.
func runServe(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	f, err := settings(p, f, os.Environ())
	if err != nil {
		return err
	}
	if _, err := drawOptions(p, f); err != nil { // the workers' flags
		return err
	}
	c, err := serverConfig(p, f)
	if err != nil {
		return err
	}
	if g := c.Service.Gallery; g != nil {
		defer g.Close()
	}
	s, err := server.New(c)
	if err != nil {
		return report.Usagef("%v", err)
	}
	return s.Run(ctx, func(address string) {
		c.Log.Info("serving", "address", "http://"+address, "models", len(c.Service.Catalog.Entries(catalog.Checkpoint, catalog.Refiner)), "version", sd.Version)
	})
}

// serverConfig makes a server's configuration of flags.
func serverConfig(p *program, f *flags) (c server.Config, err error) {
	wrong := problems{flags: f}
	c = server.Config{
		Listen: f.string("listen"), Metrics: f.string("metrics"), Profile: f.bool("pprof"), Insecure: f.bool("insecure"),
		BaseURL: f.string("base-url"), AnyModel: f.bool("any-model"), Prompts: f.bool("log-prompts"),
		Keep:     reply.Keep{Hold: wrong.duration("keep-alive"), Every: keepEvery},
		Drain:    wrong.duration("drain"),
		Security: security.Config{Hosts: f.texts("host-name"), Origins: f.texts("cors-origin"), MaxBody: int64(wrong.size("max-body"))},
		Queue:    queue.Limits{Waiting: wrong.atLeast("queue", 1), PerClient: wrong.atLeast("queue-per-client", 0), Keep: wrong.duration("keep"), KeepBytes: int64(wrong.size("keep-memory"))},
		Service: service.Config{Filters: sd.Upscalers(), Version: sd.Version,
			Limits: service.Limits{Pictures: wrong.atLeast("max-pictures", 1), Pixels: wrong.atLeast("max-pixels", 64), Work: f.number("max-work"), Rate: f.number("rate")}},
		Pool: pool.Config{Batch: max(1, f.int("batch-size")), Stall: wrong.duration("stall"), Idle: wrong.duration("idle"), Budget: wrong.size("memory")},
	}
	if c.Log = logger(p, f, &wrong); wrong.err() != nil {
		return c, wrong.err()
	}
	if c.Security.Users, c.Security.Keys, err = secrets(p, f); err != nil {
		return c, err
	}
	if c.Queue.PerClient == 0 && !(security.Loopback(c.Listen) && len(c.Security.Users)+len(c.Security.Keys) == 0) {
		c.Queue.PerClient = waitingPerClient
	}
	if c.Pool.Budget == 0 {
		if free := limits.Memory().Amount; free != limits.Unlimited {
			c.Pool.Budget = free / 5 * 4
		}
	}
	c.Service.Inputs = inputs.Reader{MaxPixels: sd.MaxSide * sd.MaxSide}
	if f.bool("picture-urls") {
		c.Service.Inputs.Web = inputs.NewFetcher(nil)
	}
	return c, openFolders(p, f, &c)
}

const (
	keepEvery        = 15 * time.Second // white space in late replies
	waitingPerClient = 4
)

// openFolders opens the models' folder and the pictures', and says how workers start.
func openFolders(p *program, f *flags, c *server.Config) (err error) {
	config := catalog.Config{Folder: f.string("models"), Files: f.texts("model"), Log: c.Log}
	if folder, err := hub.Folder(p.getenv); err == nil && config.Folder == "" {
		if _, err := os.Stat(folder); err == nil {
			config.Folder = folder
		}
	}
	if config.Builtin, err = builtins(); err != nil {
		return err
	}
	all, err := catalog.New(config)
	if err != nil {
		return err
	}
	c.Service.Catalog = all
	if files := f.texts("model"); len(files) > 0 {
		for _, e := range all.Entries(catalog.Checkpoint, catalog.Refiner) {
			if e.Path == files[0] {
				c.Service.Default = e.Name
			}
		}
	}
	if folder := f.string("outputs"); folder != "" {
		if c.Service.Gallery, err = gallery.Open(folder); err != nil {
			return err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.Pool.Start = pool.Command(workerEnvironment(os.Environ()), exe, workerArguments(f)...)
	return nil
}

// builtins are the entries of the models that come with the program.
func builtins() (all []catalog.Entry, err error) {
	for _, name := range sd.Builtins() {
		e, err := catalog.Builtin(sd.BuiltinPrefix+name, name, sd.BuiltinData(name))
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// workerArguments are the command line of workers: the flags that say how a model is
// run.
func workerArguments(f *flags) []string {
	args := []string{"worker"}
	for _, flag := range workerCommand().flags {
		name := flag.Names()[0]
		if f.set(name) {
			args = append(args, "--"+name+"="+f.text(name))
		}
	}
	return args
}

// workerEnvironment is the environment without secrets.
func workerEnvironment(environ []string) (all []string) {
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, environment) {
			all = append(all, line)
		}
	}
	return all
}

// secrets are the users and keys of files and of the environment.
func secrets(p *program, f *flags) (users, keys []string, err error) {
	for _, s := range []struct {
		flag, variable string
		to             *[]string
	}{{"auth-file", usersVariable, &users}, {"api-key-file", keysVariable, &keys}} {
		if file := f.string(s.flag); file != "" {
			if *s.to, err = security.Secrets(file); err != nil {
				return nil, nil, fmt.Errorf("%s %w", f.name(s.flag), err)
			}
		}
		*s.to = append(*s.to, strings.Fields(p.getenv(s.variable))...)
	}
	return users, keys, nil
}

// logger is where the server's log goes: standard error.
func logger(p *program, f *flags, wrong *problems) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(f.string("log-level"))) != nil {
		wrong.add("log-level", "must be debug, info, warn or error, got %q", f.string("log-level"))
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.string("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(p.stderr, options))
	case "json":
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	wrong.add("log-format", "must be text or json, got %q", f.string("log-format"))
	return nil
}

// duration is a flag's time, such as 30s or 10m; 0 where there is none.
func (w *problems) duration(flag string) time.Duration {
	text := w.flags.string(flag)
	if text == "" {
		return 0
	}
	if n, err := strconv.Atoi(text); err == nil && n == 0 {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		w.add(flag, "must be a time such as 30s or 10m, got %q", text)
	}
	return d
}

// size is a flag's number of bytes; 0 where there is none.
func (w *problems) size(flag string) uint64 {
	if w.flags.string(flag) == "" {
		return 0
	}
	n, err := parseBytes(w.flags.string(flag))
	if err != nil {
		w.add(flag, "%v", err)
	}
	return n
}

// atLeast is a flag's whole number; 0 where there is none.
func (w *problems) atLeast(flag string, low int) int {
	n := w.flags.int(flag)
	if w.flags.set(flag) && n < low {
		w.add(flag, "must be at least %d, got %d", low, n)
	}
	return n
}
