package cli

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A training that is killed (kill -9) continues from its last checkpoint, and ends as one
// that was not.
func TestTrainAfterKill(t *testing.T) {
	program, err := buildProgram()
	require.NoError(t, err)
	set, whole, killed := trainingSet(t), filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	require.Equal(t, ExitOK, sdgo(t, tinyTraining("unet", set, whole, "--sample-every", "0")...).code)

	c := exec.Command(program, tinyTraining("unet", set, killed, "--sample-every", "0", "--json")...)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines, saves := bufio.NewScanner(out), 0
	for lines.Scan() { // until the step after the second checkpoint
		if strings.Contains(lines.Text(), `"save"`) {
			saves++
		} else if saves == 2 {
			break
		}
	}
	require.NoError(t, c.Process.Kill())
	require.Error(t, c.Wait())

	require.Equal(t, 2, saves)
	o := sdgo(t, tinyTraining("unet", set, killed, "--sample-every", "0", "--resume")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.True(t, bytes.Equal(stateOf(t, whole), stateOf(t, killed)))
}
