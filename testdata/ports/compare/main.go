// Command compare prints the peak signal-to-noise ratio of two pictures, and fails if
// it is too low:
//
//	go run ./testdata/ports/compare -least 45 native.png other.png
package main

import (
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"os"
)

func main() {
	least := flag.Float64("least", 45, "lowest PSNR, dB")
	flag.Parse()
	if err := compare(flag.Args(), *least); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare(files []string, least float64) error {
	if len(files) != 2 {
		return fmt.Errorf("%d files, must be 2", len(files))
	}
	a, err := read(files[0])
	if err != nil {
		return err
	}
	b, err := read(files[1])
	if err != nil {
		return err
	}
	if a.Rect != b.Rect {
		return fmt.Errorf("%s is %v, %s is %v", files[0], a.Rect.Max, files[1], b.Rect.Max)
	}
	sum := 0.0
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	// Alpha is 255 in both and not part of the mean.
	psnr := 10 * math.Log10(255*255*float64(len(a.Pix)/4*3)/sum)
	if !(psnr >= least) {
		return fmt.Errorf("%s is %.1f dB from %s, must be at least %g", files[1], psnr, files[0], least)
	}
	fmt.Printf("%s is %.1f dB from %s\n", files[1], psnr, files[0])
	return nil
}

func read(path string) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b := img.Bounds()
	to := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(to, to.Rect, img, b.Min, draw.Src)
	return to, nil
}
