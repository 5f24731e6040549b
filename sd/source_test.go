package sd

import (
	"context"
	"image"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
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
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			t.Run(name+" "+kernels, func(t *testing.T) {
				m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels})
				r := pipelineRequest(ref)
				r.Width, r.Height = 0, 0
				r.Image, r.Strength = start, Float(0.6)
				if name == "sd1.inpaint" {
					r.Mask, r.MaskFeather = mask, new(int)
				}
				source, err := m.pipeline.Autoencoder.Encode(context.Background(), tensor.FromImage(start))
				require.NoError(t, err)
				requireClose(t, source.Sample(sampler.NewTorch(uint64(r.Seed))).Data, ref.f32(name+".source"), 1e-4, "source")
				latent := latentOf(t, m, r, nil)
				requireClose(t, latent.Data, ref.f32(name+".latent"), 1e-4, "latent")

				result, err := m.Generate(context.Background(), r)
				require.NoError(t, err)
				requirePixels(t, result.Images[0].Image, ref.tensor(name+".pixels", "U8").Data, 1)
				require.Equal(t, 0.6, *result.Images[0].Params.Strength)
				require.Contains(t, text(result.Images[0].Params), "Denoising strength: 0.6")
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
		result, err := m.Generate(context.Background(), Request{Image: start, Mask: mask, Sampler: name, Steps: 3, Strength: Float(1), Count: 2})
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
		_, err := m.Generate(context.Background(), Request{Image: start, Steps: 10, Strength: Float(strength), OnEvent: func(e Event) error {
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

// Each picture of a request is that of its own seed alone, and its parameters make it
// again.
func TestEveryPictureOfASourceCanBeMadeAgain(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	nine := openVariant(t, ref, "sd1.nine", Options{})
	for _, m := range []*Model{openTiny(t, "sd1.safetensors", Options{Batch: 2}), nine} {
		r := Request{Prompt: "a", Image: start, Mask: mask, Steps: 2, Seed: 5, Count: 3, Sampler: "euler"}
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		for _, img := range result.Images {
			again := img.Params.Request
			again.Image, again.Mask = start, mask
			alone, err := m.Generate(t.Context(), again)
			require.NoError(t, err)
			require.True(t, equalPix(img.Image, alone.Images[0].Image), "seed %d", again.Seed)
		}
	}
}

// Outpainting draws at the canvas's size.
func TestCanvas(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	img := image.NewNRGBA(image.Rect(0, 0, 32, 24))
	result, err := m.Generate(t.Context(), Request{Image: img, Canvas: image.Pt(64, 40), Steps: 2, Sampler: "euler"})
	require.NoError(t, err)
	require.Equal(t, image.Pt(64, 40), result.Images[0].Image.Rect.Size())
	require.Equal(t, img.NRGBAAt(3, 3).A, uint8(0))
	require.Equal(t, uint8(255), result.Images[0].Image.NRGBAAt(32, 20).R, "what was transparent is white, and stays")
}

func TestPictureSizes(t *testing.T) {
	for _, c := range []struct{ width, height, wantWidth, wantHeight int }{
		{512, 512, 512, 512}, {500, 300, 504, 304}, {1, 1, 8, 8}, {1024, 1024, 1024, 1024}, {4000, 3000, 1024, 768}, {100000, 10, 1024, 8},
	} {
		q, err := Request{Image: image.NewGray(image.Rect(-5, -5, c.width-5, c.height-5))}.Resolve(request.Defaults{Side: 512, Align: 8})
		require.NoError(t, err)
		require.Equal(t, [2]int{c.wantWidth, c.wantHeight}, [2]int{q.Width, q.Height})
	}
}

func TestPictureRequestsAreChecked(t *testing.T) {
	small, large := image.NewGray(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 64, 72))
	for field, r := range map[string]Request{
		"Strength: needs an Image":                              {Strength: Float(0.5)},
		"Mask: needs an Image":                                  {Mask: small},
		"Mask: must have the picture's 64x64 pixels, got 64x72": {Image: small, Mask: large},
		"Strength: must be 0 to 1, got 1.5":                     {Image: small, Strength: Float(1.5)},
		"Image: must have at least one pixel":                   {Image: &image.Gray{}},
		"all, got 2000000000x2000000000 pixels":                 {Image: image.White}, // which has no end
	} {
		_, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
		require.ErrorContains(t, err, field)
	}
}

// Encoding in tiles gives nearly what encoding at once does, for a picture
// that looks the same wherever one cuts it: norms and attention see the whole
// tile, and can hardly tell it from the whole picture, away from its edges.
func TestTiledEncode(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	pixels := tensor.New(3, 768, 768)
	r := rand.New(rand.NewPCG(1, 2))
	var pattern [64]float32
	for i := range pattern {
		pattern[i] = 2*r.Float32() - 1
	}
	for i := range pixels.Data {
		pixels.Data[i] = pattern[i/768%8*8+i%8]
	}
	whole, _, err := m.kl().Moments(context.Background(), pixels)
	require.NoError(t, err)
	tiled, _, err := openTiny(t, "sd1.safetensors", Options{MaxMemory: 1 << 20}).kl().Moments(context.Background(), pixels)
	require.NoError(t, err)
	require.Equal(t, []int{4, 96, 96}, tiled.Shape)
	tiles := tensor.Tiling{Size: 32, Overlap: 8}.Spans(96)
	require.Len(t, tiles, 4)
	for _, ys := range tiles {
		for _, xs := range tiles {
			y, x := tensor.Span{Start: ys.Start + 14, End: ys.Start + 18}, tensor.Span{Start: xs.Start + 14, End: xs.Start + 18}
			require.Less(t, relativeRMS(tiled.Crop(y, x).Data, whole.Crop(y, x).Data), 0.2, "the middle of the tile at %d, %d", ys.Start, xs.Start)
		}
	}
	require.NotEqual(t, whole.Data, tiled.Data)
}
