package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd"
)

func (r *run) devices() *urfave.Command {
	return &urfave.Command{
		Name:      "devices",
		Usage:     "lists what --backend can compute on",
		UsageText: "devices [--json]",
		HideHelp:  true,
		Flags:     []urfave.Flag{&urfave.BoolFlag{Name: "json", Usage: "as JSON"}},
		Action:    r.runDevices,
	}
}

// device is a device, or a plugin that has none to offer.
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

func (r *run) runDevices(c *urfave.Context) error {
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	kernels, err := sd.Kernels("")
	if err != nil {
		return err
	}
	var all []device
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
	if c.Bool("json") {
		return r.writeJSON(all)
	}
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tFREE\tMEMORY\tDESCRIPTION")
	for _, d := range all {
		if d.Plugin == "" {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(d.Name), d.Kind, byteSize(d.Free), byteSize(d.Total), printable(d.Description))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range all {
		if d.Kernels != "" {
			fmt.Fprintf(r.out, "\n%s computes with the kernels %s; SDGO_KERNELS can be %s\n",
				d.Name, d.Kernels, strings.Join(d.KernelSets, ", "))
		}
		if d.Plugin != "" {
			fmt.Fprintf(r.out, "\n%s: not loaded: %s\n", printable(d.Plugin), printable(d.Error))
		}
	}
	return nil
}

// byteSize is a size with three digits and a decimal unit, as disks have them.
func byteSize(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1000, 0
	for v >= 999.5 && unit < len(units)-1 {
		v, unit = v/1000, unit+1
	}
	digits := 2
	if v >= 9.995 {
		digits = 1
	}
	if v >= 99.95 {
		digits = 0
	}
	return fmt.Sprintf("%.*f %cB", digits, v, units[unit])
}
