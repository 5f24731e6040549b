package job

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

func TestText(t *testing.T) {
	p := request.Params{Model: "v1,5", Request: request.Request{Prompt: "a cat, 1girl", NegativePrompt: "blurry", Width: 512, Height: 768, Steps: 20,
		Guidance: request.Float(7.5), Sampler: "euler_a", Schedule: "karras", Seed: 42, RNG: request.TorchRNG, ClipSkip: 2}}
	require.Equal(t, "a cat, 1girl\nNegative prompt: blurry\nSteps: 20, Sampler: euler_a, Schedule type: karras, CFG scale: 7.5, Seed: 42, "+
		"Size: 512x768, Model: \"v1,5\", Clip skip: 2, RNG: torch, Version: sdgo 9.9", Text(p, "9.9"))
	p = request.Params{Request: request.Request{Width: 8, Height: 8, Steps: 1, Sampler: "s", Schedule: "d", Guidance: request.Float(0), RNG: request.PhiloxRNG}}
	require.Equal(t, "\nSteps: 1, Sampler: s, Schedule type: d, CFG scale: 0, Seed: 0, Size: 8x8, RNG: philox, Version: sdgo 9.9", Text(p, "9.9"))
}
