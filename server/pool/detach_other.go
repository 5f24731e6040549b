//go:build !unix

package pool

import "os/exec"

// detach does nothing here: the console's Ctrl-C reaches workers, too, and they ignore
// it.
func detach(*exec.Cmd) {}
