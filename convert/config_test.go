package convert

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Networks that run beside a pipeline: Open reads their configuration, under any
// of the names that their files have, and ConfigAs says what was expected.
func TestConfigAs(t *testing.T) {
	half := &TAESDConfig{Channels: 8, Latent: 4}
	for path, want := range map[string]any{
		"taesd/tiny.safetensors":    &TAESDConfig{Channels: 8, Latent: 4, Decoder: []int{1, 1, 1, 1}, Encoder: []int{1, 1, 1, 1}},
		"taesd/decoder.safetensors": half,
		"taesd/encoder.pth":         half,
		"upscale/x2.safetensors":    &ESRGANConfig{},
		"upscale/x4.pth":            &ESRGANConfig{},
		"upscale/x4-older.pth":      &ESRGANConfig{},
	} {
		m := open(t, fixture.Testdata(t, path))
		require.IsType(t, want, m.Config, path)
		if c, ok := m.Config.(*TAESDConfig); ok {
			require.Equal(t, want.(*TAESDConfig).Latent, c.Latent, path)
			require.True(t, c.Decoder != nil || c.Encoder != nil, path)
			_, err := ConfigAs[*ESRGANConfig](m, "an ESRGAN upscaler")
			require.ErrorIs(t, err, ErrUnrecognized)
			require.EqualError(t, err, m.Path+": "+m.Description+"; expected an ESRGAN upscaler")
		}
		for _, x := range m.Tensors { // named as in the whole
			require.NotRegexp(t, `^[0-9]`, x.Name)
			require.False(t, x.Strided())
		}
		require.Empty(t, Networks(m))
	}
	m := open(t, fixture.Testdata(t, "nets/sd1.safetensors"))
	c, err := ConfigAs[*StableDiffusion](m, "")
	require.NoError(t, err)
	require.Same(t, m.Config, c)
	require.Len(t, Networks(m), 3)

	// A file that lacks something that is needed to run it can be looked at.
	all := fixture.Fill([]family.Weight{{Name: "conv_first.weight", Shape: []int64{8, 3, 3, 3}}, {Name: "body.0.rdb1.conv1.weight", Shape: []int64{4, 8, 3, 3}}}, "F16")
	path := fixture.SaveNew(t, nil, all)
	m, err = Load(path)
	require.NoError(t, err)
	defer m.Close()
	require.Nil(t, m.Config)
	_, err = Open(path)
	require.ErrorContains(t, err, `tensor "conv_last.weight" is missing`)
}
