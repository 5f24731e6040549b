package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"math"
	"runtime"
	"sync"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/train/random"
)

// Backgrounds of pictures that are transparent.
const (
	White = "white"
	Light = "light" // another light colour each time
)

// Pixels are the pictures of a set, cut to their buckets, in memory.
type Pixels struct {
	Buckets []image.Point
	Bucket  []int // of each item
	Masks   bool  // some items have one
	Opaque  bool  // no picture is transparent

	pictures []*image.NRGBA
	masks    []*image.NRGBA // nil without
}

// Bytes is the memory that pictures of a set take at most, in buckets of side x side.
func Bytes(items, side int) uint64 { return uint64(items) * uint64(side) * uint64(side) * 4 }

// Load reads all pictures, on all processors. Each is made as small as its bucket allows,
// and what is then outside of the bucket is cut off evenly on both sides.
func (s *Set) Load(ctx context.Context, buckets []image.Point) (*Pixels, error) {
	n := len(s.Items)
	p := &Pixels{Buckets: buckets, Bucket: make([]int, n), Opaque: true, pictures: make([]*image.NRGBA, n), masks: make([]*image.NRGBA, n)}
	errs := make([]error, n)
	next := make(chan int)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range next {
				errs[i] = p.load(i, s.Items[i])
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, err := range errs {
		if err != nil {
			return nil, err // the first one's, whichever was found first
		}
		p.Opaque = p.Opaque && p.pictures[i].Opaque()
		p.Masks = p.Masks || p.masks[i] != nil
	}
	return p, nil
}

func (p *Pixels) load(i int, item Item) error {
	img, err := picture.Open(item.Path)
	if err != nil {
		return err
	}
	size := img.Rect.Size()
	p.Bucket[i] = Nearest(p.Buckets, size)
	to := p.Buckets[p.Bucket[i]]
	p.pictures[i] = imaging.Fill(img, to.X, to.Y, imaging.Center, imaging.Lanczos)
	if item.Mask == "" {
		return nil
	}
	mask, err := picture.Open(item.Mask)
	if err != nil {
		return err
	}
	if mask.Rect.Size() != size {
		return fmt.Errorf("%s: a mask must have its picture's size, %dx%d, got %dx%d", item.Mask, size.X, size.Y, mask.Rect.Dx(), mask.Rect.Dy())
	}
	p.masks[i] = imaging.Fill(mask, to.X, to.Y, imaging.Center, imaging.Box)
	return nil
}

// Image is an item's picture as it was loaded.
func (p *Pixels) Image(item int) *image.NRGBA { return p.pictures[item] }

// Draw says how a picture is changed each time that it is drawn.
type Draw struct {
	Flip       bool   // mirrored every other time
	Background string // White or Light
}

// Check returns an error for an unknown background.
func (d Draw) Check() error {
	if d.Background != White && d.Background != Light {
		return fmt.Errorf("the background must be %s or %s, got %.40q", White, Light, d.Background)
	}
	return nil
}

// Picture writes an item's picture to dst, [3, H, W] of its bucket from -1 to 1, and its
// mask to mask, unless that is nil: [H, W] from 0 to 1, and 1 where the item has none.
func (p *Pixels) Picture(dst, mask []float32, item int, d Draw, r *random.Source) {
	img := p.pictures[item]
	w, h := img.Rect.Dx(), img.Rect.Dy()
	flip := d.Flip && r.IntN(2) == 1
	back := [3]float32{255, 255, 255}
	if d.Background == Light {
		back = lightColour(r)
	}
	n := w * h
	for y := range h {
		for x := range w {
			from := x
			if flip {
				from = w - 1 - x
			}
			at := 4 * (y*w + from)
			opacity := float32(img.Pix[at+3]) / 255
			for c := range 3 {
				v := float32(img.Pix[at+c])*opacity + back[c]*(1-opacity)
				dst[c*n+y*w+x] = v/127.5 - 1
			}
			if mask == nil {
				continue
			}
			mask[y*w+x] = 1
			if m := p.masks[item]; m != nil {
				grey := color.GrayModel.Convert(color.NRGBA{m.Pix[at], m.Pix[at+1], m.Pix[at+2], 255}).(color.Gray)
				mask[y*w+x] = float32(grey.Y) / 255
			}
		}
	}
}

// lightColour is one of any hue, with a saturation of 0.05 to 0.35 and a value of 0.85 to
// 1, from 0 to 255.
func lightColour(r *random.Source) (rgb [3]float32) {
	hue, saturation, value := 6*r.Float64(), 0.05+0.3*r.Float64(), 0.85+0.15*r.Float64()
	for c, shift := range []float64{5, 3, 1} {
		k := math.Mod(shift+hue, 6)
		rgb[c] = float32(255 * value * (1 - saturation*max(0, min(k, 4-k, 1))))
	}
	return rgb
}

// Hash is a hash of a set and its pictures: what a training depends on of them.
func (p *Pixels) Hash(s *Set) string {
	h := sha256.New()
	for i, item := range s.Items {
		img := p.pictures[i]
		fmt.Fprintf(h, "%q %d %v\n", item.Caption, item.Class, img.Rect)
		h.Write(img.Pix)
		if m := p.masks[i]; m != nil {
			h.Write(m.Pix)
		}
	}
	fmt.Fprintf(h, "%q", s.Classes)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
