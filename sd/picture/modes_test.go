package picture

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modes = folder + "/modes"

// Every pixel format gives the pixels that Pillow reads, or is refused by name
// (testdata/pictures/modes.py).
func TestModesAgreeWithPillow(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(modes, "modes.json"))
	require.NoError(t, err)
	var want struct{ Pixels, Refused map[string]string }
	require.NoError(t, json.Unmarshal(text, &want))
	require.Len(t, want.Pixels, 100)
	for name, values := range want.Pixels {
		t.Run(name, func(t *testing.T) {
			pixels, err := hex.DecodeString(values)
			require.NoError(t, err)
			img, err := Open(filepath.Join(modes, name))
			require.NoError(t, err)
			require.Len(t, img.Pix, len(pixels))
			within := 0 // levels: decoders of JPEG and VP8 round differently
			switch {
			case strings.HasSuffix(name, ".jpg"):
				within = 4
			case strings.HasPrefix(name, "lossy"):
				within = 2
			}
			for i, v := range img.Pix {
				if pixels[i/4*4+3] == 0 && i%4 != 3 {
					continue // the colour of a transparent pixel
				}
				require.InDelta(t, pixels[i], v, float64(within), "pixel %d of 19 a row, channel %d", i/4, i%4)
			}
		})
	}
	require.Len(t, want.Refused, 12)
	for name, words := range want.Refused {
		_, err := Open(filepath.Join(modes, name))
		require.ErrorContains(t, err, words)
		require.ErrorContains(t, err, "not supported", name)
	}
}

// A file's first bytes choose its decoder, whatever its name.
func TestSniff(t *testing.T) {
	for head, name := range map[string]string{
		"\x89PNG\r\n\x1a\n12345678": "png", "\xff\xd8\xff\xe0": "jpeg", "RIFF....WEBPVP8 ": "webp", "GIF89a..": "gif", "GIF87a..": "gif",
		"BM\x10\x20\x30\x40\x00\x00\x00\x00": "bmp",
		"II*\x00\x08\x00\x00\x00\x00\x00":    "", "MM\x00*": "", "GIF88a": "", "\xff\xd8": "", "RIFF....WAVE": "", "BM": "", "P6 1 1 255 abc": "", "": "",
	} {
		k, ok := sniff([]byte(head))
		require.Equal(t, name, k.name)
		require.Equal(t, name != "", ok)
	}
}

// Formats that are not read are named.
func TestOtherFormats(t *testing.T) {
	for head, want := range map[string]string{
		"II*\x00\x08\x00\x00\x00": "a TIFF picture", "MM\x00*\x00\x00\x00\x08": "a TIFF picture", "\xff\x0a\x00\x00": "a JPEG XL picture",
		"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a": "a JPEG XL picture", "\x00\x00\x00\x0cjP  \x0d\x0a": "a JPEG 2000 picture",
		"\x00\x00\x00 ftypavif\x00\x00": "an AVIF picture", "\x00\x00\x00\x18ftypheic\x00\x00": "a HEIC picture", "\x00\x00\x00\x18ftypmif1\x00\x00": "a HEIC picture",
		"\x00\x00\x00\x18ftypisom\x00\x00": "a video", "\x1aE\xdf\xa3\x01\x00": "a video", "8BPS\x00\x01": "a Photoshop document", "v/1\x01\x02\x00": "an OpenEXR picture",
		"#?RADIANCE\n": "a Radiance HDR picture", "DDS |\x00": "a DDS texture", "qoif\x00\x00": "a QOI picture", "\x00\x00\x01\x00\x01\x00": "an icon (.ico)",
		"P6 19 13 255\n": "a PNM picture", "P2\n# x\n": "a PNM picture", "%PDF-1.7\n": "a PDF document",
		"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer, not the picture itself", "<!DOCTYPE html><html>": "an HTML page",
		"<svg xmlns=\"http://www.w3.org/2000/svg\"/>": "an SVG drawing or another XML document", "Paris": "not a picture", "RIFF....WAVEfmt ": "not a picture",
	} {
		_, err := Read(strings.NewReader(head))
		require.EqualError(t, err, want+": must be PNG, JPEG, WebP, GIF or BMP", "%.20q", head)
	}
}

// A frame smaller than the screen is at its offset; around it is its palette's first
// colour, or transparency, as Pillow has it.
func TestGIFScreen(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(modes, "palette.gif"))
	require.NoError(t, err)
	whole, err := Read(bytes.NewReader(data))
	require.NoError(t, err)
	data[6], data[8] = 19+4, 13+2 // the screen
	at := bytes.IndexByte(data, ',')
	data[at+1], data[at+3] = 3, 1 // the frame's corner
	img, err := Read(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, 23, img.Rect.Dx())
	require.Equal(t, 15, img.Rect.Dy())
	require.Equal(t, color.NRGBA{data[13], data[14], data[15], 255}, img.NRGBAAt(2, 5))
	for y := range 13 {
		for x := range 19 {
			require.Equal(t, whole.NRGBAAt(x, y), img.NRGBAAt(x+3, y+1))
		}
	}
}
