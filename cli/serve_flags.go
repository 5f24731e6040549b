package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
)

// environment is how variables begin that stand for flags of serve: SDGO_SERVE_LISTEN.
// Those of secrets are apart, because workers don't get them.
const environment = "SDGO_SERVE_"

// Variables with secrets, a line each.
const (
	usersVariable = "SDGO_SERVE_AUTH"
	keysVariable  = "SDGO_SERVE_API_KEYS"
)

func serveFlags() []urfave.Flag {
	model := modelFlags()
	return slices.Concat([]urfave.Flag{
		&urfave.StringFlag{Name: "listen", Value: "127.0.0.1:7860", Usage: "`ADDRESS` to listen on (default: 127.0.0.1:7860, this machine alone)"},
		&urfave.StringFlag{Name: "models", Usage: "`FOLDER` with models, which is watched (default: that of sdgo pull)"},
		&urfave.GenericFlag{Name: "model", Aliases: []string{"m"}, Value: new(texts), Usage: "`FILE` a further model; repeatable, the first one is the default"},
		&urfave.StringFlag{Name: "outputs", Usage: "`FOLDER` where finished pictures are kept (default: in memory, for a time)"},
		&urfave.StringFlag{Name: "memory", Usage: "`SIZE` the most memory that all open models may take (default: four fifths of what is free)"},
	}, model[1:], []urfave.Flag{
		batchSizeFlag(),
		&urfave.StringFlag{Name: "idle", Usage: "`TIME` after which a model that is not used is closed, such as 10m (default: never)"},
		&urfave.StringFlag{Name: "stall", Value: "10m", Usage: "`TIME` without progress after which a job's worker is ended (default: 10m)"},

		&urfave.StringFlag{Name: "auth-file", Usage: "`FILE` of users, NAME:PASSWORD a line"},
		&urfave.StringFlag{Name: "api-key-file", Usage: "`FILE` of API keys, KEY or NAME=KEY a line"},
		&urfave.BoolFlag{Name: "insecure", Usage: "serve others than this machine without users and keys"},
		&urfave.GenericFlag{Name: "host-name", Value: new(texts), Usage: "`NAME` by which the server may be called; repeatable"},
		&urfave.GenericFlag{Name: "cors-origin", Value: new(texts), Usage: "`URL` of an origin whose pages may use the server; repeatable"},
		&urfave.BoolFlag{Name: "picture-urls", Usage: "fetch pictures of requests from public addresses"},

		&urfave.IntFlag{Name: "queue", Value: 256, Usage: "`N` jobs that may wait (default: 256)"},
		&urfave.IntFlag{Name: "queue-per-client", Usage: "`N` jobs of one client that may wait (default: 4; on this machine alone and without users as many as may wait)"},
		&urfave.StringFlag{Name: "keep", Value: "1h", Usage: "`TIME` for which jobs and their pictures are kept in memory (default: 1h)"},
		&urfave.StringFlag{Name: "keep-memory", Value: "256M", Usage: "`SIZE` of pictures that are kept there at most (default: 256M)"},
		&urfave.IntFlag{Name: "max-pictures", Value: 64, Usage: "`N` pictures of a request (default: 64)"},
		&urfave.IntFlag{Name: "max-pixels", Value: 4096 * 4096, Usage: "`N` pixels of a picture (default: 16777216)"},
		&urfave.Float64Flag{Name: "max-work", Value: 1e11, Usage: "`N` pixels times steps times pictures of a request (default: 1e+11)"},
		&urfave.StringFlag{Name: "max-body", Value: "64M", Usage: "`SIZE` of a request (default: 64M)"},
		&urfave.Float64Flag{Name: "rate", Usage: "`N` requests for pictures of a client a second (default: no limit)"},

		&urfave.StringFlag{Name: "keep-alive", Value: "60s", Usage: "`TIME` after which white space keeps late replies alive; 0 is never (default: 60s)"},
		&urfave.StringFlag{Name: "base-url", Usage: "`URL` of the server, for addresses of pictures (default: the request's host)"},
		&urfave.BoolFlag{Name: "any-model", Usage: "take the default model where OpenAI's interface is asked for one that there is not"},

		&urfave.StringFlag{Name: "metrics", Usage: "`ADDRESS` for Prometheus and health, such as 127.0.0.1:9090"},
		&urfave.BoolFlag{Name: "pprof", Usage: "profiles of the server, there, too"},
		&urfave.StringFlag{Name: "log-format", Value: "text", Usage: "`NAME` text or json (default: text)"},
		&urfave.StringFlag{Name: "log-level", Value: "info", Usage: "`NAME` debug, info, warn or error (default: info)"},
		&urfave.BoolFlag{Name: "log-prompts", Usage: "have prompts in the log"},
		&urfave.StringFlag{Name: "drain", Value: "30s", Usage: "`TIME` for running jobs when the server is asked to end (default: 30s)"},
		&urfave.StringFlag{Name: "config", Usage: "`FILE` with flags as a JSON object, such as {\"listen\": \"0.0.0.0:7860\"}"},
	})
}

// settings are a command's flags together with those of the environment and of a file:
// what is on the command line counts first, then the environment, then the file.
func settings(p *program, f *flags, environ []string) (*flags, error) {
	all, err := environmentSettings(f, environ)
	if err != nil {
		return nil, err
	}
	file := f.string("config")
	if values := all["config"]; file == "" && len(values) > 0 {
		file = values[len(values)-1].value
	}
	if file != "" {
		fields, err := fileSettings(f, file)
		if err != nil {
			return nil, err
		}
		for flag, values := range fields {
			if len(all[flag]) == 0 {
				all[flag] = values
			}
		}
	}
	var fields []field
	for _, flag := range f.command.flags {
		name := flag.Names()[0]
		if !f.set(name) {
			fields = append(fields, all[name]...)
			continue
		}
		if _, many := flag.(*urfave.GenericFlag); many {
			for _, v := range f.texts(name) {
				fields = append(fields, field{name, v})
			}
			continue
		}
		fields = append(fields, field{name, f.text(name)})
	}
	out, err := newFlags(serveCommand(), fields) // whose lists are empty
	if err != nil {
		return nil, report.Usagef("%v", err)
	}
	out.typed, out.args = f.typed, f.args
	return out, nil
}

// environmentSettings reads flags from variables.
func environmentSettings(f *flags, environ []string) (map[string][]field, error) {
	all := map[string][]field{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		name, ok := strings.CutPrefix(name, environment)
		if !ok || environment+name == usersVariable || environment+name == keysVariable {
			continue
		}
		flag := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		known := f.command.flag(flag)
		if known == nil || len(flag) < 2 {
			return nil, report.Usagef("%s%s: there is no such flag of serve", environment, name)
		}
		values := []string{value}
		if _, many := known.(*urfave.GenericFlag); many {
			values = strings.Fields(value)
		}
		for _, v := range values {
			v, err := checkValue(known, environment+name, v)
			if err != nil {
				return nil, err
			}
			all[flag] = append(all[flag], field{flag, v})
		}
	}
	return all, nil
}

// fileSettings reads flags from a file: {"listen": "0.0.0.0:7860", "host_name": ["a", "b"]}.
func fileSettings(f *flags, file string) (map[string][]field, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.name("config"), err)
	}
	members, err := requests.Members(data)
	if err != nil {
		return nil, report.Usagef("%s %s: %v", f.name("config"), file, err)
	}
	all := map[string][]field{}
	for _, m := range members {
		flag := strings.ReplaceAll(m.Key, "_", "-")
		known := f.command.flag(flag)
		if known == nil || len(flag) < 2 || flag == "config" {
			return nil, report.Usagef("%s %s: %q: there is no such flag of serve", f.name("config"), file, m.Key)
		}
		var many []json.RawMessage
		if _, ok := known.(*urfave.GenericFlag); !ok || json.Unmarshal(m.Value, &many) != nil {
			many = []json.RawMessage{m.Value}
		}
		for _, raw := range many {
			var text string
			switch {
			case string(raw) == "null":
				continue
			case raw[0] == '{' || raw[0] == '[':
				return nil, report.Usagef("%s %s: %q: must be a text, a number or a switch, got %.40s", f.name("config"), file, m.Key, raw)
			case json.Unmarshal(raw, &text) != nil:
				text = string(raw)
			}
			text, err := checkValue(known, fmt.Sprintf("%s: %q", file, m.Key), text)
			if err != nil {
				return nil, err
			}
			all[flag] = append(all[flag], field{flag, text})
		}
	}
	return all, nil
}
