package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/sdgo/sdgo/sd"
)

// ggmlModule is the Go module that ggml comes in.
const ggmlModule = "github.com/ollama/ollama"

func versionCommand() *command {
	return &command{
		name:     "version",
		usage:    "prints the version",
		synopsis: "version",
		run:      runVersion,
	}
}

func runVersion(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "sdgo %s (%s, %s/%s", sd.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			if m.Path == ggmlModule {
				fmt.Fprintf(p.stdout, ", ggml of ollama %s", m.Version)
			}
		}
	}
	_, err := fmt.Fprintln(p.stdout, ")")
	return err
}
