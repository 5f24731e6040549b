package family

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// Names of the tensors that are marks.
const (
	markV       = "v_pred"
	markZeroSNR = "ztsnr"
	markEDMMean = "edm_mean"
	markEDMStd  = "edm_std"
	markVMax    = "edm_vpred.sigma_max"
	markVMin    = "edm_vpred.sigma_min"
)

// maxMark bounds the elements of a mark: Playground's have one for each channel of
// the latents.
const maxMark = 256

// TakeMarks takes the tensors that are marks out of a file's: they are no weights,
// whatever their shape, and say nothing of what the rest is.
func TakeMarks(all []model.Stored) (rest []model.Stored, marks []model.Tensor, err error) {
	for _, t := range all {
		m := lookMark(inTensors, t.Name)
		if m == nil || t.Name == model.ScheduleName {
			rest = append(rest, t)
			continue
		}
		n := t.Elements()
		float := t.Type.Float() && !t.Type.Quantized()
		if n > maxMark || n > 0 && !float && t.Name != markV && t.Name != markZeroSNR {
			return nil, nil, fmt.Errorf("tensor %q must have at most %d numbers, got %s of shape %v", t.Name, maxMark, t.DType, t.Shape)
		}
		if !float { // which files can't all have
			t.Tensor = emptyMark(t.Name)
		}
		if slices.ContainsFunc(marks, func(m model.Tensor) bool { return m.Name == t.Name }) {
			return nil, nil, fmt.Errorf("tensor %q is there twice", t.Name)
		}
		marks = append(marks, t.Tensor.InOrder())
	}
	return rest, marks, nil
}

// emptyMark is a mark as ComfyUI writes it.
func emptyMark(name string) model.Tensor {
	return model.Tensor{Name: name, Type: dtype.F32, Shape: []int64{0}, Bytes: []byte{}}
}

// NumberMark is one with numbers.
func NumberMark(name string, shape []int64, values ...float32) model.Tensor {
	data := make([]byte, 4*len(values))
	if err := dtype.Encode(dtype.F32, data, values); err != nil {
		panic(err) // f32 holds every float32
	}
	return model.Tensor{Name: name, Type: dtype.F32, Shape: shape, Bytes: data}
}

// SaidByMarks is what marks say, as metadata. Of several that contradict each other the
// first counts in ComfyUI's order: EDM, EDM with v, v.
func SaidByMarks(marks []model.Tensor) (said map[string]string, err error) {
	find := func(name string) (numbers []string, ok bool) {
		i := slices.IndexFunc(marks, func(t model.Tensor) bool { return t.Name == name })
		if i < 0 || err != nil {
			return nil, i >= 0
		}
		values := make([]float32, marks[i].Elements())
		if err = marks[i].Float32(values); err != nil {
			return nil, true
		}
		for _, v := range values {
			numbers = append(numbers, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		return numbers, true
	}
	said = map[string]string{}
	mean, hasMean := find(markEDMMean)
	std, hasStd := find(markEDMStd)
	high, hasHigh := find(markVMax)
	low, hasLow := find(markVMin)
	_, v := find(markV)
	_, zero := find(markZeroSNR)
	if !hasLow {
		low = []string{"0.002"} // as in ComfyUI
	}
	switch {
	case err != nil:
	case hasMean != hasStd:
		err = fmt.Errorf("tensors %q and %q must be there together", markEDMMean, markEDMStd)
	case hasMean && (len(mean) == 0 || len(mean) != len(std)):
		err = fmt.Errorf("tensors %q and %q must have a number for each channel of the latents, got %d and %d", markEDMMean, markEDMStd, len(mean), len(std))
	case hasLow && !hasHigh && !hasMean:
		err = fmt.Errorf("tensor %q needs %q beside it", markVMin, markVMax)
	case hasHigh && (len(high) != 1 || len(low) != 1):
		err = fmt.Errorf("tensors %q and %q must have one number, got %d and %d", markVMax, markVMin, len(high), len(low))
	case hasMean: // Playground 2.5: its autoencoder's latents have their own scale
		said[keyLatentsMean], said[keyLatentsStd], said[keyScaleFactor] = strings.Join(mean, " "), strings.Join(std, " "), "0.5"
		said[keyPrediction], said[keySchedule] = "epsilon", "karras"
		said[keyEDMMin], said[keyEDMMax], said[keyEDMData] = "0.002", "80", "0.5"
	case hasHigh: // CosXL
		said[keyPrediction], said[keySchedule] = "v", "karras"
		said[keyEDMMin], said[keyEDMMax], said[keyEDMData] = low[0], high[0], "1"
	default:
		if v {
			said[keyPrediction] = "v"
		}
		if zero {
			said[keyZeroSNR] = "true"
		}
	}
	return said, err
}

// WrittenMarks are the marks of a file that is written: those that the model's had, and
// those by which other programs find what this one knows of a model of Stable Diffusion.
// Of SD 2.x they find out by themselves what it predicts.
func WrittenMarks(m *model.Model) []model.Tensor {
	all := slices.Clone(m.Marks)
	add := func(t model.Tensor) {
		if !slices.ContainsFunc(all, func(a model.Tensor) bool { return a.Name == t.Name }) {
			all = append(all, t)
		}
	}
	c, ok := m.Config.(*StableDiffusion)
	switch {
	case !ok:
	case m.EDM == nil:
		if m.Prediction == "v" && m.Family != SD2 {
			add(emptyMark(markV))
		}
		if m.ZeroSNR {
			add(emptyMark(markZeroSNR))
		}
	case m.Prediction == "v" && m.EDM.SigmaData == 1:
		add(NumberMark(markVMax, []int64{}, float32(m.EDM.SigmaMax)))
		add(NumberMark(markVMin, []int64{}, float32(m.EDM.SigmaMin)))
	case m.Prediction == "epsilon" && *m.EDM == (model.EDM{SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5}) && c.VAE.Mean != nil && c.VAE.ScaleFactor == 0.5:
		shape := []int64{1, int64(len(c.VAE.Mean)), 1, 1}
		add(NumberMark(markEDMMean, shape, c.VAE.Mean...))
		add(NumberMark(markEDMStd, shape, c.VAE.Std...))
	}
	slices.SortStableFunc(all, func(a, b model.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return all
}
