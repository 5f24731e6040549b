package picture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"image"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// hide puts bytes in the lowest bits of a picture's alpha, column by column.
func hide(width, height int, data []byte) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 254
	}
	for i := range 8 * len(data) {
		x, y := i/height, i%height
		img.Pix[y*img.Stride+4*x+3] |= data[i/8] >> (7 - i%8) & 1
	}
	return img
}

func hidden(signature string, length int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte(signature), uint32(length)), body...)
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.Bytes()
}

func TestReadHidden(t *testing.T) {
	read := func(img *image.NRGBA) ([]pngtext.Text, error) {
		var b bytes.Buffer
		require.NoError(t, pngtext.Encode(&b, img))
		f, err := ReadFacts(bytes.NewReader(b.Bytes()))
		require.NoError(t, err)
		require.True(t, MayHide(f))
		return ReadHidden(&b)
	}
	const text = "a café, 猫\nSteps: 20"
	novel := `{"Description": "a cat", "Software": "NovelAI", "Source": 5, "Comment": "{\"seed\": 1}"}`
	for _, c := range []struct {
		data []byte
		want []pngtext.Text
	}{
		{hidden(hiddenPlain, 8*len(text), []byte(text)), []pngtext.Text{{Keyword: Keyword, Value: text}}},
		{hidden(hiddenGzipped, 8*len(zipped(text)), zipped(text)), []pngtext.Text{{Keyword: Keyword, Value: text}}},
		{hidden(hiddenGzipped, 8*len(zipped(novel)), zipped(novel)), []pngtext.Text{{Keyword: "Description", Value: "a cat"}, {Keyword: "Software", Value: "NovelAI"}, {Keyword: "Comment", Value: `{"seed": 1}`}}},
	} {
		got, err := read(hide(61, 43, c.data))
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	bomb := zipped(strings.Repeat("0", maxTextBytes+1))
	for want, data := range map[string][]byte{
		ErrNothingHidden.Error():        hidden("stealth_rgbcomp", 8, []byte("x")),
		"at most the picture's":         hidden(hiddenPlain, 8<<20, nil),
		"must be at most 8388608 bytes": hidden(hiddenPlain, 1<<31, nil),
		"gzip":                          hidden(hiddenGzipped, 80, []byte("not zipped")),
		"must be UTF-8":                 hidden(hiddenPlain, 16, []byte("\xff\xfe")),
		"8388608 bytes":                 hidden(hiddenGzipped, 8*len(bomb), bomb),
		"unexpected EOF":                hidden(hiddenGzipped, 8*10, zipped(text)[:10]),
	} {
		_, err := read(hide(400, 400, data))
		require.ErrorContains(t, err, want)
	}
	_, err := read(hide(2, 3, nil))
	require.ErrorIs(t, err, ErrNothingHidden)

	// What fills the picture nearly ends within it.
	_, err = read(hide(19, 8, hidden(hiddenPlain, 8, nil)))
	require.ErrorContains(t, err, "ends within a hidden text")
	require.False(t, MayHide(Facts{Format: JPEG, alpha: true}))
}

func FuzzHiddenText(f *testing.F) {
	f.Add(hidden(hiddenPlain, 16, []byte("ab")), 8)
	f.Add(hidden(hiddenGzipped, 8*len(zipped("ab")), zipped("ab")), 5)
	f.Fuzz(func(t *testing.T, data []byte, height int) {
		height = 1 + int(uint(height)%64)
		text, err := hiddenText(hide(1+8*len(data)/height, height, data))
		if err == nil {
			require.LessOrEqual(t, len(text), maxTextBytes)
		}
	})
}
