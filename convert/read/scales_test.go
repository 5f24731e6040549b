package read

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// What ComfyUI says of weights of few bits is read: formats that change the arithmetic are refused.
func TestComfyQuant(t *testing.T) {
	for text, want := range map[string]string{
		`{"format": "float8_e4m3fn"}`:                     "",
		`{"format": "int8_tensorwise", "convrot": false}`: "",
		`{"format": "int8_tensorwise", "convrot": true}`:  "convrot: true) are not supported",
		`{"format": "nvfp4"}`:                             `weights of the format "nvfp4"`,
		`{`:                                               "must be JSON",
	} {
		err := checkComfyQuant(model.Stored{Tensor: model.Tensor{Name: "layers.0.attention.qkv.comfy_quant", Shape: []int64{int64(len(text))}, Bytes: []byte(text)}})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, checkComfyQuant(model.Stored{Tensor: model.Tensor{Name: "a.weight"}}))
}
