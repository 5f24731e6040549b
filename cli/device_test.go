package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A device in software is listed, and nothing but its name chooses it.
func TestListOnDevice(t *testing.T) {
	name := os.Getenv("SDGO_TEST_DEVICE")
	if name == "" {
		t.Skip("SDGO_TEST_DEVICE names no device; make gpu does")
	}
	var all []device
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "devices", "--json").out), &all))
	found := false
	for _, d := range all {
		found = found || d.Name == name && d.Total > 0 && d.Free > 0 && d.Kind != "" && d.Description != ""
		require.Empty(t, d.Error)
	}
	require.True(t, found, "%v", all)
	require.Contains(t, strings.ToLower(sdgo(t, "devices").out), name)
}
