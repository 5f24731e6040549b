package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/hub"
	"github.com/sdgo/sdgo/server/catalog"
)

// Variables of the model hub, by the names that its own programs have for them.
const (
	hubVariable   = "HF_ENDPOINT"
	tokenVariable = "HF_TOKEN"
)

func modelsFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "models", Usage: "`FOLDER` with models (default: the variable SDGO_MODELS, else sdgo/models where the system keeps a user's data)"}
}

func pullCommand() *command {
	return &command{
		name:     "pull",
		usage:    "fetches a model from a hub or an https address",
		synopsis: "pull [flags] NAME|OWNER/REPO/FILE|URL",
		flags: []urfave.Flag{
			modelsFlag(),
			&urfave.StringFlag{Name: "as", Usage: "`NAME` of the file (default: that of the address)"},
			&urfave.StringFlag{Name: "sha256", Usage: "`HASH` that the file must have (default: what the table or the hub says)"},
			&urfave.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		},
		run:    runPull,
		events: true,
		description: `
What was fetched stays if the connection breaks, and the next call goes on from
there. The file appears when it is complete and its size and SHA-256 are right.
sdgo models --known lists the short names. Files that ask for it get the token in
the variable HF_TOKEN.

Examples:
  sdgo pull sd15
  sdgo txt2img -m sd15 -p "a lighthouse"
  sdgo pull stabilityai/sdxl-turbo/sd_xl_turbo_1.0_fp16.safetensors
  sdgo pull --as mine.safetensors https://example.com/download/5`,
	}
}

// pulled is a fetched file as an event.
type pulled struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Checked bool   `json:"checked"`
	Already bool   `json:"already,omitempty"`
	Resumed int64  `json:"resumed,omitempty"`
	Model   string `json:"model,omitempty"`
}

// runPull fetches a model.
func runPull(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(1, "a model's name or address"); err != nil {
		return err
	}
	address := hub.Address
	if other := p.getenv(hubVariable); other != "" {
		address = other
	}
	file, err := hub.Resolve(f.args[0], address, f.string("as"))
	if err != nil {
		return report.Usagef("%v", err)
	}
	if sum := strings.ToLower(f.string("sha256")); sum != "" {
		if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
			return f.problem("sha256", "must be 64 hexadecimal digits, got %q", f.string("sha256"))
		}
		file.SHA256 = sum
	}
	folder, err := modelsFolder(p, f)
	if err != nil {
		return err
	}
	if m, ok := hub.Known(f.args[0]); ok && !f.bool("quiet") && !f.events() {
		fmt.Fprintf(p.stderr, "%s: %s, %s; licence: %s\n", m.Name, m.What, report.Size(uint64(m.Bytes)), m.Licence)
	}
	style, w := p.style(f)
	progress := report.NewBytes("fetch", style, w, p.now)
	defer progress.Close()
	r, err := hub.Fetch(ctx, file, folder, hub.Options{Hub: address, Token: p.getenv(tokenVariable), Force: f.bool("force"), Progress: progress.Advance})
	if err != nil {
		return err
	}
	progress.Close()
	return showPulled(p, f, r)
}

// showPulled says what was fetched, and warns of what is no model.
func showPulled(p *program, f *flags, r hub.Result) error {
	out := pulled{r.Path, r.Bytes, r.SHA256, r.Checked, r.Already, r.Resumed, ""}
	e, err := catalog.Inspect(r.Path)
	if err != nil {
		p.log(f).Warn(fmt.Sprintf("%s is no model that can be opened: %v", r.Path, err))
	}
	out.Model = e.Description
	if !r.Checked {
		p.log(f).Warn("no SHA-256 was known before; that of the file is " + r.SHA256)
	}
	if f.events() {
		report.Event(p.stdout, "pulled", out)
		return nil
	}
	fmt.Fprintln(p.stdout, r.Path)
	return nil
}

// modelsFolder is where models are kept.
func modelsFolder(p *program, f *flags) (string, error) {
	if folder := f.string("models"); folder != "" {
		return folder, nil
	}
	return hub.Folder(p.getenv)
}

// findModels puts files of the models' folder in place of names that are no files.
func findModels(p *program, f *flags) {
	if f.command.name == "bench" { // whose models may be random
		return
	}
	for _, name := range append([]string{"model", "refiner", "taesd"}, partNames()...) {
		flag := f.command.flag(name)
		if flag == nil || !f.set(name) {
			continue
		}
		switch flag.(type) {
		case *urfave.StringFlag:
			if file, ok := findModel(p, f.string(name)); ok {
				_ = f.values.Set(name, file) // any text is a value
			}
		case *urfave.GenericFlag:
			all := f.texts(name)
			for i := range all {
				if file, ok := findModel(p, all[i]); ok {
					all[i] = file
				}
			}
		}
	}
}

// findModel finds a model of the folder.
func findModel(p *program, name string) (string, bool) {
	if _, err := os.Stat(name); err == nil {
		return "", false
	}
	folder, err := hub.Folder(p.getenv)
	if err != nil {
		return "", false
	}
	return hub.Find(folder, name)
}

func modelsCommand() *command {
	return &command{
		name:     "models",
		usage:    "lists the models of a folder, and those that sdgo pull knows by short names",
		synopsis: "models [--known] [--json]",
		flags: []urfave.Flag{
			modelsFlag(),
			&urfave.BoolFlag{Name: "known", Usage: "list the well-known models, with sizes and licences"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		run: runModels,
		description: `
Examples:
  sdgo models
  sdgo models --known
  sdgo models --models /srv/models --json`,
	}
}

// foundModel is a model of the folder as JSON.
type foundModel struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Path        string `json:"path,omitempty"`
	Description string `json:"description,omitempty"`
	Bytes       uint64 `json:"bytes"`
	Why         string `json:"why,omitempty"`
}

// runModels lists models.
func runModels(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	folder, err := modelsFolder(p, f)
	if err != nil && !f.bool("known") {
		return err
	}
	if f.bool("known") {
		return listKnown(p, f, folder)
	}
	c := catalog.Config{}
	if c.Builtin, err = builtins(); err != nil {
		return err
	}
	if _, err := os.Stat(folder); err == nil || f.set("models") {
		c.Folder = folder
	}
	all, err := catalog.New(c)
	if err != nil {
		return err
	}
	found := []foundModel{}
	for _, e := range all.Entries() {
		found = append(found, foundModel{e.Name, string(e.Kind), e.Path, e.Description, e.Bytes, e.Why})
	}
	if f.bool("json") {
		return report.JSON(p.stdout, found, "  ")
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, m := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", report.Printable(m.Name), m.Kind, report.Size(m.Bytes), report.Printable(m.Description+m.Why))
	}
	return errors.Join(w.Flush(), footnote(p, folder))
}

func footnote(p *program, folder string) error {
	_, err := fmt.Fprintf(p.stdout, "\n%s; sdgo models --known lists what sdgo pull has names for\n", report.Printable(folder))
	return err
}

// listKnown lists the well-known models.
func listKnown(p *program, f *flags, folder string) error {
	if f.bool("json") {
		return report.JSON(p.stdout, hub.Models(), "  ")
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, m := range hub.Models() {
		size, here := "", ""
		if m.Bytes > 0 {
			size = report.Size(uint64(m.Bytes))
		}
		if _, ok := hub.Find(folder, m.Name); ok {
			here = "(is there)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, size, m.What, m.Licence, here)
	}
	return w.Flush()
}
