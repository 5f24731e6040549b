package layout

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// scoreFile has modules of score_sde's, each with tensors of which only names and shapes count.
func scoreFile(modules ...map[string][]int64) (all []model.Stored) {
	for at, module := range modules {
		for name, shape := range module {
			t := model.Tensor{Name: fmt.Sprintf("module.all_modules.%d.%s", at, name), Type: dtype.F16, Shape: shape}
			t.Bytes = make([]byte, 2*t.Elements())
			all = append(all, model.Stored{Tensor: t, DType: "F16"})
		}
	}
	return all
}

// Lists of modules that are no network of score_sde's that is known are errors.
func TestScoreListsAreChecked(t *testing.T) {
	dense, conv := map[string][]int64{"weight": {4, 4}, "bias": {4}}, map[string][]int64{"weight": {4, 3, 3, 3}, "bias": {4}}
	block := map[string][]int64{"GroupNorm_0.weight": {4}, "GroupNorm_1.weight": {4}, "Conv_0.weight": {4, 4, 3, 3}, "Conv_1.weight": {4, 4, 3, 3}, "Dense_0.weight": {4, 4}}
	ddpm := map[string][]int64{"GroupNorm_1.weight": {4}, "Conv_0.weight": {4, 4, 3, 3}, "NIN_0.W": {4, 4}}
	odd := map[string][]int64{"GroupNorm_1.weight": {4}, "Conv_0.weight": {4, 4, 3, 3}, "NIN_0.other": {4, 4}}
	attention := map[string][]int64{"GroupNorm_0.weight": {4}, "GroupNorm_0.bias": {4}}
	for i := range 4 {
		attention[fmt.Sprintf("NIN_%d.W", i)], attention[fmt.Sprintf("NIN_%d.b", i)] = []int64{4, 4}, []int64{4}
	}
	resize := map[string][]int64{"Conv_0.weight": {4, 4, 3, 3}}
	norm := map[string][]int64{"weight": {4}, "bias": {4}}
	half := map[string][]int64{"GroupNorm_0.weight": {4}, "NIN_0.W": {4, 4}, "NIN_0.b": {4}}
	for name, test := range map[string]struct {
		modules []map[string][]int64
		want    string
	}{
		"nothing":       {nil, "module 0 of a score-based model is the end, not dense"},
		"a block first": {[]map[string][]int64{block}, "module 0 of a score-based model is block, not dense"},
		"no middle":     {[]map[string][]int64{dense, dense, conv, block}, "module 4 of a score-based model is the end, not block"},
		"DDPM's blocks": {[]map[string][]int64{dense, dense, conv, ddpm}, "module 4 of a score-based model is the end, not block"},
		"odd block": {[]map[string][]int64{dense, dense, conv, block, resize, block, block, attention, odd, block, block, resize, block, block, norm, conv},
			`no part of a score-based model`},
		"resized twice":  {[]map[string][]int64{dense, dense, conv, block, resize, resize, block}, "module 5 of a score-based model is combine, not block"},
		"no name":        {[]map[string][]int64{dense, dense, conv, {"other": {1, 1, 1}}}, "module 3 of a score-based model is unknown, not block"},
		"half attention": {[]map[string][]int64{dense, dense, conv, block, half}, "of a score-based model is"},
	} {
		_, err := ScorePixel(scoreFile(test.modules...))
		require.ErrorContains(t, err, test.want, name)
	}
	_, err := ScorePixel([]model.Stored{{Tensor: model.Tensor{Name: "other.weight"}}})
	require.ErrorContains(t, err, `tensor "other.weight" is no part of a score-based model`)
	_, err = transposed(scoreFile(map[string][]int64{"W": {4}})[0])
	require.ErrorContains(t, err, "must be a matrix of floating-point numbers")
}
