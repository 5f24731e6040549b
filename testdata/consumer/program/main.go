// Command program is an example of another module's program: it draws with the built-in
// model. Its argument is the file to write.
package main

import (
	"context"
	"image"
	"image/png"
	"log"
	"os"

	_ "github.com/sdgo/sdgo/builtin"
	"github.com/sdgo/sdgo/sd"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: program FILE")
	}
	picture, err := draw("a red apple on a yellow background")
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.Create(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := png.Encode(file, picture); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

func draw(prompt string) (image.Image, error) {
	model, err := sd.Open("", sd.Options{})
	if err != nil {
		return nil, err
	}
	defer model.Close()
	result, err := model.Generate(context.Background(), sd.Request{Prompt: prompt, Width: 64, Height: 32, Steps: 2, Seed: 1})
	if err != nil {
		return nil, err
	}
	return result.Images[0].Image, nil
}
