package family

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/sampler"
)

// process reads how the model was trained: what it predicts, its noise levels, and
// which schedule a run has that names none.
func (r *Reader) process() {
	r.prediction()
	r.edm()
	r.betas()
	r.alphas()
	m := r.Model
	switch text := m.Metadata[keyZeroSNR]; text {
	case "", "false":
	case "true":
		m.ZeroSNR = true
	default:
		r.Fail("%s must be true or false, got %.20q", keyZeroSNR, text)
	}
	alphas := sampler.AlphasCumprod(m.AlphasCumprod)
	if m.ZeroSNR && alphas != nil && !alphas.IsZeroTerminalSNR() {
		m.AlphasCumprod = alphas.ZeroTerminalSNR()
	}
	m.ZeroSNR = m.ZeroSNR || alphas.IsZeroTerminalSNR()
	if m.EDM != nil {
		if m.Metadata[keyZeroSNR] == "true" {
			r.Fail("%s: a model with noise levels of EDM has none", keyZeroSNR)
		}
		if alphas != nil {
			m.Warnings = append(m.Warnings, fmt.Sprintf("tensor %q is not used: the model has noise levels of EDM", model.ScheduleName))
		}
		m.AlphasCumprod, m.ZeroSNR = nil, false
	}
	if m.EDM != nil {
		m.Schedule = "karras" // which its schedulers have
	}
	if name := m.Metadata[keySchedule]; name != "" {
		schedule, err := sampler.LookupSchedule(name)
		if err != nil {
			r.Fail("%s: %w", keySchedule, err)
		}
		m.Schedule = schedule.Name
	}
}

// prediction reads what the network predicts. This library's own key wins.
func (r *Reader) prediction() {
	for _, key := range []string{keyPredictKey, keyModelSpec, keyPrediction} {
		switch p := strings.TrimSuffix(strings.ToLower(r.Model.Metadata[key]), "_prediction"); p {
		case "":
		case "epsilon", "v", "sample":
			r.Model.Prediction = p
		case "eps":
			r.Model.Prediction = "epsilon"
		default:
			r.Fail("%s: the prediction type must be epsilon, v or sample, got %.20q", key, r.Model.Metadata[key])
		}
	}
}

// edm reads the noise levels of a model in continuous time.
func (r *Reader) edm() {
	m := r.Model
	e := model.EDM{}
	found := 0
	for key, to := range map[string]*float64{keyEDMMin: &e.SigmaMin, keyEDMMax: &e.SigmaMax, keyEDMData: &e.SigmaData} {
		r.Number(key, 1e-9, 1e9, func(v float64) { *to = v; found++ })
	}
	switch {
	case found == 0 || r.err != nil:
	case found < 3:
		r.Fail("%s, %s and %s must be there together", keyEDMMin, keyEDMMax, keyEDMData)
	case e.SigmaMin >= e.SigmaMax:
		r.Fail("%s must be less than %s, got %g and %g", keyEDMMin, keyEDMMax, e.SigmaMin, e.SigmaMax)
	case m.Prediction == "sample":
		r.Fail("%s: a model of EDM must predict epsilon or v, got %s", keyPrediction, m.Prediction)
	default:
		m.EDM = &e
	}
}

// betas makes alphas_cumprod of the betas that the metadata has, unless the file has
// them as a tensor. They become that tensor, so that what is written has it, too,
// under the name that other programs read.
func (r *Reader) betas() { betasInto(r, keyBetas, keyTrainedBetas, model.ScheduleName) }

// betasInto does it with betas of some keys and a tensor.
func betasInto(r *Reader, keyBetas, keyTrained, tensor string) {
	m := r.Model
	alphas, err := readBetas(m.Metadata, keyBetas, keyTrained)
	switch {
	case err != nil:
		r.Fail("%w", err)
	case alphas != nil && !r.Has(tensor):
		values := make([]float32, len(alphas))
		for i, a := range alphas {
			values[i] = float32(a)
		}
		data := make([]byte, 4*len(values))
		if err := dtype.Encode(dtype.F32, data, values); err != nil {
			r.Fail("%w", err)
			return
		}
		m.Add(model.Tensor{Name: tensor, Type: dtype.F32, Shape: []int64{int64(len(values))}, Bytes: data})
	}
	delete(m.Metadata, keyTrained) // thousands of numbers
	delete(m.Metadata, keyBetas)
}

func readBetas(metadata map[string]string, keyBetas, keyTrained string) (sampler.AlphasCumprod, error) {
	if text, ok := metadata[keyTrained]; ok {
		list, err := floatList(text)
		if err == nil && len(list) > maxTimesteps {
			err = fmt.Errorf("must be at most %d numbers, got %d", maxTimesteps, len(list))
		}
		var alphas sampler.AlphasCumprod
		if err == nil {
			alphas, err = sampler.NewAlphasCumprodOf(list)
		}
		if err != nil {
			return nil, fmt.Errorf("trained_betas: %w", err)
		}
		return usable("trained_betas", alphas)
	}
	text, ok := metadata[keyBetas]
	if !ok {
		return nil, nil
	}
	words := strings.Fields(text)
	if len(words) != 4 {
		return nil, fmt.Errorf("%s must be a schedule, two betas and a number of timesteps, got %.60q", keyBetas, text)
	}
	var numbers [3]float64
	for i, word := range words[1:] {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyBetas, err)
		}
		numbers[i] = v
	}
	if n := numbers[2]; n != math.Trunc(n) || n > maxTimesteps {
		return nil, fmt.Errorf("num_train_timesteps must be a whole number from 2 to %d, got %g", maxTimesteps, n)
	}
	alphas, err := sampler.NewAlphasCumprod(words[0], numbers[0], numbers[1], int(numbers[2]))
	if err != nil {
		return nil, fmt.Errorf("beta_schedule %.40s: %w", words[0], err)
	}
	return usable("beta_schedule "+words[0], alphas)
}

// usable refuses betas that give no noise levels, such as a first one of 0.
func usable(what string, alphas sampler.AlphasCumprod) (sampler.AlphasCumprod, error) {
	if _, err := sampler.NewDiscrete(alphas); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return alphas, nil
}

// alphas takes the noise schedule that a file has as a tensor, in whatever type its
// weights have been converted to.
func (r *Reader) alphas() {
	if alphas := r.schedule(model.ScheduleName); alphas != nil {
		r.Model.AlphasCumprod = alphas
	}
}

// schedule is the noise schedule that a tensor has; nil if there is none.
func (r *Reader) schedule(name string) sampler.AlphasCumprod {
	t, ok := r.Model.Tensor(name)
	if !ok {
		return nil
	}
	n := t.Elements()
	long := slices.ContainsFunc(t.Shape, func(d int64) bool { return d == n })
	if !t.Type.Float() || t.Type.Quantized() || !long || n < 2 || n > maxTimesteps {
		r.Fail("tensor %q must be 2 to %d numbers of type f32, f64, f16 or bf16, got %s of shape %v", name, maxTimesteps, t.Type, t.Shape)
		return nil
	}
	values := make([]float32, n)
	if err := t.Float32(values); err != nil {
		r.Fail("%w", err)
		return nil
	}
	alphas := make(sampler.AlphasCumprod, n)
	run := int64(0) // of equal numbers: rounding makes short ones
	for i, v := range values {
		if i > 0 && v == values[i-1] {
			run++
		} else {
			run = 1
		}
		if alphas[i] = float64(v); !(v >= 0 && v <= 1) || i == 0 && v == 0 || i > 0 && v > values[i-1] || run > 1 && run > n/4 {
			r.Fail("tensor %q must have numbers that fall from 1 to 0, element %d is %g", name, i, v)
			return nil
		}
	}
	exact, err := restored(alphas, t.Type)
	if err != nil {
		r.Fail("tensor %q: %w", name, err)
		return nil
	}
	return exact
}

// endOfNoise replaces a last alphas_cumprod of 0, whose noise level is infinite: 2^-24,
// as in the diffusers library.
const endOfNoise = 1.0 / (1 << 24)

// restored are alphas_cumprod that fall strictly. Those that were rounded to a short
// type with the weights do not: they are what they were before if that is a known
// schedule, which the network was trained with; else the steps of the rounding are
// made even.
func restored(alphas sampler.AlphasCumprod, t dtype.Type) (sampler.AlphasCumprod, error) {
	last := len(alphas) - 1
	if alphas[last] == 0 && alphas[last-1] > endOfNoise {
		alphas[last] = endOfNoise
	}
	short := t != dtype.F32 && t != dtype.F64
	_, err := sampler.NewDiscrete(alphas)
	if err == nil && !short {
		return alphas, nil
	}
	ulps := []float64{0x1p-11, 0x1p-8} // half of the last place, of f16 and bf16
	switch t {
	case dtype.F16:
		ulps = ulps[:1]
	case dtype.BF16:
		ulps = ulps[1:]
	}
	for _, known := range knownAlphas(len(alphas)) {
		for _, ulp := range ulps {
			if rounds(known, alphas, ulp) {
				return known, nil
			}
		}
	}
	if err == nil {
		return alphas, nil
	}
	return usable("its numbers", even(alphas))
}

// knownAlphas are the schedules of training that models have, of n timesteps.
func knownAlphas(n int) (all []sampler.AlphasCumprod) {
	for _, b := range []struct {
		name       string
		start, end float64
	}{{standardBetas, standardStart, standardEnd}, {"linear", usual.start, usual.end}, {standardBetas, usual.start, usual.end}, {"squaredcos_cap_v2", usual.start, usual.end}} {
		if alphas, err := sampler.NewAlphasCumprod(b.name, b.start, b.end, n); err == nil {
			all = append(all, alphas, alphas.ZeroTerminalSNR())
		}
	}
	return all
}

// rounds reports whether the numbers are those of a schedule, rounded.
func rounds(known, alphas sampler.AlphasCumprod, ulp float64) bool {
	for i, a := range alphas {
		if math.Abs(a-known[i]) > 1.01*ulp*known[i]+0x1p-24 { // which also covers the ends that programs give zero SNR
			return false
		}
	}
	return true
}

// even spreads each run of equal numbers between those beside it.
func even(alphas sampler.AlphasCumprod) sampler.AlphasCumprod {
	out := make(sampler.AlphasCumprod, len(alphas))
	before := 1.0
	for i := 0; i < len(alphas); {
		end := i + 1
		for end < len(alphas) && alphas[end] == alphas[i] {
			end++
		}
		after := 0.0
		if end < len(alphas) {
			after = alphas[end]
		}
		high, low := (before+alphas[i])/2, (alphas[i]+after)/2
		for k := i; k < end; k++ {
			out[k] = high + (low-high)*(float64(k-i)+0.5)/float64(end-i)
		}
		if end-i == 1 && alphas[i] < 1 && alphas[i] > 0 {
			out[i] = alphas[i]
		}
		before, i = alphas[i], end
	}
	return out
}

// addProcess adds what is known of the process to the metadata of a file that is
// written. The noise schedule itself is a tensor.
func addProcess(m *model.Model, add func(key string, value any)) {
	if m.Prediction != "" {
		add(keyPrediction, m.Prediction)
	}
	if m.ZeroSNR {
		add(keyZeroSNR, true)
	}
	if m.Schedule != "" {
		add(keySchedule, m.Schedule)
	}
	if e := m.EDM; e != nil {
		add(keyEDMMin, e.SigmaMin)
		add(keyEDMMax, e.SigmaMax)
		add(keyEDMData, e.SigmaData)
	}
}
