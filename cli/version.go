package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
)

// ggmlModule is the Go module that ggml comes in.
const ggmlModule = "github.com/ollama/ollama"

func (r *run) version() *urfave.Command {
	return &urfave.Command{
		Name:      "version",
		Usage:     "prints the version",
		UsageText: "version",
		HideHelp:  true,
		Action: func(c *urfave.Context) error {
			if err := arguments(c, 0, ""); err != nil {
				return err
			}
			fmt.Fprintf(r.out, "sdgo %s (%s, %s/%s", sd.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if build, ok := debug.ReadBuildInfo(); ok {
				for _, m := range build.Deps {
					if m.Path == ggmlModule {
						fmt.Fprintf(r.out, ", ggml of ollama %s", m.Version)
					}
				}
			}
			_, err := fmt.Fprintln(r.out, ")")
			return err
		},
	}
}
