package family

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What objects of EDM's classes say.
func TestSaidByObject(t *testing.T) {
	song := map[string]string{"model": "SongUNet"}
	for class, test := range map[string]struct {
		fields map[string]any
		want   map[string]string
	}{
		"EDMPrecond": {map[string]any{"sigma_data": 0.6, "sigma_min": int64(0), "sigma_max": math.Inf(1), "img_resolution": int64(64)},
			map[string]string{"process": "edm", "sigma_data": "0.6", "size": "64"}},
		"VPPrecond":    {map[string]any{"beta_d": 19.9, "beta_min": 0.1, "M": int64(1000)}, map[string]string{"process": "vp", "beta_start": "0.1", "beta_end": "20"}},
		"VEPrecond":    {map[string]any{"sigma_max": int64(100)}, map[string]string{"process": "ve", "sigma_min": "0.02", "sigma_max": "100", "unit_range": "0", "center": "0"}},
		"iDDPMPrecond": {map[string]any{"M": int64(4000)}, map[string]string{"process": "ddpm", "betas": "cosine", "steps": "4000", "variance": "fixed_small"}},
	} {
		said, warnings, err := SaidByObject(class, "", song, test.fields)
		require.NoError(t, err)
		require.Empty(t, warnings)
		for key, value := range test.want {
			require.Equal(t, value, said[pixelKey+key], "%s: %s", class, key)
		}
	}
	for _, test := range []struct {
		class, encoder string
		modules        map[string]string
		fields         map[string]any
		want           string
	}{
		{"Generator", "", song, nil, `a pickle of an object of class "Generator"; of those that bring their code along, EDMPrecond, `},
		{"EDMPrecond", "", map[string]string{"model": "SkipUNet"}, nil, `a pickle of an EDMPrecond whose network has the class "SkipUNet", which must be DhariwalUNet or SongUNet`},
		{"EDMPrecond", "LatentEncoder", song, nil, `whose encoder has the class "LatentEncoder", which must be StandardRGBEncoder or StabilityVAEEncoder`},
		{"VPPrecond", "", song, map[string]any{"M": int64(500)}, "ema: M must be 1000: times go to 999, got 500"},
		{"iDDPMPrecond", "", song, map[string]any{"C_2": 0.01}, "ema: C_2 must be 0.008"},
		{"EDMPrecond", "", song, map[string]any{"sigma_data": "half"}, "ema: sigma_data must be a number"},
	} {
		_, _, err := SaidByObject(test.class, test.encoder, test.modules, test.fields)
		require.ErrorContains(t, err, test.want)
	}
	_, warnings, err := SaidByObject("EDMPrecond", "", song, map[string]any{"new": 1.5})
	require.NoError(t, err)
	require.Equal(t, []string{`ema: "new" = 1.5 is not known and was not read`}, warnings)
}
