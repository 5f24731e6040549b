package convert_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// tiny is a model of Stable Diffusion's structure with random weights.
var tiny = filepath.Join("..", "testdata", "nets", "sd1.safetensors")

// What a model is, is read off the names and shapes of its tensors.
func ExampleLoad() {
	m, err := convert.Load(tiny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	c, err := convert.ConfigAs[*convert.StableDiffusion](m, "a model of Stable Diffusion")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Family, m.Format, c.UNet.ModelChannels, c.Text.Layers)
	// Output: sd1 safetensors 32 2
}

// Preview says what a conversion would do, and Convert does it. For quantized
// types Options.Quantize is needed: package cgo has ggml's.
func ExampleConvert() {
	m, err := convert.Load(tiny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	options := convert.Options{Type: dtype.F32}
	changes, bytes, err := convert.Preview(m, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := changes[0]
	fmt.Println(c.Name, c.Shape, c.From, "→", c.To)

	folder, err := os.MkdirTemp("", "convert")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "sd1.gguf")
	if err := convert.Convert(context.Background(), m, path, options); err != nil {
		fmt.Println(err)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.Size() == bytes)
	// Output:
	// cond_stage_model.transformer.text_model.embeddings.position_embedding.weight [77 64] f16 → f32
	// true
}
