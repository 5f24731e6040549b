package data

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/train/random"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
}

func draw(t *testing.T, path string, w, h int, c color.NRGBA) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(img.Pix[4*i:], []uint8{c.R, c.G, c.B, c.A})
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
}

var red = color.NRGBA{255, 0, 0, 255}

func TestFolder(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	draw(t, in("b.png"), 4, 4, red)
	draw(t, in("a.PNG"), 4, 4, red)
	draw(t, in("a.mask.png"), 4, 4, red)
	draw(t, in(".hidden.png"), 4, 4, red)
	write(t, in("a.txt"), " a red square\n")
	write(t, in("notes.md"), "x")
	require.NoError(t, os.Mkdir(in("empty"), 0o777))
	s, err := Open(folder)
	require.NoError(t, err)
	require.Equal(t, []Item{{Path: in("a.PNG"), Mask: in("a.mask.png"), Caption: "a red square", Class: -1}, {Path: in("b.png"), Class: -1}}, s.Items)
	require.Nil(t, s.Classes)

	draw(t, in("cat/1.png"), 4, 4, red)
	_, err = Open(folder)
	require.ErrorContains(t, err, "has pictures, and folders of pictures (cat): must be one or the other")
}

func TestClassFolders(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"dog/2.png", "cat/1.png", "dog/1.png"} {
		draw(t, filepath.Join(folder, name), 4, 4, red)
	}
	s, err := Open(folder)
	require.NoError(t, err)
	require.Equal(t, []string{"cat", "dog"}, s.Classes)
	require.Equal(t, []Item{{Path: filepath.Join(folder, "cat/1.png")}, {Path: filepath.Join(folder, "dog/1.png"), Class: 1}, {Path: filepath.Join(folder, "dog/2.png"), Class: 1}}, s.Items)
}

func TestList(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "set.jsonl")
	write(t, path, `{"picture": "x/a.png", "caption": "one", "class": 10, "mask": "m.png"}

{"file_name": "b.png", "text": "two", "class": 9}
{"picture": "c.png", "class": 10}
`)
	s, err := Open(path)
	require.NoError(t, err)
	require.Equal(t, []string{"9", "10"}, s.Classes)
	require.Equal(t, []Item{
		{Path: filepath.Join(folder, "x/a.png"), Mask: filepath.Join(folder, "m.png"), Caption: "one", Class: 1},
		{Path: filepath.Join(folder, "b.png"), Caption: "two"}, {Path: filepath.Join(folder, "c.png"), Class: 1},
	}, s.Items)

	write(t, path, `{"picture": "a.png"}`)
	s, err = Open(path)
	require.NoError(t, err)
	require.Nil(t, s.Classes)
	require.Equal(t, -1, s.Items[0].Class)
}

func TestHostileLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set.jsonl")
	for text, want := range map[string]string{
		"":                                       "has no pictures",
		`{"picture": "../a.png"}`:                "line 1: picture: must be a path within the list's folder",
		`{"picture": "/etc/passwd"}`:             "must be a path within",
		`{"picture": "a\u0000.png"}`:             "must be a path within",
		`{"picture": "a.png", "mask": "../b"}`:   "mask: must be a path within",
		`{"caption": "x"}`:                       "must be a path within",
		`{"picture": "a.png", "weight": 2}`:      `unknown field "weight"`,
		`{"picture": "a.png"} {}`:                "must be one object",
		`{"picture": "a.png", "file_name": "b"}`: "must be one of them",
		`{"picture": "a.png", "class": -1}`:      "class: must be a name or a number",
		`{"picture": "a.png", "class": ""}`:      "class: a name must have 1 to 256 bytes",
		"{\"picture\": \"a.png\"}\n{\"picture\": \"b.png\", \"class\": \"x\"}":  "a.png: has no class, and others have",
		`{"picture": "a.png", "caption": "` + strings.Repeat("x", 20000) + `"}`: "must be at most 16384 bytes",
		"[1]": "line 1:",
		"{\"picture\": \"a.png\", \"caption\": \"" + strings.Repeat("x", 2<<20) + "\"}": "too long",
	} {
		write(t, path, text)
		_, err := Open(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "set.jsonl")
	}
	_, err := Open(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	other := filepath.Join(t.TempDir(), "a.zip")
	write(t, other, "x")
	_, err = Open(other)
	require.ErrorContains(t, err, "must be a folder of pictures or a list")
}

func FuzzList(f *testing.F) {
	f.Add([]byte(`{"picture": "a.png", "caption": "one", "class": 10, "mask": "m.png"}`))
	f.Add([]byte(`{"file_name": "b.png", "text": "two", "class": "x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		item, _, err := parse("folder", line)
		if err == nil && (!strings.HasPrefix(item.Path, "folder"+string(filepath.Separator)) && item.Path != "folder" || len(item.Caption) > maxCaption) {
			t.Fatalf("%q gave %+v", line, item)
		}
	})
}

func TestDamagedPicturesAreNamed(t *testing.T) {
	folder := t.TempDir()
	draw(t, filepath.Join(folder, "a.png"), 8, 8, red)
	write(t, filepath.Join(folder, "b.png"), "not a picture")
	s, err := Open(folder)
	require.NoError(t, err)
	square, err := Buckets(8, 8, 8, 8)
	require.NoError(t, err)
	_, err = s.Load(context.Background(), square)
	require.ErrorContains(t, err, "b.png")
	require.NoError(t, os.Remove(filepath.Join(folder, "b.png")))

	draw(t, filepath.Join(folder, "a.mask.png"), 4, 8, red)
	s, err = Open(folder)
	require.NoError(t, err)
	_, err = s.Load(context.Background(), square)
	require.ErrorContains(t, err, "a.mask.png: a mask must have its picture's size, 8x8, got 4x8")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Load(cancelled, square)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPixels(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a.png")
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 { // the left half red, the right half clear
		if i%8 < 4 {
			copy(img.Pix[4*i:], []uint8{255, 0, 0, 255})
		}
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
	draw(t, filepath.Join(folder, "a.mask.png"), 8, 8, color.NRGBA{51, 51, 51, 255})
	s, err := Open(folder)
	require.NoError(t, err)
	p, err := s.Load(context.Background(), []image.Point{{8, 8}})
	require.NoError(t, err)
	require.True(t, p.Masks)
	require.False(t, p.Opaque)
	dst, mask := make([]float32, 192), make([]float32, 64)
	at := func(c, x int) float32 { return dst[c*64+24+x] }
	p.Picture(dst, mask, 0, Draw{Background: White}, random.New(1, 1, 1))
	require.Equal(t, []float32{1, -1, -1}, []float32{at(0, 1), at(1, 1), at(2, 1)})
	require.Equal(t, []float32{1, 1, 1}, []float32{at(0, 6), at(1, 6), at(2, 6)})
	require.InDelta(t, 0.2, mask[10], 1e-6)

	flips, colours := 0, map[float32]bool{}
	for i := range 40 {
		p.Picture(dst, nil, 0, Draw{Flip: true, Background: Light}, random.New(1, uint64(i), 1))
		x := 1
		if at(1, 1) != -1 {
			flips, x = flips+1, 6
		}
		require.Equal(t, []float32{1, -1, -1}, []float32{at(0, x), at(1, x), at(2, x)})
		light := []float32{at(0, 7-x), at(1, 7-x), at(2, 7-x)}
		value := slices.Max(light)
		require.True(t, value >= 2*0.85-1-1e-5 && value <= 1 && slices.Min(light) < value, "%v", light)
		colours[light[0]] = true
	}
	require.InDelta(t, 20, flips, 12)
	require.Greater(t, len(colours), 5)
	require.Error(t, Draw{Background: "x"}.Check())
	require.NoError(t, Draw{Background: Light}.Check())
}

func TestBuckets(t *testing.T) {
	all, err := Buckets(512, 64, 256, 1024)
	require.NoError(t, err)
	require.Contains(t, all, image.Pt(512, 512))
	require.Contains(t, all, image.Pt(1024, 256))
	require.Contains(t, all, image.Pt(256, 1024))
	widths := map[int]bool{}
	for _, b := range all {
		require.LessOrEqual(t, b.X*b.Y, 512*512)
		require.True(t, b.X%64 == 0 && b.Y%64 == 0 && min(b.X, b.Y) >= 256)
		require.False(t, widths[b.X], "two buckets of one width")
		widths[b.X] = true
	}
	require.Equal(t, image.Pt(512, 512), all[Nearest(all, image.Pt(1000, 990))])
	require.Equal(t, image.Pt(256, 1024), all[Nearest(all, image.Pt(10, 400))])
	square, err := Buckets(32, 4, 32, 32)
	require.NoError(t, err)
	require.Equal(t, []image.Point{{32, 32}}, square)
	for _, bad := range [][4]int{{33, 4, 33, 33}, {0, 4, 0, 0}, {64, 64, 128, 256}, {64, 0, 64, 64}} {
		_, err := Buckets(bad[0], bad[1], bad[2], bad[3])
		require.Error(t, err)
	}
}

// Each epoch draws every item; a batch is of one bucket; the order follows from the seed
// and the number of the batch alone.
func TestOrder(t *testing.T) {
	bucket := []int{0, 2, 0, 2, 2, 0, 0, 2, 2, 0, 0}
	make := func(seed uint64) *Order {
		o, err := NewOrder(seed, 3, bucket)
		require.NoError(t, err)
		return o
	}
	o := make(4)
	require.Equal(t, 4, o.Epoch())
	var all [][]int
	for epoch := range 3 {
		seen := map[int]int{}
		for k := range 4 {
			batch := o.Batch(uint64(4*epoch + k))
			all = append(all, batch)
			for _, item := range batch {
				require.Equal(t, bucket[batch[0]], bucket[item])
				seen[item]++
			}
		}
		require.Len(t, seen, len(bucket))
	}
	require.NotEqual(t, fmt.Sprint(all[:4]), fmt.Sprint(all[4:8]))
	for _, n := range []uint64{7, 0, 11, 5} {
		require.Equal(t, all[n], make(4).Batch(n))
	}
	require.NotEqual(t, all[:4], [][]int{make(5).Batch(0), make(5).Batch(1), make(5).Batch(2), make(5).Batch(3)})
	_, err := NewOrder(1, 0, bucket)
	require.Error(t, err)
	small, err := NewOrder(1, 8, []int{0, 0})
	require.NoError(t, err)
	require.Len(t, small.Batch(math.MaxUint64/2), 8)
}
