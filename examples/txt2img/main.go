// Command txt2img is the library on one page: it draws a prompt with a model and writes
// out.png.
//
//	go run ./examples/txt2img sd15.safetensors "a lighthouse at dusk"
package main

import (
	"context"
	"image/png"
	"log"
	"os"

	"github.com/sdgo/sdgo/sd"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: txt2img MODEL PROMPT")
	}
	if err := draw(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func draw(ctx context.Context, path, prompt string) error {
	model, err := sd.Open(path, sd.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	result, err := model.Generate(ctx, sd.Request{Prompt: prompt, Steps: 20, Seed: 42})
	if err != nil {
		return err
	}
	file, err := os.Create("out.png")
	if err != nil {
		return err
	}
	defer file.Close()
	return png.Encode(file, result.Images[0].Image)
}
