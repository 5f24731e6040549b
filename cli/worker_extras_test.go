package cli

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/server/wire"
)

// Adapters stay open while they are used, and some of the others, those that were used
// last.
func TestExtrasAreClosed(t *testing.T) {
	m, err := sd.Open(tinyModel(t), sd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	lora := func(version int64, file string) []wire.Model {
		return []wire.Model{{Role: wire.RoleLoRA, Path: filepath.Join("../testdata/adapters", file), Name: "style", Modified: version}}
	}
	x := &extras{}
	fork := func(all []wire.Model) (*sd.Model, func()) {
		t.Helper()
		f, release, err := x.fork(t.Context(), m, sd.Options{}, all)
		require.NoError(t, err)
		return f, release
	}
	_, releaseFirst := fork(lora(0, "kohya.safetensors"))
	first := x.held[0]
	for version := range int64(2 * maxIdleAdapters) {
		_, release := fork(lora(version, "locon.safetensors"))
		release()
	}
	require.Len(t, x.held, maxIdleAdapters+1)
	require.False(t, first.Attachment.(*sd.Adapter).Closed(), "it is in use")
	_, again := fork(lora(0, "kohya.safetensors"))
	require.Equal(t, 2, first.users)
	releaseFirst()
	again()
	require.False(t, first.Attachment.(*sd.Adapter).Closed(), "it was used last")
	for version := range int64(maxIdleAdapters) {
		_, release := fork(lora(100+version, "locon.safetensors"))
		release()
	}
	require.True(t, first.Attachment.(*sd.Adapter).Closed())
	require.Len(t, x.held, maxIdleAdapters)

	for version := range int64(2 * maxIdleControls) { // which count by themselves
		_, release := fork([]wire.Model{{Role: wire.RoleControl, Path: "../testdata/controls/sd1.safetensors", Name: "net", Modified: version}})
		release()
	}
	require.Len(t, x.held, maxIdleAdapters+maxIdleControls)

	same, release := fork(nil)
	require.Same(t, m, same)
	release()
	for _, wrong := range [][]wire.Model{lora(0, "none.safetensors"), {{Role: wire.RoleTAESD}}, append(lora(0, "kohya.safetensors"), lora(0, "locon.safetensors")...)} {
		_, _, err = x.fork(t.Context(), m, sd.Options{}, wrong)
		require.Error(t, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = x.fork(ended, m, sd.Options{}, lora(0, "kohya.safetensors"))
	require.ErrorIs(t, err, context.Canceled)
	for _, a := range x.held {
		require.Zero(t, a.users, "failures release what they hold")
	}
}
