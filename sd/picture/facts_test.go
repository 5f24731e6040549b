package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// text is that of testdata/pictures/parameters.py.
const text = "a café, 猫 🚀\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1"

// Files that piexif, which AUTOMATIC1111's web UI uses, and Pillow wrote.
func TestFactsOfOtherPrograms(t *testing.T) {
	for name, want := range map[string]Facts{
		"parameters.jpg":      {Format: JPEG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: text}}},
		"parameters.webp":     {Format: WebP, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: text}}},
		"parameters.png":      {Format: PNG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: text}}},
		"comment-utf16le.jpg": {Format: JPEG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: text}}},
		"comment-utf16be.jpg": {Format: JPEG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: text}}},
		"comment-ascii.jpg":   {Format: JPEG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: Keyword, Value: "plain text"}}},
		"comment-unknown.jpg": {Format: JPEG, Width: 6, Height: 4},
		"comment.jpg":         {Format: JPEG, Width: 6, Height: 4, Texts: []pngtext.Text{{Keyword: "Comment", Value: "as JPEG has it"}}},
		"orient-5.jpg":        {Format: JPEG, Width: 32, Height: 48, Orientation: 5},
		"orient-6.png":        {Format: PNG, Width: 4, Height: 6, Orientation: 6},
		"orient-6.webp":       {Format: WebP, Width: 4, Height: 6, Orientation: 6},
		"rgb.webp":            {Format: WebP, Width: 6, Height: 4},
		"alpha.webp":          {Format: WebP, Width: 6, Height: 4},
	} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		facts, err := ReadFacts(bytes.NewReader(data))
		require.NoError(t, err, name)
		require.Equal(t, want, facts, name)
	}
}

// ComfyUI's savers write graphs as the names of a camera, Fooocus JSON without the bytes
// that name an encoding.
func TestExifOfOtherPrograms(t *testing.T) {
	b := binary.BigEndian
	entry := func(out []byte, tag, kind uint16, text string, at int) []byte {
		return b.AppendUint32(b.AppendUint32(b.AppendUint16(b.AppendUint16(out, tag), kind), uint32(len(text))), uint32(at))
	}
	const graph, model, fooocus = "Prompt:{\"1\": 2}\x00", "EOS 5D: {x}\x00", "{\"prompt\": \"猫\"}"
	const begin = 8 + 2 + 3*12 + 4
	out := b.AppendUint16(append([]byte("MM\x00\x2a"), 0, 0, 0, 8), 3)
	out = entry(out, tagMake, typeASCII, graph, begin)
	out = entry(out, tagModel, typeASCII, model, begin+len(graph))
	out = b.AppendUint32(b.AppendUint32(b.AppendUint16(b.AppendUint16(out, tagExif), typeLong), 1), uint32(begin+len(graph)+len(model)))
	out = append(b.AppendUint32(out, 0), graph+model...)
	out = entry(b.AppendUint16(out, 1), tagUserComment, typeASCII, fooocus, begin+len(graph)+len(model)+2+12+4)
	out = append(b.AppendUint32(out, 0), fooocus...)
	f := Facts{Format: WebP}
	require.NoError(t, f.addExif(out))
	require.Equal(t, []pngtext.Text{{Keyword: "prompt", Value: "{\"1\": 2}"}, {Keyword: Keyword, Value: fooocus}}, f.Texts)
	for i := range out { // whatever is cut off or changed, nothing panics
		_ = (&Facts{}).addExif(out[:i])
		changed := bytes.Clone(out)
		changed[i] ^= 0xff
		_ = (&Facts{}).addExif(changed)
	}
}

// The comment is, byte for byte, what AUTOMATIC1111's web UI writes.
func TestCommentIsThatOfOtherPrograms(t *testing.T) {
	_, comment, _ := bytes.Cut(encodeExif(text), []byte("UNICODE\x00"))
	for _, name := range []string{"parameters.jpg", "parameters.webp"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		require.True(t, bytes.Contains(data, append([]byte("UNICODE\x00"), comment...)), name)
	}
}

// noise is a picture that compresses badly, partly transparent if alpha is.
func noise(width, height int, alpha bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(1, uint64(width)))
	for i := range img.Pix {
		if img.Pix[i] = uint8(r.Uint32()); i%4 == 3 && !alpha {
			img.Pix[i] = 255
		}
	}
	return img
}

func TestRoundTrip(t *testing.T) {
	for _, parameters := range []string{"", "a cat\nSteps: 20, Seed: 1", text, strings.Repeat("long ", 6000), "日本語"} {
		for _, format := range []Format{PNG, JPEG, WebP} {
			for _, img := range []*image.NRGBA{noise(64, 48, false), noise(33, 17, false), noise(1, 1, true), noise(20, 30, true)} {
				var b bytes.Buffer
				require.NoError(t, Encode(&b, img, Options{Format: format, Parameters: parameters}))
				facts, err := ReadFacts(bytes.NewReader(b.Bytes()))
				require.NoError(t, err)
				require.Equal(t, format, facts.Format)
				require.Equal(t, img.Rect.Size(), image.Pt(facts.Width, facts.Height))
				if parameters != "" {
					require.Equal(t, []pngtext.Text{{Keyword: Keyword, Value: parameters}}, facts.Texts)
				} else {
					require.Empty(t, facts.Texts)
				}
				back, err := Read(bytes.NewReader(b.Bytes()))
				require.NoError(t, err)
				if format != JPEG {
					requireLike(t, back, img.Rect.Dx(), img.Rect.Dy(), 0, img.NRGBAAt)
				} else {
					require.Equal(t, img.Rect.Size(), back.Bounds().Size())
				}
			}
		}
	}
}

// JPEG: close to the original at a high quality, small at a low one, white where transparent.
func TestQuality(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(3 * x), uint8(3 * y), 128, 255})
		}
	}
	size := map[int]int{}
	for _, q := range []int{10, 0, 90, 100} {
		var b bytes.Buffer
		require.NoError(t, Encode(&b, img, Options{Format: JPEG, Quality: q}))
		size[q] = b.Len()
		if q == 100 {
			back, err := Read(&b)
			require.NoError(t, err)
			requireLike(t, back, 64, 64, 6, img.NRGBAAt)
		}
	}
	require.Equal(t, size[90], size[0])
	require.Less(t, size[10], size[90])
	require.Less(t, size[90], size[100])

	var b bytes.Buffer
	require.NoError(t, Encode(&b, image.NewNRGBA(image.Rect(0, 0, 8, 8)), Options{Format: JPEG}))
	back, err := Read(&b)
	require.NoError(t, err)
	requireLike(t, back, 8, 8, 1, func(int, int) color.NRGBA { return color.NRGBA{255, 255, 255, 255} })
}

func TestEncodeRefuses(t *testing.T) {
	img := noise(8, 8, false)
	for want, o := range map[string]Options{
		"quality must be 1 to 100, got 101":  {Quality: 101},
		"100, got -1":                        {Format: JPEG, Quality: -1},
		`webp, got "gif"`:                    {Format: "gif"},
		"at most 65533 bytes in a JPEG file": {Format: JPEG, Parameters: strings.Repeat("x", 32800)},
	} {
		require.ErrorContains(t, Encode(&bytes.Buffer{}, img, o), want)
	}
	for _, format := range []Format{JPEG, WebP} {
		require.ErrorContains(t, Encode(&bytes.Buffer{}, image.NewGray(image.Rect(0, 0, 70000, 1)), Options{Format: format}), "got 70000x1")
	}
	require.NoError(t, Options{Format: WebP, Parameters: strings.Repeat("x", 1<<20)}.Check())
}

func TestFormatNames(t *testing.T) {
	for name, want := range map[string]Format{"a.png": PNG, "a.PNG": PNG, "b.jpg": JPEG, "c.x.jpeg": JPEG, "d.WebP": WebP, "e.gif": "", "f": "", "g.": ""} {
		f, ok := FormatOf(name)
		require.Equal(t, want, f, name)
		require.Equal(t, want != "", ok, name)
	}
	require.Equal(t, []string{".png", ".jpg", ".webp"}, []string{PNG.Extension(), JPEG.Extension(), WebP.Extension()})
}

// riff makes a WebP file of chunks.
func riff(chunks ...[]byte) []byte {
	return chunk("RIFF", append([]byte("WEBP"), bytes.Join(chunks, nil)...))
}

// canvas makes a VP8X chunk.
func canvas(flags byte, width, height int) []byte {
	return chunk("VP8X", []byte{flags, 0, 0, 0, byte(width - 1), byte((width - 1) >> 8), byte((width - 1) >> 16),
		byte(height - 1), byte((height - 1) >> 8), byte((height - 1) >> 16)})
}

// lossless makes the beginning of a VP8L chunk.
func lossless(width, height int) []byte {
	return chunk("VP8L", binary.LittleEndian.AppendUint32([]byte{0x2f}, uint32(width-1)|uint32(height-1)<<14))
}

func TestFactsRefused(t *testing.T) {
	jpeg, err := os.ReadFile(filepath.Join(folder, "parameters.jpg"))
	require.NoError(t, err)
	webp, err := os.ReadFile(filepath.Join(folder, "parameters.webp"))
	require.NoError(t, err)
	exif := bytes.Index(jpeg, []byte("MM\x00\x2a"))
	broken := bytes.Clone(jpeg)
	broken[exif+4] = 0xff
	for want, data := range map[string][]byte{
		"not a PNG, JPEG":                                  []byte("a sentence"),
		"jpeg: the file ends":                              jpeg[:100],
		"jpeg: the header with":                            []byte("\xff\xd8\xff\xd9"),
		"jpeg: must have a marker (0xff), got 0x00":        []byte("\xff\xd8\xff\xe0\x00\x02\x00\x00"),
		"jpeg: a segment's length":                         []byte("\xff\xd8\xff\xe0\x00\x01"),
		"exif: a directory begins beyond the data":         broken,
		"exif: must begin":                                 bytes.Replace(jpeg, []byte("MM\x00\x2a"), []byte("XX\x00\x2a"), 1),
		"exif: the comment reaches beyond":                 bytes.Replace(jpeg, []byte("\x92\x86\x00\x07\x00\x00\x00"), []byte("\x92\x86\x00\x07\x00\x00\xff"), 1),
		"webp: the file ends within a chunk":               webp[:len(webp)-30],
		"webp: an animation":                               riff(canvas(flagAnimation, 8, 8)),
		"webp: a picture of 16384x16384 pixels on":         riff(canvas(0, 8, 8), lossless(16384, 16384)),
		"webp: no picture":                                 riff(canvas(0, 8, 8)),
		"webp: a VP8L chunk must begin with its signature": riff(chunk("VP8L", make([]byte, 10))),
		"webp: a VP8 chunk must begin":                     riff(chunk("VP8 ", make([]byte, 10))),
		`webp: a "abcd" chunk of 4294967295 bytes`:         riff([]byte("abcd\xff\xff\xff\xff")),
	} {
		_, err := ReadFacts(bytes.NewReader(data))
		require.ErrorContains(t, err, want)
	}
}

// Decoders would allocate memory for the size that the picture claims, and combine
// transparency of one size with colours of another.
func TestWebPThatClaimsTwoSizes(t *testing.T) {
	_, err := Read(bytes.NewReader(riff(canvas(0, 8, 8), lossless(16384, 16384))))
	require.ErrorContains(t, err, "a picture of 16384x16384 pixels on a canvas of 8x8")
	data, err := os.ReadFile(filepath.Join(folder, "animated.webp"))
	require.NoError(t, err)
	_, err = Read(bytes.NewReader(data))
	require.ErrorContains(t, err, "an animation; must be a still picture")
}

func TestTurnedPNGAndWebP(t *testing.T) {
	for _, name := range []string{"orient-6.png", "orient-6.webp"} {
		requireLike(t, open(t, name), 6, 4, 0, func(x, y int) color.NRGBA { return color.NRGBA{uint8(50 * x), uint8(80 * y), 100, 255} })
	}
	for _, name := range []string{"animated.gif", "animated.png"} { // the first frame
		requireLike(t, open(t, name), 6, 4, 0, func(int, int) color.NRGBA { return color.NRGBA{255, 0, 0, 255} })
	}
}

func FuzzReadFacts(f *testing.F) {
	names, err := filepath.Glob(filepath.Join(folder, "*.*"))
	require.NoError(f, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add(riff(canvas(flagEXIF, 8, 8), lossless(8, 8), chunk("EXIF", encodeExif("a"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := ReadFacts(bytes.NewReader(data))
		if err == nil && (facts.Width < 1 || facts.Height < 1) {
			t.Fatal("no size")
		}
		if err != nil || len(facts.Texts) == 0 || facts.Texts[0].Value == "" || len(facts.Texts[0].Value) > 10000 {
			return
		}
		// What was read can be written and read again.
		for _, format := range []Format{PNG, JPEG, WebP} {
			var b bytes.Buffer
			value := strings.Trim(strings.ReplaceAll(facts.Texts[0].Value, "\x00", ""), "\ufeff\ufffe")
			require.NoError(t, Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1)), Options{Format: format, Parameters: value}))
			again, err := ReadFacts(&b)
			require.NoError(t, err)
			if value != "" {
				require.Equal(t, value, again.Texts[0].Value, format)
			}
		}
	})
}

func FuzzExif(f *testing.F) {
	f.Add(encodeExif("a comment"), true)
	f.Add([]byte("II\x2a\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"), false)
	f.Fuzz(func(t *testing.T, data []byte, header bool) {
		if header {
			data = append([]byte(exifHeader), data...)
		}
		_, _ = decodeExif(data)
	})
}
