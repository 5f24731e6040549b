package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cgo"
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

type device struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Description string `json:"description"`
	Free        uint64 `json:"free"`  // bytes
	Total       uint64 `json:"total"` // bytes
}

func (r *run) runDevices(c *urfave.Context) error {
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	var all []device
	for _, d := range cgo.Devices() {
		all = append(all, device{strings.ToLower(d.Name), d.Kind.String(), d.Description, d.Free, d.Total})
	}
	if c.Bool("json") {
		return r.writeJSON(all)
	}
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tMEMORY\tDESCRIPTION")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.Name, d.Kind, byteSize(d.Total), printable(d.Description))
	}
	return t.Flush()
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
