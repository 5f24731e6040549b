package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

func devicesCommand() *command {
	return &command{
		name:     "devices",
		usage:    "lists what --backend can compute on",
		synopsis: "devices [--json]",
		flags:    []urfave.Flag{&urfave.BoolFlag{Name: "json", Usage: "as JSON"}},
		run:      runDevices,
	}
}

// device is a device, or a plugin that did not load.
type device struct {
	Name        string `json:"name,omitempty"` // what --backend takes
	Kind        string `json:"kind,omitempty"`
	Description string `json:"description,omitempty"`
	Software    bool   `json:"software,omitempty"` // a GPU's driver that computes on the CPU
	Free        uint64 `json:"free"`               // bytes
	Total       uint64 `json:"total"`              // bytes

	Kernels    string   `json:"kernels,omitempty"`     // the CPU's operators that are used
	KernelSets []string `json:"kernel_sets,omitempty"` // what SDGO_KERNELS may choose instead

	Plugin string `json:"plugin,omitempty"` // a file that did not load,
	Error  string `json:"error,omitempty"`  // and why
}

func runDevices(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	all, err := listDevices()
	if err != nil {
		return err
	}
	if f.bool("json") {
		return report.JSON(p.stdout, all, "  ")
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tFREE\tMEMORY\tDESCRIPTION")
	for _, d := range all {
		if d.Plugin == "" {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", report.Printable(d.Name), d.Kind, report.Size(d.Free), report.Size(d.Total), report.Printable(d.Description))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range all {
		if d.Kernels != "" {
			fmt.Fprintf(p.stdout, "\n%s computes with the kernels %s; SDGO_KERNELS can be %s\n",
				d.Name, d.Kernels, strings.Join(d.KernelSets, ", "))
		}
		if d.Plugin != "" {
			fmt.Fprintf(p.stdout, "\n%s: not loaded: %s\n", report.Printable(d.Plugin), report.Printable(d.Error))
		}
	}
	return nil
}

// listDevices lists the devices, and the plugins that did not load.
func listDevices() (all []device, err error) {
	kernels, err := sd.Kernels("")
	if err != nil {
		return nil, err
	}
	for _, d := range cgo.Devices() {
		kind := d.Kind.String()
		if d.Software {
			kind += " in software"
		}
		one := device{Name: strings.ToLower(d.Name), Kind: kind, Description: d.Description,
			Software: d.Software, Free: d.Free, Total: d.Total}
		if d.Kind == cgo.CPU {
			one.Kernels, one.KernelSets = kernels, cgo.KernelNames()
		}
		all = append(all, one)
	}
	for _, p := range cgo.Plugins() {
		if p.Err != nil {
			all = append(all, device{Plugin: p.Path, Error: p.Err.Error()})
		}
	}
	return all, nil
}
