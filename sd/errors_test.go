package sd

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
)

func TestRequestsAreChecked(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	for name, test := range map[string]struct {
		change func(*Request)
		field  string
		want   string
	}{
		"width":                         {func(r *Request) { r.Width = 100 }, "Width", "multiple of 8"},
		"height":                        {func(r *Request) { r.Height = -8 }, "Height", "multiple of 8"},
		"too wide":                      {func(r *Request) { r.Width = MaxSide + 8 }, "Width", "8192"},
		"steps":                         {func(r *Request) { r.Steps = -1 }, "Steps", "1 to 1000"},
		"too many steps":                {func(r *Request) { r.Steps = 1001 }, "Steps", "1 to 1000"},
		"negative scale":                {func(r *Request) { r.Guidance = Float(-1) }, "Guidance", "0 to 1000"},
		"NaN scale":                     {func(r *Request) { r.Guidance = Float(math.NaN()) }, "Guidance", "0 to 1000"},
		"sampler":                       {func(r *Request) { r.Sampler = "eulre" }, "Sampler", "euler"},
		"schedule":                      {func(r *Request) { r.Schedule = "karas" }, "Schedule", "karras"},
		"seed":                          {func(r *Request) { r.Seed = -2 }, "Seed", "0 to 18446744073709551615, or -1 for a random one, got -2"},
		"large seed":                    {func(r *Request) { r.SetSeed(math.MaxUint64); r.Count = 2 }, "Seed", "at most 18446744073709551614 for 2 pictures, got 18446744073709551615"},
		"rng":                           {func(r *Request) { r.RNG = "dice" }, "RNG", "philox"},
		"clip skip":                     {func(r *Request) { r.ClipSkip = 3 }, "ClipSkip", "1 to 2"},
		"no clip skip":                  {func(r *Request) { r.ClipSkip = -1 }, "ClipSkip", "1 or more"},
		"count":                         {func(r *Request) { r.Count = -1 }, "Count", "1 to 1024"},
		"extra network":                 {func(r *Request) { r.Prompt = "a <lora:x:1>" }, "Prompt", "no adapter is attached"},
		"extra network of another kind": {func(r *Request) { r.Prompt = "a <hypernet:x:1>" }, "Prompt", "the extra networks of prompts are"},
		"weight":                        {func(r *Request) { r.NegativePrompt = "(a:1.2.3)" }, "NegativePrompt", "weight"},
		"enormous prompt":               {func(r *Request) { r.Prompt = strings.Repeat("a ", 1<<20) }, "Prompt", "at most"},
		"endless brackets":              {func(r *Request) { r.Prompt = strings.Repeat("(", 10000) }, "Prompt", "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Request{Prompt: "a", Width: 8, Height: 8, Steps: 1}
			test.change(&r)
			_, err := m.Generate(context.Background(), r)
			var e *RequestError
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Problems, 1)
			require.Equal(t, test.field, e.Problems[0].Field)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, err := m.Generate(context.Background(), Request{Width: 7, Height: 9, Steps: -1, Sampler: "x", RNG: "y"})
	var e *RequestError
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Problems, 5, "all problems at once")
}

func TestOptionsAreChecked(t *testing.T) {
	path := filepath.Join(netsFolder, "sd1.safetensors")
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{Threads: -1}, "threads"},
		{Options{Backend: "abacus"}, "must be one of auto, cpu"},
		{Options{Type: "q9"}, "q9"},
		{Options{Prediction: "future"}, `must be "epsilon", "v" or "sample"`},
		{Options{Kernels: "none"}, `kernels "none": must be one of ggml, generic`},
	} {
		_, err := Open(path, test.options)
		require.ErrorContains(t, err, test.want)
	}
	_, err := Open("", Options{})
	require.ErrorContains(t, err, "no model")
	_, err = Open(filepath.Join(t.TempDir(), "missing.safetensors"), Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// rewrite saves a changed copy of a tiny model.
func rewrite(t *testing.T, change func(*safetensors.File)) string {
	t.Helper()
	ref := readReference(t, netsFolder, "sd1.safetensors")
	change(ref.file)
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, ref.file.Metadata, ref.file.Tensors))
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func find(f *safetensors.File, name string) *safetensors.Tensor {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i]
		}
	}
	return nil
}

func TestDamagedModelsAreRefused(t *testing.T) {
	const name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
	for what, change := range map[string]func(*safetensors.File){
		"missing": func(f *safetensors.File) { find(f, name).Name = "betas" },
		"shape": func(f *safetensors.File) {
			s := find(f, name)
			s.Shape = []int64{s.Shape[0] * 2, s.Shape[1] / 2, 3, 3}
		},
		"type": func(f *safetensors.File) { find(f, name).DType = "I16" },
	} {
		t.Run(what, func(t *testing.T) {
			_, err := Open(rewrite(t, change), Options{})
			require.ErrorContains(t, err, name)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	t.Run("surplus", func(t *testing.T) {
		_, err := Open(rewrite(t, func(f *safetensors.File) {
			f.Tensors = append(f.Tensors, safetensors.Tensor{Name: "model.diffusion_model.surprise.weight", DType: "F16", Shape: []int64{1}, Data: []byte{0, 0}})
		}), Options{})
		require.ErrorContains(t, err, "surprise")
	})
}

// NaN anywhere is an error that names the tensor, not a black picture.
func TestNaNWeightsAreNamed(t *testing.T) {
	for _, name := range []string{
		"cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
		"model.diffusion_model.out.2.bias",
		"first_stage_model.decoder.conv_in.weight",
	} {
		m, err := Open(rewrite(t, func(f *safetensors.File) {
			tensor := find(f, name)
			tensor.Data = bytes.Clone(tensor.Data)
			copy(tensor.Data, []byte{0x00, 0x7e}) // a half float's NaN
		}), Options{})
		require.NoError(t, err)
		defer m.Close()
		_, err = m.Generate(context.Background(), Request{Prompt: "a", Width: 16, Height: 16, Steps: 2})
		var e *convert.NotFiniteError
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, name, e.Tensor)
	}
}

func TestCancelling(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	request := Request{Prompt: "a", Width: 64, Height: 64, Steps: 1000, Sampler: "euler"}
	goroutines := runtime.NumGoroutine()
	for _, delay := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
		ctx, cancel := context.WithCancel(context.Background())
		var at time.Time
		time.AfterFunc(delay, func() { at = time.Now(); cancel() })
		result, err := m.Generate(ctx, request)
		late := time.Since(at)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, result.Images)
		require.Less(t, late, 100*time.Millisecond)
	}
	// Eventually has a goroutine of its own.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, time.Second, time.Millisecond)

	// Pictures that were finished are kept, and so is the model.
	ctx, cancel := context.WithCancel(context.Background())
	request.Steps, request.Count = 2, 3
	request.OnEvent = func(e Event) error {
		if e.Stage == StageImage && e.Picture == 1 {
			cancel()
		}
		return nil
	}
	result, err := m.Generate(ctx, request)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, result.Images, 2)

	stop := errors.New("enough")
	request.OnEvent = func(Event) error { return stop }
	_, err = m.Generate(context.Background(), request)
	require.ErrorIs(t, err, stop)
}

func TestConcurrentRequests(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 1})
	pictures := make([][]byte, 4)
	var all sync.WaitGroup
	for i := range pictures {
		all.Go(func() {
			result, err := m.Generate(context.Background(), Request{Prompt: "a cat", Width: 32, Height: 32 + 8*(i%2), Steps: 2, Seed: 5})
			if err != nil {
				t.Error(err)
				return
			}
			pictures[i] = result.Images[0].Image.Pix
		})
	}
	all.Wait()
	require.Equal(t, pictures[0], pictures[2])
	require.Equal(t, pictures[1], pictures[3])
	require.NotEqual(t, pictures[0], pictures[1])
}

// A model's file may say what guidance is best.
func TestGuidanceOfTheFile(t *testing.T) {
	for _, c := range []struct {
		file, want float64
		request    *float64
	}{{0, 7, nil}, {3, 3, nil}, {3, 5, Float(5)}, {3, 0, Float(0)}} {
		m := openTiny(t, "sd1.safetensors", Options{})
		m.pipeline.Defaults.Guidance = c.file
		d, err := m.resolved(Request{Guidance: c.request})
		require.NoError(t, err)
		require.Equal(t, c.want, d.Guidance, "%+v", c)
	}
}
