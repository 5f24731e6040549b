// Command golang is a client in Go against sdgo serve; run.sh starts the server.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"log"
	"os"

	"github.com/sashabaranov/go-openai"
)

// pixels are those of a picture's file.
func pixels(data []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(img.Bounds())
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out.Pix, nil
}

func run() error {
	ctx := context.Background()
	config := openai.DefaultConfig(os.Getenv("SDGO_KEY"))
	config.BaseURL = os.Getenv("SDGO_URL") + "/v1"
	client := openai.NewClientWithConfig(config)
	models, err := client.ListModels(ctx)
	if err != nil || len(models.Models) == 0 {
		return errors.Join(err, errors.New("models"))
	}
	// It has no field for a seed: the text that stable-diffusion.cpp's clients send has.
	prompt := `a red apple<sd_cpp_extra_args>{"negative_prompt": "a tree", "seed": 42, "steps": 4, "sample_method": "euler_a", "cfg_scale": 5}</sd_cpp_extra_args>`
	out, err := client.CreateImage(ctx, openai.ImageRequest{Prompt: prompt, Model: models.Models[0].ID, N: 1, Size: "64x64", ResponseFormat: openai.CreateImageResponseFormatB64JSON})
	if err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(out.Data[0].B64JSON)
	if err != nil {
		return err
	}
	file, err := os.ReadFile(os.Getenv("SDGO_EXPECTED"))
	if err != nil {
		return err
	}
	got, err1 := pixels(data)
	want, err2 := pixels(file)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("another picture")
	}
	picture, err := os.Open(os.Getenv("SDGO_EXPECTED"))
	if err != nil {
		return err
	}
	defer picture.Close()
	if _, err := client.CreateEditImage(ctx, openai.ImageEditRequest{Image: picture, Prompt: prompt, N: 1, Size: "64x64", ResponseFormat: openai.CreateImageResponseFormatB64JSON}); err != nil {
		return err
	}
	_, err = client.CreateImage(ctx, openai.ImageRequest{Prompt: "x", Size: "many"})
	var wrong *openai.APIError
	if !errors.As(err, &wrong) || wrong.HTTPStatusCode != 400 || wrong.Param == nil || *wrong.Param != "size" {
		return fmt.Errorf("the error of a wrong size: %v", err)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal("go-openai: ", err)
	}
	fmt.Println("go-openai … content")
}
