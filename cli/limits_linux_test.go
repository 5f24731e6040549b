package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// buildProgram builds the command as others do, in a folder that lasts as long as
// the tests.
var buildProgram = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "sdgo-limits")
	if err != nil {
		return "", err
	}
	programFolder = folder
	path := filepath.Join(folder, "sdgo")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/sdgo/sdgo/cli/sdgo").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

var programFolder string // "" until it is built

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(programFolder)
	os.Exit(code)
}

// under runs the command after a shell's words that limit it. It must end by itself:
// not by a signal, not by a fatal error of Go's runtime, and in time.
func under(t *testing.T, words string, args ...string) outcome {
	t.Helper()
	program, err := buildProgram()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", append([]string{"-c", words + `; exec "$0" "$@"`, program}, args...)...)
	var out, errors bytes.Buffer
	c.Stdout, c.Stderr = &out, &errors
	if c.Run() != nil {
		require.NoError(t, ctx.Err(), "it hangs")
	}
	o := outcome{c.ProcessState.ExitCode(), out.String(), errors.String()}
	switch o.code {
	case ExitOK:
	case ExitFailure:
		o.requireError(t, ExitFailure)
	default:
		require.Fail(t, "it did not end by itself", "%s: %s\n%s", words, c.ProcessState, o.errors)
	}
	return o
}

// tinyPicture draws a picture of a size with a tiny model.
func tinyPicture(t *testing.T, side int) []string {
	return []string{"txt2img", "-q", "-m", tinyModel(t), "-p", "a fox", "-s", "1", "--steps", "1",
		"-W", fmt.Sprint(side), "-H", fmt.Sprint(side), "-o", filepath.Join(t.TempDir(), "out.png")}
}

func TestLimitsOfAddressSpace(t *testing.T) {
	args := tinyPicture(t, 64)
	drawn, refused := 0, 0
	for limit := 100; limit <= 1600; limit += 100 {
		o := under(t, fmt.Sprintf("ulimit -v %d000", limit), args...)
		if o.code == ExitOK {
			drawn++
		} else {
			require.Contains(t, o.errors, "ulimit -v", limit)
			refused++
		}
	}
	require.Positive(t, drawn)
	require.Positive(t, refused)
}

// group makes a control group with a controller's limit, set by writing a value
// to a file that may differ between the versions, and returns the shell's words
// to enter it.
func group(t *testing.T, controller string, set map[string]string) string {
	t.Helper()
	parent := filepath.Join("/sys/fs/cgroup", controller) // version 1
	if _, err := os.Stat(parent); err != nil {
		parent = "/sys/fs/cgroup"
		on, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if err != nil || !strings.Contains(string(on), controller) {
			t.Skipf("no control group with a limit of %s can be made here: %v", controller, err)
		}
	}
	folder := filepath.Join(parent, fmt.Sprintf("sdgo-test-%d", os.Getpid()))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.Remove(folder) == nil }, 10*time.Second, 10*time.Millisecond)
	})
	found := false
	for name, value := range set {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(file); err == nil {
			require.NoError(t, os.WriteFile(file, []byte(value), 0o644))
			found = true
		}
	}
	if !found {
		t.Skipf("a control group here has none of %v", set)
	}
	return fmt.Sprintf("echo $$ > '%s/cgroup.procs'", folder)
}

func memoryGroup(t *testing.T, bytes string) string {
	return group(t, "memory", map[string]string{"memory.limit_in_bytes": bytes, "memory.max": bytes, "memory.swap.max": "0"})
}

// A picture that fits in tiles alone is drawn in tiles.
func TestLimitOfMemory(t *testing.T) {
	o := under(t, memoryGroup(t, "700000000"), "txt2img", "-q", "-m", "../testdata/xl/base.safetensors", "-p", "x", "-s", "1",
		"--steps", "1", "--cfg-scale", "1", "-W", "1536", "-H", "1536", "-o", filepath.Join(t.TempDir(), "out.png"))
	require.Equal(t, ExitOK, o.code, o.errors)
}

// One that does not fit at all is not begun.
func TestTooLittleMemory(t *testing.T) {
	o := under(t, memoryGroup(t, "120000000"), tinyPicture(t, 2048)...)
	require.Equal(t, ExitFailure, o.code)
	require.Regexp(t, `would take \d+ MB of memory, \d+ MB are left \(the control group's memory limit\)`, o.errors)
}

func TestLimitsOfThreads(t *testing.T) {
	args := tinyPicture(t, 64)
	for _, limit := range []int{1, 2, 4, 8, 10, 12, 14, 16} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			o := under(t, group(t, "pids", map[string]string{"pids.max": fmt.Sprint(limit)}), args...)
			if limit == 16 {
				require.Equal(t, ExitOK, o.code, o.errors)
			} else if o.code != ExitOK {
				require.Contains(t, o.errors, "threads")
			}
		})
	}
}

func TestHalfAProcessor(t *testing.T) {
	words := group(t, "cpu", map[string]string{"cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000"})
	o := under(t, words, append(tinyPicture(t, 64), "--json")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, `"threads":1,`)
}
