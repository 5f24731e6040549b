package layout

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/sdgo/sdgo/convert/model"
)

// blockName is a tensor of a UNet's input or output block: what is before, which of the two,
// its number, what is within.
var blockName = regexp.MustCompile(`^(|.*\.)(input_blocks|output_blocks)\.(\d{1,3})\.(.*)$`)

// upsampler is an upsampling convolution within an output block.
var upsampler = regexp.MustCompile(`^[12]\.conv\.(weight|bias)$`)

// Renumbered gives a UNet's blocks the numbers of the original code where another program
// wrote them. The diffusers library's scripts, and those made of them, number the blocks of
// all UNets as if they had two residual blocks a level on the way down, as Stable Diffusion
// has. With one a level, input_blocks.2, 5, 8 … are missing, and output_blocks.2, 5, 8 … have
// nothing but the upsampling convolution, which belongs to the block before. They also place
// that as if all UNets had Stable Diffusion's attention. rename gives the other names.
func Renumbered(all []model.Stored, rename Rename) Rename {
	residual, attends := map[string]bool{}, map[string]bool{} // "output_blocks.0"
	last := 0
	for _, t := range all {
		m := blockName.FindStringSubmatch(t.Name)
		if m == nil {
			continue
		}
		block := m[2] + "." + m[3]
		switch m[4] {
		case "0.in_layers.2.weight":
			residual[block] = true
			if n, _ := strconv.Atoi(m[3]); m[2] == "input_blocks" {
				last = max(last, n)
			}
		case "1.proj_in.weight":
			attends[block] = true
		}
	}
	single := last >= 4 // of one residual block a level
	for n := 1; n <= last; n++ {
		single = single && residual[fmt.Sprintf("input_blocks.%d", n)] == (n%3 == 1)
	}
	single = single && residual["output_blocks.0"] && residual["output_blocks.1"] && !residual["output_blocks.2"]
	return func(name string) (string, bool) {
		m := blockName.FindStringSubmatch(name)
		if m == nil {
			return rename(name)
		}
		n, _ := strconv.Atoi(m[3])
		within, upsamples := m[4], m[2] == "output_blocks" && upsampler.MatchString(m[4])
		if single && upsamples && n%3 == 2 {
			m[3] = strconv.Itoa(n - 1)
		}
		if upsamples { // after the attention, if there is one
			place := "1"
			if attends[m[2]+"."+m[3]] {
				place = "2"
			}
			within = place + within[1:]
		}
		number := m[3]
		if n, _ = strconv.Atoi(number); single {
			number = strconv.Itoa(n/3*2 + n%3)
		}
		return rename(m[1] + m[2] + "." + number + "." + within)
	}
}
