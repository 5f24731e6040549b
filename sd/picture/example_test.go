package picture_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"

	"github.com/sdgo/sdgo/sd/picture"
)

// A picture is written with its generation parameters, and both are read back.
func ExampleEncode() {
	img := image.NewNRGBA(image.Rect(0, 0, 16, 8))
	img.SetNRGBA(3, 4, color.NRGBA{R: 200, G: 100, B: 50, A: 255})
	var file bytes.Buffer
	err := picture.Encode(&file, img, picture.Options{Format: picture.WebP, Parameters: "an apple\nSteps: 20, Seed: 42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := picture.ReadFacts(bytes.NewReader(file.Bytes()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(facts.Format, facts.Width, facts.Height)
	for _, t := range facts.Texts {
		fmt.Printf("%s: %q\n", t.Keyword, t.Value)
	}
	again, err := picture.Read(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.NRGBAAt(3, 4))
	// Output:
	// webp 16 8
	// parameters: "an apple\nSteps: 20, Seed: 42"
	// {200 100 50 255}
}

// The error for a file that is no picture names the supported formats.
func ExampleRead() {
	_, err := picture.Read(bytes.NewReader([]byte("hello")))
	fmt.Println(err)
	// Output: not a picture: must be PNG, JPEG, WebP, GIF or BMP
}
