package adapter

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
)

const (
	fixtures = "../../testdata/adapters"
	tiny     = "../../testdata/nets/sd1.safetensors"
)

func tinyTargets(t *testing.T) (*model.Model, *Targets) {
	t.Helper()
	m, err := readTiny()
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	targets, err := NewTargets(m)
	require.NoError(t, err)
	return m, targets
}

func readTiny() (*model.Model, error) { return read.Open(tiny) }

func open(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open(filepath.Join(fixtures, name))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// references are the values that the script of the fixtures computed.
func references(t *testing.T) map[string][]float32 {
	t.Helper()
	m, all, err := read.Stored(filepath.Join(fixtures, "reference.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	out := map[string][]float32{}
	for _, s := range all {
		if s.Type.Float() {
			x, err := floats(s.Tensor)
			require.NoError(t, err)
			out[s.Name] = x
		}
	}
	return out
}

// cases are the fixtures with the reference that they have; those of one LoRA in several
// layouts have the same.
var cases = []struct{ file, reference, kind string }{
	{"locon.safetensors", "", "LoRA"}, {"locon-tucker.safetensors", "", "LoRA"}, {"dylora.safetensors", "", "LoRA"},
	{"dora.safetensors", "", "DoRA of LoRA"}, {"dora-columns.safetensors", "", "DoRA of LoRA"},
	{"loha.safetensors", "", "LoHa"}, {"loha-tucker.safetensors", "", "LoHa"}, {"loha-dora.safetensors", "", "DoRA of LoHa"},
	{"lokr.safetensors", "", "LoKr"}, {"lokr-both.safetensors", "", "LoKr"}, {"lokr-full.safetensors", "", "LoKr"}, {"lokr-tucker.safetensors", "", "LoKr"},
	{"full.safetensors", "", "full difference"}, {"norm.safetensors", "", "norm difference"},
	{"ia3.safetensors", "", "(IA)³"}, {"ia3-input.safetensors", "", "(IA)³"}, {"glora.safetensors", "", "GLoRA"},
	{"oft.safetensors", "", "OFT"}, {"oft-limit.safetensors", "", "OFT"}, {"boft.safetensors", "", "BOFT"}, {"boft-limit.safetensors", "", "BOFT"},
	{"kohya.safetensors", "", "LoRA"}, {"kohya-original.safetensors", "kohya", "LoRA"}, {"comfyui.safetensors", "kohya", "LoRA"},
	{"diffusers.safetensors", "plain", "LoRA"}, {"diffusers-lora.safetensors", "plain", "LoRA"}, {"peft-5.safetensors", "plain", "LoRA"},
	{"peft-default.safetensors", "plain", "LoRA"}, {"processors.safetensors", "heads", "LoRA"}, {"peft-bare.safetensors", "heads", "LoRA"},
	{"cloneofsimo.safetensors", "", "LoRA"}, {"cloneofsimo-list.pt", "", "LoRA"},
	{"peft.safetensors", "", "LoRA"}, {"peft-rs.safetensors", "", "LoRA"}, {"peft-dora.safetensors", "", "DoRA of LoRA"}, {"peft-pattern.safetensors", "", "LoRA"},
}

// Every kind in every layout, each weight of every layer, against LyCORIS and PEFT.
func TestWeightsAgreeWithTheTrainers(t *testing.T) {
	m, targets := tinyTargets(t)
	ref := references(t)
	diffusers := m.Config.(*family.StableDiffusion).DiffusersNames()
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			f := open(t, c.file)
			require.Equal(t, []string{c.kind}, f.Info().Kinds)
			changes, unmatched, err := f.Match(targets)
			require.NoError(t, err)
			require.Empty(t, unmatched)
			require.Len(t, changes, len(f.Modules))
			name := c.reference
			if name == "" {
				name, _, _ = strings.Cut(c.file, ".")
			}
			compared := 0
			for _, change := range changes {
				w, ok := m.Tensor(change.Weight)
				require.True(t, ok)
				base, err := floats(w)
				require.NoError(t, err)
				folder, layer, _ := diffusers(change.Weight)
				network := map[string]string{"unet": "unet", "text_encoder": "text"}[folder]
				for label, strength := range map[string]float64{"1": 1, "0.6": 0.6, "-0.5": -0.5} {
					got, err := Patch(base, []Use{{change, strength}})
					require.NoError(t, err)
					want, ok := ref[fmt.Sprintf("%s|%s|%s|%s", name, label, network, strings.TrimSuffix(layer, ".weight"))]
					if strings.HasPrefix(name, "cloneofsimo") || strings.HasSuffix(layer, ".bias") { // seen by what the network gives
						continue
					}
					require.True(t, ok, "%s: the reference lacks %s", name, layer)
					step := max(1, len(got)/64)
					difference, size, change := 0.0, 0.0, 0.0
					for i, v := range want {
						d := float64(got[i*step]) - float64(v)
						difference += d * d
						size += float64(v) * float64(v)
						change += math.Pow(float64(base[i*step])-float64(v), 2)
					}
					require.LessOrEqual(t, math.Sqrt(difference/size), 1e-5, "%s at %s", layer, label)
					require.Greater(t, math.Sqrt(change/size), 0.0001, "%s at %s: the reference changes nothing", layer, label)
					compared++
				}
			}
			if !strings.HasPrefix(name, "cloneofsimo") {
				require.GreaterOrEqual(t, 2*compared, 3*len(changes))
			}
		})
	}
}
