// Command sdgo makes pictures with Stable Diffusion models.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/sdgo/sdgo/builtin" // the model without -m
	"github.com/sdgo/sdgo/cli"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it is
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
