package sd

import (
	"context"
	"image"
	"math/rand/v2"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
)

// startPicture is the picture of testdata/pipelines that runs begin with, and
// its mask.
func startPicture(ref reference) (*image.NRGBA, *image.Gray) {
	picture, mask := image.NewNRGBA(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 64, 64))
	for i, v := range ref.tensor("sd1.img2img.start", "U8").Data {
		picture.Pix[i/3*4+i%3] = v
		picture.Pix[i/3*4+3] = 255
	}
	copy(mask.Pix, ref.tensor("sd1.img2img.mask", "U8").Data)
	return picture, mask
}

func TestPictureToPictureAgrees(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	for _, name := range []string{"sd1.img2img", "sd1.inpaint"} {
		for _, kernels := range cgo.KernelNames() {
			t.Run(name+" "+kernels, func(t *testing.T) {
				m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels})
				r := pipelineRequest(ref)
				r.Width, r.Height = 0, 0
				r.Image, r.Strength = start, Scale(0.6)
				if name == "sd1.inpaint" {
					r.Mask, r.Feather = mask, new(int)
				}
				q, err := r.resolve(m.NativeSize())
				require.NoError(t, err)
				c, err := m.conditioning(context.Background(), q, &Result{})
				require.NoError(t, err)
				c.source, err = m.newSource(context.Background(), q)
				require.NoError(t, err)
				requireClose(t, c.source.latent.data, ref.f32(name+".source"), 1e-4, "source")
				latent, err := m.sample(context.Background(), q, c, q.Seed, func(sampler.Step) error { return nil })
				require.NoError(t, err)
				requireClose(t, latent.data, ref.f32(name+".latent"), 1e-4, "latent")

				result, err := m.Generate(context.Background(), r)
				require.NoError(t, err)
				requirePixels(t, result.Images[0].Image, ref.tensor(name+".pixels", "U8").Data, 1)
				require.Equal(t, 0.6, result.Images[0].Params.Strength)
				require.Contains(t, result.Images[0].Params.Text(), "Denoising strength: 0.6")
			})
		}
	}
}

// Outside the mask every pixel is the picture's, whatever the sampler and the
// seed; inside it is another.
func TestInpaintingKeepsPixels(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	m := openTiny(t, "sd1.safetensors", Options{})
	for _, name := range []string{"euler_a", "dpm++2m", "lcm"} {
		result, err := m.Generate(context.Background(), Request{Image: start, Mask: mask, Sampler: name, Steps: 3, Strength: Scale(1), Count: 2})
		require.NoError(t, err)
		for _, drawn := range result.Images {
			changed := 0
			for i, v := range mask.Pix {
				got, was := drawn.Image.Pix[4*i:][:4], start.Pix[4*i:][:4]
				if v == 0 {
					require.Equal(t, was, got, "pixel %d", i)
				} else if got[0] != was[0] || got[1] != was[1] {
					changed++
				}
			}
			require.Greater(t, changed, 1000)
		}
	}
}

// More strength moves further away from the picture.
func TestStrength(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, _ := startPicture(ref)
	m := openTiny(t, "sd1.safetensors", Options{})
	steps := func(strength float64) (n int) {
		_, err := m.Generate(context.Background(), Request{Image: start, Steps: 10, Strength: Scale(strength), OnEvent: func(e Event) error {
			if e.Stage == StageSample {
				n++
				require.Equal(t, n, e.Index)
			}
			return nil
		}})
		require.NoError(t, err)
		return n
	}
	for strength, want := range map[float64]int{0: 1, 0.05: 1, 0.1: 2, 0.75: 8, 0.95: 10, 1: 10} {
		require.Equal(t, want, steps(strength), "strength %g", strength)
	}
}

func TestPictureSizes(t *testing.T) {
	for _, c := range []struct{ width, height, wantWidth, wantHeight int }{
		{512, 512, 512, 512}, {500, 300, 504, 304}, {1, 1, 8, 8}, {1024, 1024, 1024, 1024}, {4000, 3000, 1024, 768}, {100000, 10, 1024, 8},
	} {
		q, err := Request{Image: image.NewGray(image.Rect(-5, -5, c.width-5, c.height-5))}.resolve(512)
		require.NoError(t, err)
		require.Equal(t, [2]int{c.wantWidth, c.wantHeight}, [2]int{q.Width, q.Height})
	}
	// A picture that is scaled covers the whole size.
	wide := image.NewGray(image.Rect(0, 0, 40, 10))
	for i := range wide.Pix {
		wide.Pix[i] = 200
	}
	fitted := fit(imaging.Clone(wide), 24, 24)
	require.Equal(t, image.Rect(0, 0, 24, 24), fitted.Rect)
	for i := 0; i < len(fitted.Pix); i += 4 {
		require.Equal(t, []uint8{200, 200, 200, 255}, fitted.Pix[i:i+4])
	}
}

func TestPictureRequestsAreChecked(t *testing.T) {
	small, large := image.NewGray(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 64, 72))
	for field, r := range map[string]Request{
		"Strength: a strength without":        {Strength: Scale(0.5)},
		"Mask: a mask without an Image":       {Mask: small},
		"Mask: 64x72 pixels, the picture's":   {Image: small, Mask: large},
		"Strength: 1.5, 0 to 1 wanted":        {Image: small, Strength: Scale(1.5)},
		"Image: 0x0 pixels; at least one is":  {Image: &image.Gray{}},
		"Image: 2000000000x2000000000 pixels": {Image: image.White}, // which has no end
	} {
		_, err := r.resolve(64)
		require.ErrorContains(t, err, field)
	}
}

// Encoding in tiles gives nearly what encoding at once does, for a picture
// that looks the same wherever one cuts it: norms and attention see the whole
// tile, and can hardly tell it from the whole picture, away from its edges.
func TestTiledEncode(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	pixels := newPlane(3, 768, 768)
	r := rand.New(rand.NewPCG(1, 2))
	var pattern [64]float32
	for i := range pattern {
		pattern[i] = 2*r.Float32() - 1
	}
	for i := range pixels.data {
		pixels.data[i] = pattern[i/768%8*8+i%8]
	}
	whole, err := m.moments(context.Background(), pixels)
	require.NoError(t, err)
	m.options.MaxMemory = 1 << 20
	tiled, err := m.moments(context.Background(), pixels)
	require.NoError(t, err)
	require.Equal(t, []int{8, 96, 96}, []int{tiled.channels, tiled.height, tiled.width})
	require.Equal(t, len(whole.data), len(tiled.data))
	tiles := tilings[1].spans(96)
	require.Len(t, tiles, 4)
	for _, ys := range tiles {
		for _, xs := range tiles {
			y, x := span{ys.start + 14, ys.start + 18}, span{xs.start + 14, xs.start + 18}
			require.Less(t, relativeRMS(tiled.crop(y, x).data, whole.crop(y, x).data), 0.2, "the middle of the tile at %d, %d", ys.start, xs.start)
		}
	}
	require.NotEqual(t, whole.data, tiled.data)
}

func TestTransparencyAndMasks(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	copy(img.Pix, []uint8{0, 100, 200, 255, 10, 20, 30, 0})
	require.Equal(t, []uint8{0, 100, 200, 255, 255, 255, 255, 255}, opaque(img).Pix)

	mask := image.NewNRGBA(image.Rect(0, 0, 16, 8))
	for i := range mask.Pix {
		mask.Pix[i] = 255 * uint8((i%4+1)/4) // opaque black
	}
	copy(mask.Pix[4*9:], []uint8{255, 255, 255, 255}) // one pixel of the second cell
	copy(mask.Pix[4*3:], []uint8{255, 255, 255, 0})   // white, but transparent
	copy(mask.Pix[4*2:], []uint8{100, 100, 100, 255}) // dark grey
	grey, err := picture.Mask(mask)
	require.NoError(t, err)
	full := coverage(grey)
	require.Equal(t, float32(1), full[9])
	require.Equal(t, float32(0), full[3])
	require.InDelta(t, 100.0/255, full[2], 1e-6)
	require.Equal(t, []float32{0, 1}, cells(full, 16, 8))
}
