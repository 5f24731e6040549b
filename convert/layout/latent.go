package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// averages begin the names of the averages of a network's parameters that latent
// diffusion's training keeps beside them (ldm/modules/ema.py).
const averages = "model_ema."

// LatentPixel takes out of a single file of latent diffusion what no network uses, and
// puts the averages of the UNet's parameters, where the file has them, in the place of
// these: the authors' programs draw with them.
func LatentPixel(all []model.Stored) ([]model.Stored, error) {
	byName := map[string]model.Stored{}
	for _, t := range all {
		if name, ok := strings.CutPrefix(t.Name, averages); ok && name != "decay" && name != "num_updates" {
			byName[name] = t
		}
	}
	count, used := len(byName), 0
	var out []model.Stored
	for _, t := range all {
		if Unused(t.Name) {
			continue
		}
		if name, ok := strings.CutPrefix(t.Name, "model."); ok && count > 0 {
			average, ok := byName[strings.ReplaceAll(name, ".", "")]
			if !ok || !slices.Equal(average.Shape, t.Shape) {
				return nil, fmt.Errorf("tensor %q has no average of its shape among those that begin with %s", t.Name, averages)
			}
			average.Name = t.Name
			t = average
			used++
		}
		out = append(out, t)
	}
	if used != count {
		return nil, fmt.Errorf("%d of %d tensors that begin with %s are averages of no tensor", count-used, count, averages)
	}
	return out, nil
}
