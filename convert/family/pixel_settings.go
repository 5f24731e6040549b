package family

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pixelFolder is what the configuration files of a diffusers folder say beyond the
// shapes.
type pixelFolder struct {
	unet struct {
		Class           string      `json:"_class_name"`
		SampleSize      any         `json:"sample_size"`
		Down            []string    `json:"down_block_types"`
		Channels        []int       `json:"block_out_channels"`
		HeadDim         *headCounts `json:"attention_head_dim"`
		SinesLast       *bool       `json:"flip_sin_to_cos"`
		FrequencyShift  *float64    `json:"freq_shift"`
		Eps             *float64    `json:"norm_eps"`
		Groups          *int        `json:"norm_num_groups"`
		AttentionGroups *int        `json:"attn_norm_num_groups"`
		Padding         *int        `json:"downsample_padding"`
		MiddleScale     float64     `json:"mid_block_scale_factor"`
		Activation      string      `json:"act_fn"`
		ClassEmbedding  string      `json:"class_embed_type"`
		Centered        bool        `json:"center_input_sample"`
		Time            string      `json:"time_embedding_type"`
	}
	scheduler struct {
		Class      string    `json:"_class_name"`
		Betas      string    `json:"beta_schedule"`
		Start      *float64  `json:"beta_start"`
		End        *float64  `json:"beta_end"`
		Trained    []float64 `json:"trained_betas"`
		Steps      int       `json:"num_train_timesteps"`
		Prediction string    `json:"prediction_type"`
		Variance   string    `json:"variance_type"`
		Clip       *bool     `json:"clip_sample"`
		SigmaMin   float64   `json:"sigma_min"`
		SigmaMax   float64   `json:"sigma_max"`
		SigmaData  float64   `json:"sigma_data"`
	}
	vae struct {
		ScaleFactor float64 `json:"scaling_factor"`
	}
	index struct {
		Labels map[string]string `json:"id2label"`
	}
}

// labels are the names of classes as metadata has them.
func (f *pixelFolder) labels() (string, error) {
	names := make([]string, len(f.index.Labels))
	for number, name := range f.index.Labels {
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= len(names) {
			return "", fmt.Errorf("model_index.json: id2label must have the numbers 0 to %d, got %.20q", len(names)-1, number)
		}
		names[i] = name
	}
	text, err := json.Marshal(names)
	return string(text), err
}

// pixelSettings brings a folder's configuration into the form of metadata.
func pixelSettings(read func(path string, to any) error) (map[string]string, error) {
	var f pixelFolder
	vqvae := f.vae
	for _, file := range []struct {
		path string
		to   any
	}{{"unet/config.json", &f.unet}, {"scheduler/scheduler_config.json", &f.scheduler}, {"vae/config.json", &f.vae}, {"vqvae/config.json", &vqvae}, {"model_index.json", &f.index}} {
		if err := read(file.path, file.to); err != nil {
			return nil, fmt.Errorf("%s: %w", file.path, err)
		}
	}
	if f.vae.ScaleFactor == 0 {
		f.vae = vqvae
	}
	all := map[string]string{}
	if len(f.index.Labels) > 0 {
		text, err := f.labels()
		if err != nil {
			return nil, err
		}
		all[PixelLabels] = text
	}
	say := func(key string, set bool, value any) {
		if set {
			all[pixelKey+key] = textOf(value)
		}
	}
	if f.unet.Class == "UNet2DModel" {
		if err := f.network(say); err != nil {
			return nil, fmt.Errorf("unet/config.json: %w", err)
		}
	}
	if err := f.process(say); err != nil {
		return nil, fmt.Errorf("scheduler/scheduler_config.json: %w", err)
	}
	if f.vae.ScaleFactor != 0 {
		all[keyScaleFactor] = fmt.Sprint(f.vae.ScaleFactor)
	}
	return all, nil
}

// textOf writes a number, or what a pointer to one points to.
func textOf(value any) string {
	switch v := value.(type) {
	case *float64:
		return fmt.Sprint(*v)
	case *bool:
		return textOf(*v)
	case bool:
		if v {
			return "1"
		}
		return "0"
	}
	return fmt.Sprint(value)
}

func (f *pixelFolder) network(say func(key string, set bool, value any)) error {
	u := &f.unet
	switch {
	case u.Activation != "" && u.Activation != "silu" && u.Activation != "swish":
		return fmt.Errorf("act_fn must be silu, got %.20q", u.Activation)
	case u.ClassEmbedding != "":
		return fmt.Errorf("class_embed_type must be null, got %.20q", u.ClassEmbedding)
	case u.FrequencyShift != nil && *u.FrequencyShift != 0 && *u.FrequencyShift != 1:
		return fmt.Errorf("freq_shift must be 0 or 1, got %g", *u.FrequencyShift)
	case u.Time != "" && u.Time != "positional" && u.Time != "fourier":
		return fmt.Errorf("time_embedding_type must be positional or fourier, got %.20q", u.Time)
	}
	size, ok := u.SampleSize.(float64)
	say("size", ok && size >= 1, size)
	sinesFirst := u.Time == "fourier" || u.SinesLast != nil && !*u.SinesLast // of the former whatever the file says
	say("time_sines_first", true, sinesFirst)
	say("time_shift", u.FrequencyShift != nil, u.FrequencyShift)
	if u.Eps != nil {
		say("norm_eps", true, *u.Eps)
		say("attention_norm_eps", true, *u.Eps)
	}
	say("pad_end", u.Padding != nil, u.Padding != nil && *u.Padding == 0)
	skip := slices.ContainsFunc(u.Down, func(name string) bool { return strings.Contains(name, "Skip") })
	if u.Groups != nil && !skip {
		say("norm_groups", true, *u.Groups)
		if u.AttentionGroups != nil && *u.AttentionGroups != *u.Groups {
			return errors.New("attn_norm_num_groups must be norm_num_groups")
		}
	}
	if u.HeadDim != nil {
		if u.HeadDim.each != nil {
			return errors.New("attention_head_dim must be one number")
		}
		say("head_dim", true, u.HeadDim.same)
		say("heads", true, 0)
	} else {
		say("heads", true, 1)
	}
	say("center", true, u.Centered)
	return nil
}

// diffusersBetas are the library's names for schedules.
var diffusersBetas = map[string]string{"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}

func (f *pixelFolder) process(say func(key string, set bool, value any)) error {
	s := &f.scheduler
	switch s.Class {
	case "":
		return nil
	case "CMStochasticIterativeScheduler":
		say("process", true, ProcessConsistency)
	case "ScoreSdeVeScheduler":
		say("process", true, ProcessVE)
	case "ScoreSdeVpScheduler":
		say("process", true, ProcessVP)
	default:
		say("process", true, ProcessDDPM)
		betas, ok := diffusersBetas[s.Betas]
		if len(s.Trained) > 0 || s.Betas != "" && !ok {
			return fmt.Errorf("beta_schedule must be linear, scaled_linear or squaredcos_cap_v2, without trained_betas, got %.20q", s.Betas)
		}
		say("betas", ok, betas)
		if betas != "cosine" {
			say("beta_start", s.Start != nil, s.Start)
			say("beta_end", s.End != nil, s.End)
		}
		say("steps", s.Steps > 0, s.Steps)
		say("prediction", s.Prediction != "", strings.TrimSuffix(s.Prediction, "_prediction"))
		variance := strings.TrimSuffix(s.Variance, "_log")
		say("variance", slices.Contains([]string{"fixed_small", "fixed_large", "learned_range"}, variance), variance)
		say("clip", s.Clip != nil, s.Clip)
	}
	say("sigma_min", s.SigmaMin > 0, s.SigmaMin)
	say("sigma_max", s.SigmaMax > 0, s.SigmaMax)
	say("sigma_data", s.SigmaData > 0, s.SigmaData)
	return nil
}
