package pngtext

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// chunk makes a chunk (section 5.3 of the specification).
func chunk(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func file(chunks ...[]byte) []byte {
	all := append([]byte(Signature), bytes.Join(chunks, nil)...)
	return append(all, chunk("IEND", nil)...)
}

func deflated(s string) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, value := range []string{
		"", "a cat\nSteps: 20, Seed: 1", "café", "ein Löwe\u00ff", "日本語 🚀\nNegative prompt: „x“", strings.Repeat("long ", 1<<16),
	} {
		img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
		img.Pix[5] = 200
		var b bytes.Buffer
		require.NoError(t, Encode(&b, img, Text{"parameters", value}, Text{"Comment", "second"}))
		texts, err := Decode(bytes.NewReader(b.Bytes()))
		require.NoError(t, err)
		require.Equal(t, []Text{{"parameters", value}, {"Comment", "second"}}, texts)
		back, err := png.Decode(&b)
		require.NoError(t, err, "another decoder must accept the file")
		require.Equal(t, img.Bounds(), back.Bounds())
	}
}

func TestChunkKinds(t *testing.T) {
	texts, err := Decode(bytes.NewReader(file(
		chunk("tEXt", []byte("a\x00caf\xe9")),
		chunk("zTXt", append([]byte("b\x00\x00"), deflated("gr\xfcn")...)),
		chunk("iTXt", append([]byte("c\x00\x01\x00de\x00wort\x00"), deflated("猫")...)),
		chunk("IDAT", []byte("not looked at")),
		chunk("iTXt", []byte("d\x00\x00\x00\x00\x00犬")),
	)))
	require.NoError(t, err)
	require.Equal(t, []Text{{"a", "café"}, {"b", "grün"}, {"c", "猫"}, {"d", "犬"}}, texts)
}

// Programs write UTF-8 in tEXt and zTXt, where it should be Latin-1. Our own Latin-1 is
// never such.
func TestUTF8InPlainTexts(t *testing.T) {
	texts, err := Decode(bytes.NewReader(file(chunk("tEXt", []byte("a\x00猫, é")), chunk("zTXt", append([]byte("b\x00\x00"), deflated("犬")...)), chunk("tEXt", []byte("c\x00\xc3(")))))
	require.NoError(t, err)
	require.Equal(t, []Text{{"a", "猫, é"}, {"b", "犬"}, {"c", "Ã("}}, texts)
	for value, kind := range map[string]string{"plain": "tEXt", "café": "tEXt", "Ã©": "iTXt", "猫": "iTXt"} {
		var b bytes.Buffer
		require.NoError(t, Encode(&b, image.NewNRGBA(image.Rect(0, 0, 1, 1)), Text{"a", value}))
		require.Contains(t, b.String(), kind, value)
		texts, err := Decode(&b)
		require.NoError(t, err)
		require.Equal(t, []Text{{"a", value}}, texts)
	}
	_, err = Decode(bytes.NewReader(file(chunk("tEXt", []byte("a\x00"+strings.Repeat("é", maxText/2-1))), chunk("tEXt", []byte("b\x00"+strings.Repeat("é", maxText/2-1))), chunk("tEXt", []byte("c\x00猫猫")))))
	require.ErrorContains(t, err, "a text of 6 bytes")
}

// A text whose checksum is wrong is left out where that can be said.
func TestBrokenTextsAreLeftOut(t *testing.T) {
	broken := file(chunk("tEXt", []byte("a\x00b")), chunk("tEXt", []byte("c\x00d")))
	broken[len(Signature)+9] ^= 1
	texts, exif, wrong, err := DecodeAll(bytes.NewReader(broken))
	require.NoError(t, err)
	require.Nil(t, exif)
	require.Equal(t, []Text{{"c", "d"}}, texts)
	require.Len(t, wrong, 1)
	require.ErrorContains(t, wrong[0], "png: a tEXt chunk's checksum is ")

	one := chunk("tEXt", []byte("a\x00b"))
	one[8] ^= 1
	_, _, _, err = DecodeAll(bytes.NewReader(file(bytes.Repeat(one, maxTexts+1))))
	require.ErrorContains(t, err, "checksum")
}

func TestRefused(t *testing.T) {
	broken := file(chunk("tEXt", []byte("a\x00b")))
	broken[len(Signature)+9] ^= 1
	huge := append([]byte(Signature), "\x7f\xff\xff\xfftEXt"...)
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "not a PNG"},
		"text":              {[]byte("hello, world"), "not a PNG"},
		"no end":            {[]byte(Signature), "ends before its IEND"},
		"huge text chunk":   {huge, "at most"},
		"huge other chunk":  {append([]byte(Signature), "\xff\xff\xff\xffIDAT"...), "chunk must have at most 2147483647 bytes"},
		"cut in a chunk":    {append([]byte(Signature), "\x00\x00\x00\x10tEXtab"...), "ends within"},
		"cut in pixels":     {append([]byte(Signature), "\x00\x00\x10\x00IDATab"...), "ends within"},
		"checksum":          {broken, "checksum"},
		"no keyword":        {file(chunk("tEXt", []byte("no separator"))), "keyword"},
		"long keyword":      {file(chunk("tEXt", []byte(strings.Repeat("k", 80)+"\x00"))), "keyword"},
		"compression":       {file(chunk("zTXt", []byte("a\x00\x07x"))), "compression"},
		"not deflated":      {file(chunk("zTXt", []byte("a\x00\x00xyz"))), "zTXt"},
		"not UTF-8":         {file(chunk("iTXt", []byte("a\x00\x00\x00\x00\x00\xff\xfe"))), "UTF-8"},
		"no language":       {file(chunk("iTXt", []byte("a\x00\x00\x00"))), "language"},
		"bomb":              {file(chunk("zTXt", append([]byte("a\x00\x00"), deflated(strings.Repeat("0", maxText+1))...))), "decompressed"},
		"too many to count": {file(bytes.Repeat(chunk("tEXt", []byte("a\x00b")), maxTexts+1)), "at most 64 text chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(bytes.NewReader(test.file))
			require.ErrorContains(t, err, test.want)
		})
	}
}

// The texts of a file have a limit together, and nothing beyond it is decompressed:
// 64 texts of 4 MB, doubled from Latin-1 to UTF-8, would be half a gigabyte.
func TestManyTextsAreBounded(t *testing.T) {
	bomb := append([]byte("k\x00\x00"), deflated(strings.Repeat("\xe9", maxText/2))...)
	many := func(n int) []byte { return file(bytes.Repeat(chunk("zTXt", bomb), n)) }
	texts, err := Decode(bytes.NewReader(many(2)))
	require.NoError(t, err)
	require.Len(t, texts[1].Value, maxText)
	_, err = Decode(bytes.NewReader(many(3)))
	require.ErrorContains(t, err, "4194304 bytes for a text and 8388608 for a file's texts")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Decode(bytes.NewReader(many(64)))
	require.Error(t, err)
	exif, err := Exif(bytes.NewReader(file(append(bytes.Repeat(chunk("zTXt", bomb), 64), chunk("eXIf", []byte("II"))...))))
	require.NoError(t, err)
	require.Equal(t, []byte("II"), exif)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20))
	for _, kind := range []string{"tEXt", "iTXt"} {
		_, err := decodeText(kind, []byte("k\x00\x00\x00\x00\x00abcdef"), 5)
		require.ErrorContains(t, err, "must be at most 5;")
	}
}

// Invalid pictures are errors.
func TestEncodeBadPictures(t *testing.T) {
	for _, img := range []image.Image{nil, (*image.Gray)(nil), &image.Gray{Rect: image.Rect(0, 0, 8, 8), Stride: 8}} {
		require.Error(t, Encode(&bytes.Buffer{}, img))
	}
}

func TestEncodeRefuses(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 1, 1))
	for _, keyword := range []string{"", "日本", strings.Repeat("k", 80)} {
		require.ErrorContains(t, Encode(&bytes.Buffer{}, img, Text{Keyword: keyword}), "keyword")
	}
	require.ErrorContains(t, Encode(&bytes.Buffer{}, img, Text{"a", strings.Repeat("x", maxText+1)}), "at most")
}

func FuzzDecode(f *testing.F) {
	f.Add(file(chunk("tEXt", []byte("parameters\x00a cat"))))
	f.Add(file(chunk("zTXt", append([]byte("b\x00\x00"), deflated("x")...))))
	f.Add(file(chunk("iTXt", append([]byte("c\x00\x01\x00de\x00wort\x00"), deflated("猫")...))))
	f.Add([]byte(Signature + "\x7f\xff\xff\xfftEXt"))
	f.Fuzz(func(t *testing.T, b []byte) {
		texts, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		// What was read can be written and read again.
		var out bytes.Buffer
		require.NoError(t, Encode(&out, image.NewGray(image.Rect(0, 0, 1, 1)), texts...))
		again, err := Decode(&out)
		require.NoError(t, err)
		require.Len(t, again, len(texts))
	})
}
