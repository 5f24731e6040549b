// Command img2img changes a picture by a prompt, and writes the result with its
// generation parameters.
//
//	go run ./examples/img2img sd15.safetensors sketch.png "a lighthouse, oil painting" out.png
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: img2img MODEL PICTURE PROMPT OUT")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := paint(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func paint(ctx context.Context, path, from, prompt, out string) error {
	format, ok := picture.FormatOf(out)
	if !ok {
		return errors.New(out + ": its name must end in .png, .jpg or .webp")
	}
	img, err := picture.Open(from)
	if err != nil {
		return err
	}
	model, err := sd.Open(path, sd.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	result, err := model.Generate(ctx, sd.Request{
		Prompt:   prompt,
		Image:    img,
		Strength: sd.Float(0.6), // denoising strength: 0 keeps the picture, 1 replaces all of it
		Seed:     42,
		OnEvent: func(e sd.Event) error {
			log.Printf("%s %d/%d", e.Stage, e.Index, e.Of)
			return nil
		},
	})
	if err != nil {
		return err
	}
	return save(out, format, result.Images[0])
}

func save(path string, format picture.Format, img sd.Image) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = picture.Encode(file, img.Image, picture.Options{Format: format, Parameters: job.Text(img.Params, sd.Version)})
	return errors.Join(err, file.Close())
}
