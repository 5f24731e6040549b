//go:build unix

package pool

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C from the worker: the server lets running jobs end.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
