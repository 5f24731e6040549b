package sd_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"path/filepath"
	"strings"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

// tiny is a model of Stable Diffusion's structure with random weights, which
// draws noise in no time; Threads 1 is enough for it.
var tiny = filepath.Join("..", "testdata", "nets", "sd1.safetensors")

func Example() {
	model, err := sd.Open(tiny, sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	result, err := model.Generate(context.Background(), sd.Request{
		Prompt: "a lighthouse at dusk", Width: 64, Height: 64, Steps: 4, Seed: 42,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	img := result.Images[0]
	fmt.Println(img.Image.Bounds().Size())        // an *image.NRGBA
	fmt.Println(job.Text(img.Params, sd.Version)) // what galleries show
	// Output:
	// (64,64)
	// a lighthouse at dusk
	// Steps: 4, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7, Seed: 42, Size: 64x64, Model: sd1, RNG: CPU, Version: sdgo 0.1.0
}

// A picture is painted again, but for the left half, which the mask protects.
func ExampleModel_Generate_image() {
	model, err := sd.Open(tiny, sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	red, right := image.NewNRGBA(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 64, 64))
	draw.Draw(red, red.Bounds(), image.NewUniform(color.NRGBA{R: 200, A: 255}), image.Point{}, draw.Src)
	draw.Draw(right, image.Rect(32, 0, 64, 64), image.White, image.Point{}, draw.Src)
	result, err := model.Generate(context.Background(), sd.Request{
		Prompt: "a lighthouse, oil painting", Steps: 4,
		Image: red, Strength: sd.Float(0.6), // of the 4 steps the last int(4·0.6)+1 are made
		Mask: right,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	out := result.Images[0].Image
	fmt.Println(out.NRGBAAt(10, 30), out.NRGBAAt(60, 30) == red.NRGBAAt(60, 30))
	// Output: {200 0 0 255} false
}

// Events tell of progress; their handler's error would end the request.
func ExampleRequest_events() {
	model, err := sd.Open(tiny, sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	_, err = model.Generate(context.Background(), sd.Request{
		Prompt: "a lighthouse", Width: 64, Height: 64, Steps: 2, PreviewEvery: 2,
		OnEvent: func(e sd.Event) error {
			fmt.Printf("%s %d of %d", e.Stage, e.Index, e.Of)
			if e.Preview != nil {
				fmt.Printf(", a preview of %v", e.Preview.Bounds().Size())
			}
			fmt.Println()
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// text 1 of 1
	// sample 1 of 2
	// sample 2 of 2, a preview of (8,8)
	// decode 1 of 1
	// image 1 of 1
}

// A context ends a request, at the latest after one operator of the network.
// What was finished is in the result.
func ExampleModel_Generate_cancel() {
	model, err := sd.Open(tiny, sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result, err := model.Generate(ctx, sd.Request{
		Prompt: "a lighthouse", Width: 64, Height: 64, Steps: 2, Count: 100,
		OnEvent: func(e sd.Event) error {
			if e.Stage == sd.StageImage && e.Picture == 1 {
				cancel() // after the second picture
			}
			return nil
		},
	})
	fmt.Println(len(result.Images), errors.Is(err, context.Canceled))
	// Output: 2 true
}

// All problems of a request are told at once, before any work.
func ExampleModel_Check() {
	model, err := sd.Open(tiny, sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	err = model.Check(sd.Request{Prompt: "a lighthouse", Width: 100, Sampler: "eulr"})
	var wrong *sd.RequestError
	if errors.As(err, &wrong) {
		for _, p := range wrong.Problems {
			fmt.Println(p.Field)
		}
	}
	// Output:
	// Width
	// Sampler
}

// A model that draws by class takes no prompt. The class is a number, or a name where
// the file or ImageNet has one.
func ExampleModel_Generate_class() {
	model, err := sd.Open(filepath.Join("..", "testdata", "pixel", "guided.safetensors"), sd.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	classes, _ := model.Classes()
	fmt.Println(classes, model.TakesText())
	// 5 of 1000 timesteps with the variance that the network learned, as guided diffusion
	// names it.
	result, err := model.Generate(context.Background(), sd.Request{Class: "3", Sampler: "ddpm", Schedule: "5", Width: 16, Height: 16, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.TrimSpace(job.Text(result.Images[0].Params, sd.Version))) // without a prompt's line
	// Output:
	// 10 false
	// Steps: 5, Sampler: ddpm, Schedule type: 5, CFG scale: 1, Seed: 1, Size: 16x16, Model: guided, Class: 3, RNG: CPU, Version: sdgo 0.1.0
}

// What becomes of a picture on the way to noise.
func ExampleForward() {
	named, err := sampler.LookupProcess("cosine")
	if err != nil {
		fmt.Println(err)
		return
	}
	process := named.New()
	levels, err := process.Times(4) // from the picture itself to noise
	if err != nil {
		fmt.Println(err)
		return
	}
	pictures, err := sd.Forward(image.NewNRGBA(image.Rect(0, 0, 8, 8)), process, levels, sd.TorchRNG, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, img := range pictures {
		fmt.Printf("%.3f of the picture, %d pixels wide\n", process.Scale(levels[i]), img.Bounds().Dx())
	}
	// Output:
	// 1.000 of the picture, 8 pixels wide
	// 0.861 of the picture, 8 pixels wide
	// 0.496 of the picture, 8 pixels wide
	// 0.000 of the picture, 8 pixels wide
}
