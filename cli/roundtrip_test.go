package cli

import (
	"bytes"
	"encoding/json"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

// dice makes random requests that small models draw at once.
type dice struct {
	*rand.Rand
	group roundTripGroup
}

// roundTripGroup are jobs of one command line.
type roundTripGroup struct {
	args           []string
	xl             bool
	refiner, taesd string // by their names
	esrgan         bool
	class          bool     // draws by class
	adapters       []string // by their names
	controls       []string
}

func (d dice) maybe() bool { return d.IntN(2) == 0 }

func (d dice) between(low, high float64) float64 { return low + (high-low)*d.Float64() }

func (d dice) optional(low, high float64) *float64 {
	if d.maybe() {
		return nil
	}
	return sd.Float(d.between(low, high))
}

func (d dice) text() string {
	words := []string{"a fox", "(red:1.2)", "in snow", "[a cat:a dog:0.5]", "x, y: z", "\n", "\"", "猫", "Negative prompt: no", "Steps: 3"}
	var b strings.Builder
	for range d.IntN(4) {
		b.WriteString(words[d.IntN(len(words))] + " ")
	}
	return b.String()
}

func (d dice) side() int { return 16 + 8*d.IntN(3) }

// request is a random one that the group's model draws.
func (d dice) request() sd.Request {
	r := sd.Request{Prompt: d.text(), NegativePrompt: d.text(), Width: d.side(), Height: d.side(), Steps: 1 + d.IntN(3), Seed: d.Int64N(1 << 40),
		Guidance: d.optional(1, 9), RNG: []sd.RNG{"", sd.TorchRNG, sd.PhiloxRNG}[d.IntN(3)], TAESD: d.group.taesd}
	d.numbers(&r)
	if d.maybe() {
		r.ClipSkip = 1 + d.IntN(2)
	}
	if d.IntN(4) == 0 {
		r.DeepCache = 1 + d.IntN(3)
		r.ZeroSNR = r.DeepCache == 2
		if r.DeepCache == 1 {
			r.TokenMerging = 0.5
		}
		r.Cache, r.CacheOptions = "taylor", map[string]float64{"every": float64(r.DeepCache)}
	}
	if d.IntN(4) == 0 {
		r.Count = 2
	}
	d.beginning(&r)
	if d.IntN(3) == 0 {
		text, seed := d.text(), d.Int64N(1<<40)
		r.Interpolate = &sd.Interpolation{At: d.between(0, 1)}
		n := 1 + d.IntN(3)
		if n&1 != 0 {
			r.Interpolate.Prompt = &text
		}
		if n&2 != 0 {
			r.Interpolate.Seed = &seed
		}
	}
	if r.MaskFile == "" && r.Canvas == (image.Point{}) && d.IntN(3) == 0 {
		d.hires(&r)
	}
	if d.group.xl {
		d.family(&r)
	}
	if d.group.class {
		d.classed(&r)
	}
	if names := d.group.adapters; len(names) > 0 && d.maybe() {
		r.Adapters = []sd.RequestAdapter{{Name: names[d.IntN(len(names))], Strength: d.optional(-1, 1)}}
		if r.Adapters[0].Strength != nil {
			r.Adapters[0].TextStrength = d.optional(-1, 1)
		}
	}
	if names := d.group.controls; len(names) > 0 && d.maybe() {
		for range 1 + d.IntN(2) {
			r.Controls = append(r.Controls, sd.RequestControl{Name: names[d.IntN(len(names))], ImageFile: "in.png", Weight: d.optional(0, 2), Start: d.optional(0, 0.3),
				End: d.optional(0.6, 1), Mode: []sd.ControlMode{"", sd.ControlPrompt, sd.ControlNetwork}[d.IntN(3)],
				Preprocess: []string{"", "canny", "canny:low=20:high=40", "blur:sigma=2"}[d.IntN(4)]})
			r.Controls = slices.CompactFunc(r.Controls, func(a, b sd.RequestControl) bool { return a.Name == "ip-faceid" && b.Name == a.Name })
			if c := &r.Controls[len(r.Controls)-1]; c.Name == "union" { // which takes several kinds of pictures
				c.Type = []sd.ControlType{sd.ControlDepth, sd.ControlSoftEdge}[d.IntN(2)]
			} else if c.Name == "ip-faceid" { // which sees a face alone, and of which there may be one
				*c = sd.RequestControl{Name: c.Name, FaceFile: "face.npy", Weight: c.Weight, Start: c.Start, End: c.End}
			}
		}
	}
	if len(r.Hires) == 0 && r.Refiner == "" && d.group.refiner == "" && d.IntN(4) == 0 {
		r.Guides = []sd.Guide{{Kind: sd.GuideColour, Colour: "#20ff80"}}
		r.GuideMethod, r.GuideOptions = "mpgd", map[string]float64{"scale": d.between(0.1, 1)}
	}
	if x := float64(r.Seed%100) / 100; !d.group.class && r.Seed%3 == 0 { // of no further dice, on which what else is seen depends
		r.Edits = []sd.Edit{{Prompt: `a hat, "red"`, Away: r.Seed%2 == 0, Scale: sd.Float(9 * x), WarmUp: sd.Int(int(r.Seed % 2)), CoolDown: sd.Int(2)}, {Prompt: "snow", Threshold: sd.Float(x), Weight: sd.Float(2 * x)}}
		r.EditMomentum, r.EditBeta = sd.Float(x), sd.Float(1-x)
	}
	return r
}

// classed makes it one of a model that draws by class.
func (d dice) classed(r *sd.Request) {
	r.Class, r.Prompt, r.NegativePrompt = strconv.Itoa(d.IntN(10)), "", ""
	r.Guidance, r.ClipSkip, r.DeepCache, r.TokenMerging = nil, 0, 0, 0
	if r.Guider == "pag" || r.Guider == "sag" { // of Stable Diffusion's UNet
		r.Guider, r.GuiderOptions = "", nil
	}
	if t := r.Interpolate; t != nil {
		if t.Prompt = nil; t.Seed == nil {
			r.Interpolate = nil
		}
	}
	for i := range r.Hires {
		r.Hires[i].Guidance = nil
	}
}

// numbers chooses a sampler, a schedule and guidance.
func (d dice) numbers(r *sd.Request) {
	samplers, schedules, guiders := sampler.Samplers(), sampler.SchedulesFor(sampler.StableDiffusion()), sampler.Guiders()
	s := samplers[d.IntN(len(samplers))]
	for s.Name == "ode" || s.Name == "dpm_adaptive" && d.maybe() { // long
		s = samplers[d.IntN(len(samplers))]
	}
	if d.IntN(40) == 0 { // parameters that no other sampler has
		s, _ = sampler.Lookup("pc")
	}
	r.Sampler, r.SamplerOptions = s.Name, d.some(s.Parameters)
	if s.Name == "dpm_adaptive" {
		r.SamplerOptions = map[string]float64{"rtol": d.between(1, 100), "atol": d.between(1, 100)}
	}
	if d.maybe() {
		r.Schedule = schedules[d.IntN(len(schedules))].Name
	}
	if g := guiders[d.IntN(len(guiders))]; !g.Repeats && g.CFGPP {
		if r.Guider = g.Name; g.Name == "cfg" {
			r.Guider = ""
		}
		r.GuiderOptions = d.some(g.Parameters)
		delete(r.GuiderOptions, "zero_steps") // fewer than the steps
	}
}

func (d dice) some(all []sampler.Parameter) map[string]float64 {
	numbers := map[string]float64{}
	for _, p := range all {
		switch {
		case d.maybe() || strings.HasSuffix(p.Name, "start") || strings.HasSuffix(p.Name, "min"):
		case p.Integer:
			numbers[p.Name] = p.Min + float64(d.IntN(int(min(p.Max-p.Min, 3)+1)))
		default:
			numbers[p.Name] = d.between(p.Min, min(p.Max, p.Min+2))
		}
	}
	return numbers
}

// beginning begins with a picture, or not.
func (d dice) beginning(r *sd.Request) {
	if d.maybe() {
		return
	}
	r.ImageFile, r.Strength = "in.png", d.optional(0.3, 1)
	switch d.IntN(3) {
	case 0:
		return
	case 1:
		r.MaskFile = "mask, half.png"
		if r.OnlyMasked = d.maybe(); r.OnlyMasked && d.maybe() {
			r.MaskPadding = sd.Int(d.IntN(8))
		}
	case 2:
		r.Canvas = image.Pt(48, 24+8*d.IntN(2))
		r.Width, r.Height = 0, 0 // a part of it may have nothing to paint
	}
	if d.maybe() {
		r.MaskGrow, r.MaskBlur, r.MaskFeather = 1+d.IntN(3), d.between(0, 2), sd.Int(d.IntN(5))
		r.MaskFill = []sd.MaskFill{sd.MaskOriginal, sd.MaskFilled, sd.MaskNoise, sd.MaskNothing}[d.IntN(4)]
	}
}

func (d dice) hires(r *sd.Request) {
	upscalers := append(sd.Upscalers(), "")
	if d.group.esrgan {
		upscalers = append(upscalers, "x2", "x2", "x2", "x2")
	}
	for range 1 + d.IntN(2) {
		h := sd.HiresPass{Strength: d.optional(0.3, 1), Steps: 1 + d.IntN(2), Guidance: d.optional(1, 9), Upscaler: upscalers[d.IntN(len(upscalers))]}
		if d.maybe() {
			h.Width, h.Height = 40, 48
		} else {
			h.Scale = 1.5
		}
		if d.maybe() {
			h.Sampler = []string{"euler", "dpm++2m", "heun"}[d.IntN(3)]
		}
		if d.maybe() {
			h.Schedule = "karras"
		}
		r.Hires = append(r.Hires, h)
	}
	if r.Guider != "" {
		r.GuiderOptions = nil // which noise levels it is for may be none of a pass
	}
}

// family sets what only models of SDXL's family take.
func (d dice) family(r *sd.Request) {
	for _, p := range []*image.Point{&r.OriginalSize, &r.TargetSize, &r.CropTopLeft} {
		if d.maybe() {
			*p = image.Pt(d.IntN(100), 1+d.IntN(100))
		}
	}
	if r.Refiner = d.group.refiner; r.Refiner != "" {
		r.RefinerAt, r.AestheticScore, r.NegativeAestheticScore = d.optional(0, 1), d.optional(0, 10), d.optional(0, 10)
	}
}

// 200 random requests over all fields: what info --json says of a picture is a job that
// draws it again.
func TestPicturesAreJobs(t *testing.T) {
	seen := map[string]bool{}
	for i, name := range []string{"sd1", "sd1 taesd", "sd2", "xl", "xl refiner", "guided class"} {
		g := roundTripGroup{args: []string{"-m", absolute(t, "../testdata/nets/"+strings.Fields(name)[0]+".safetensors")}}
		if g.xl = strings.HasPrefix(name, "xl"); g.xl {
			g.args[1] = absolute(t, xlBase)
		}
		switch {
		case strings.Contains(name, "taesd"):
			g.taesd, g.args = "tiny", append(g.args, "--taesd", absolute(t, tinyTAESD))
		case strings.Contains(name, "refiner"):
			g.refiner, g.args = "refiner", append(g.args, "--refiner", absolute(t, xlRefiner))
		case strings.Contains(name, "class"):
			g.class, g.args[1] = true, absolute(t, pixelModels+"guided.safetensors")
		default:
			g.esrgan, g.args = true, append(g.args, "--hires-upscaler", absolute(t, enlarge2))
		}
		if name == "sd1" {
			g.adapters, g.args = []string{"kohya", "norm"}, append(g.args, "--lora-dir", absolute(t, adapters))
			g.controls, g.args = []string{"sd1", "t2i-light", "ip-faceid"}, append(g.args, "--control-dir", absolute(t, controls))
		}
		if name == "xl" {
			g.controls, g.args = []string{"union"}, append(g.args, "--control-dir", absolute(t, controls))
		}
		t.Run(name, func(t *testing.T) { roundTrip(t, dice{rand.New(rand.NewPCG(uint64(i), 28)), g}, seen) })
	}
	for _, f := range requests.Fields() {
		if f.For&requests.Batch == 0 || f.Path == "ImageGuidance" || f.Path == "KeepHiresInput" || f.Path == "KeepStages" || slices.Contains([]string{"Stages", "StageSteps", "NoiseLevel", "Classifier", "ClassifierScale", "ClassifierClass", "Directions.Name"}, f.Path) || strings.HasSuffix(f.Path, "_tmin") { // of models for editing; no part of a picture; of pictures of one size; below; files that are not there
			continue
		}
		require.True(t, seen[f.Key] || f.PassKey != "" && seen[f.PassKey], "no request has %s", f.Path)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	require.NoError(t, err)
	return full
}

const roundTrips = 40 // of each group

func roundTrip(t *testing.T, d dice, seen map[string]bool) {
	vector, err := os.ReadFile(controls + "/face.npy")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("jobs", 0o777))
	require.NoError(t, os.WriteFile("jobs/face.npy", vector, 0o600))
	img, half := start(32, 24)
	writePNG(t, "jobs", "in.png", img)
	writePNG(t, "jobs", "mask, half.png", half)
	var jobs []string
	for range roundTrips {
		data, err := requests.Encode(d.request())
		require.NoError(t, err)
		note(t, seen, data)
		jobs = append(jobs, string(data))
	}
	for _, file := range []string{"first", "second"} {
		require.NoError(t, os.WriteFile("jobs/"+file+".jsonl", []byte(strings.Join(jobs, "\n")), 0o666))
		o := sdgo(t, append([]string{"batch", "-q", "jobs/" + file + ".jsonl", "-o", file}, d.group.args...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		if file == "second" {
			break
		}
		jobs = nil
		for path := range strings.Lines(o.out) {
			said := sdgo(t, "info", "--json", strings.TrimSpace(path))
			require.Equal(t, ExitOK, said.code, said.errors)
			var facts pictureFacts
			require.NoError(t, json.Unmarshal([]byte(said.out), &facts))
			for _, u := range facts.Unread {
				require.Fail(t, "not understood", u)
			}
			jobs = append(jobs, string(compact(t, facts.Request)))
		}
	}
	first, err := filepath.Glob("first/*.png")
	require.NoError(t, err)
	second, err := filepath.Glob("second/*.png")
	require.NoError(t, err)
	require.Len(t, second, len(first))
	require.Greater(t, len(first), roundTrips)
	for i := range first {
		same := reflect.DeepEqual(readPNG(t, first[i]), readPNG(t, second[i]))
		assert.True(t, same, "%s: %s\nagain: %s", first[i], textsOf(t, first[i])["parameters"], textsOf(t, second[i])["parameters"])
	}
}

// compact is JSON in a line.
func compact(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Compact(&b, data))
	return b.Bytes()
}

// note notes which keys an object has, and the objects in it.
func note(t *testing.T, seen map[string]bool, data []byte) {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &all))
	for key, value := range all {
		seen[key] = true
		if value[0] == '{' {
			note(t, seen, value)
		}
		if key == "hires" {
			var passes []json.RawMessage
			require.NoError(t, json.Unmarshal(value, &passes))
			for _, p := range passes {
				note(t, seen, p)
			}
		}
	}
}
