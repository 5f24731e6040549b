// Command upscale upscales a picture with an ESRGAN model to twice its size, whatever
// the model's own factor is.
//
//	go run ./examples/upscale RealESRGAN_x4plus.pth in.png out.png
package main

import (
	"context"
	"errors"
	"image/png"
	"log"
	"os"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: upscale MODEL PICTURE OUT.png")
	}
	if err := enlarge(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func enlarge(ctx context.Context, path, from, out string) error {
	small, err := picture.Open(from)
	if err != nil {
		return err
	}
	model, err := sd.OpenESRGAN(path, sd.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	size := small.Bounds().Size()
	large, err := model.UpscaleTo(ctx, small, 2*size.X, 2*size.Y)
	if err != nil {
		return err
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(file, large), file.Close())
}
