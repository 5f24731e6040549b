package preprocess

import (
	"encoding/json"
	"image"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/sd/picture"
)

func reference(t *testing.T, name string) *raster {
	img, err := picture.Open(fixture.Testdata(t, "preprocess/"+name+".png"))
	require.NoError(t, err)
	return fromNRGBA(img)
}

// requireNear fails if some value differs by more than most, or more than share of the
// values differ at all.
func requireNear(t *testing.T, want, got *raster, most int, share float64) {
	require.Equal(t, want.size, got.size)
	other := 0
	for i, v := range want.pix {
		d := int(v) - int(got.pix[i])
		if d != 0 {
			other++
		}
		require.LessOrEqual(t, max(d, -d), most, "value %d", i)
	}
	require.LessOrEqual(t, float64(other), share*float64(len(want.pix)))
}

// Pictures that OpenCV made, by testdata/preprocess/make.py.
func TestAgainstOpenCV(t *testing.T) {
	for _, c := range []struct {
		name  string
		most  int     // difference of a value, of 255
		share float64 // of values that differ
	}{
		{"canny", 0, 0}, {"canny-low20-high60", 0, 0}, {"threshold", 0, 0}, {"invert", 0, 0}, {"scribble", 0, 0}, {"scribble-threshold10", 0, 0},
		{"lineart", 1, 0.01}, {"lineart-sigma2-threshold20", 1, 0.01},
		{"blur", 1, 0.1}, {"blur-sigma0.7", 1, 0.1}, {"tile-factor2.5", 1, 0.01}, {"color", 1, 0.4},
		{"recolor_luminance", 1, 0.12}, {"recolor_luminance-gamma0.6", 2, 0.1}, {"recolor_intensity-gamma1.4", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse(parsed(c.name))
			require.NoError(t, err)
			got, err := p.Apply(reference(t, "photo").nrgba(), 0)
			require.NoError(t, err)
			requireNear(t, reference(t, c.name), fromNRGBA(got), c.most, c.share)
		})
	}
}

// parsed makes "canny:low=20,high=60" of "canny-low20-high60".
func parsed(name string) string {
	name, numbers, some := strings.Cut(name, "-")
	if !some {
		return name
	}
	var all []string
	for part := range strings.SplitSeq(numbers, "-") {
		at := strings.IndexAny(part, "0123456789")
		all = append(all, part[:at]+"="+part[at:])
	}
	return name + ":" + strings.Join(all, ",")
}

func TestResolution(t *testing.T) {
	none, err := Parse("tile")
	require.NoError(t, err)
	blur, err := Parse("threshold:level=0")
	require.NoError(t, err)
	photo := reference(t, "photo")
	for name, resolution := range map[string]int{"larger": 128, "smaller": 64} {
		want := reference(t, name)
		require.Equal(t, want.size, scaledSize(photo.size, resolution))
		requireNear(t, want, photo.scaledBetween(want.size), 1, 0.05)
		got, err := blur.Apply(photo.nrgba(), resolution)
		require.NoError(t, err)
		require.Equal(t, want.size, got.Rect.Size())
	}
	_, err = none.Apply(photo.nrgba(), 64)
	require.EqualError(t, err, "tile takes no resolution: its picture has the size of the one that it is made of")
	_, err = blur.Apply(photo.nrgba(), 63)
	require.EqualError(t, err, "resolution must be 64 to 8192, got 63")
	_, err = blur.Apply(image.NewNRGBA(image.Rect(0, 0, 1, 100000)), 8192)
	require.EqualError(t, err, "a shorter side of 8192 makes 8192x819200000 pixels of 1x100000; there must be at most "+strconv.Itoa(picture.MaxPixels))
}

func TestShuffle(t *testing.T) {
	data, err := os.ReadFile(fixture.Testdata(t, "preprocess/shuffle.json"))
	require.NoError(t, err)
	var numbers []float64
	require.NoError(t, json.Unmarshal(data, &numbers))
	next := func() float64 { v := numbers[0]; numbers = numbers[1:]; return v }
	photo := reference(t, "photo")
	across := disk(photo.size, next)
	got, want := photo.bent(across, disk(photo.size, next)), reference(t, "shuffle")
	var sum float64
	for i, v := range want.pix { // OpenCV's places are rounded to 1/32 of a pixel
		sum += math.Abs(float64(v) - float64(got.pix[i]))
	}
	require.Less(t, sum/float64(len(want.pix)), 0.5)

	p, err := Parse("shuffle:seed=3")
	require.NoError(t, err)
	one, err := p.Apply(photo.nrgba(), 0)
	require.NoError(t, err)
	two, err := p.Apply(photo.nrgba(), 0)
	require.NoError(t, err)
	require.Equal(t, one, two)
	p, err = Parse("shuffle")
	require.NoError(t, err)
	two, err = p.Apply(photo.nrgba(), 0)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"canny": "canny", "Canny": "canny", "canny:low=100,high=200": "canny", "canny: low = 50": "canny:low=50", "scribble_xdog:threshold=8": "scribble:threshold=8",
		"blur_gaussian": "blur", "lineart_standard (from white bg & black line)": "lineart", "tile_resample:factor=2.5": "tile:factor=2.5",
		"canny:low=1,high=2": "canny:low=1:high=2", "canny:low=1:high=2": "canny:low=1:high=2",
	} {
		p, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, p.String())
		again, err := Parse(p.String())
		require.NoError(t, err)
		require.Equal(t, want, again.String())
	}
	for text, want := range map[string]string{
		"":                       `preprocessor must be one of canny, lineart, scribble, threshold, inpaint, invert, blur, tile, color, recolor_luminance, recolor_intensity, shuffle, got ""`,
		"depth_midas":            `preprocessor "depth_midas" needs a network of its own: make its picture with another program, and give that without a preprocessor`,
		"canny:":                 `canny: must be NAME=NUMBER, got ""`,
		"canny:low":              `canny: must be NAME=NUMBER, got "low"`,
		"canny:low=x":            `canny: must be NAME=NUMBER, got "low=x"`,
		"canny:low=NaN":          "canny: low must be 0 to 32767, got NaN",
		"canny:low=1,low=2":      "canny: low is there twice",
		"canny:size=3":           `canny takes no "size"; it takes low, high`,
		"invert:low=3":           `invert takes no "low"; it has no parameters`,
		"blur:sigma=0":           "blur: sigma must be 0.01 to 64, got 0",
		"threshold:level=1.5":    "threshold: level must be a whole number, 0 to 255, got 1.5",
		"canny:low=-1,high=1e99": "canny: low must be 0 to 32767, got -1\ncanny: high must be 0 to 32767, got 1e+99",
	} {
		_, err := Parse(text)
		require.EqualError(t, err, want, text)
	}
}

// Pictures of every size, and what can be wrong with them.
func TestOddPictures(t *testing.T) {
	for _, p := range All() {
		if p.Masks() {
			_, err := p.Apply(image.NewNRGBA(image.Rect(0, 0, 8, 8)), 0)
			require.ErrorContains(t, err, "inpaint makes no picture")
			continue
		}
		for _, size := range []image.Point{{1, 1}, {1, 9}, {7, 1}, {2, 2}, {65, 3}, {3, 130}} {
			got, err := p.Apply(image.NewNRGBA(image.Rectangle{Max: size}), 0)
			require.NoError(t, err, "%s of %v", p.Name, size)
			require.Equal(t, size, got.Rect.Size())
		}
		require.NotEmpty(t, p.Description)
		for _, x := range p.Parameters {
			require.NoError(t, x.check(p.Name, x.Default))
		}
		_, err := p.Apply(nil, 0)
		require.Error(t, err)
		_, err = p.Apply(image.NewNRGBA(image.Rectangle{}), 0)
		require.Error(t, err)
	}
	_, err := Preprocessor{}.Apply(image.NewNRGBA(image.Rect(0, 0, 8, 8)), 0)
	require.EqualError(t, err, "preprocessor must be one that Lookup or Parse has found")

	transparent := image.NewNRGBA(image.Rect(0, 0, 1, 1)) // black, and white through it
	transparent.Pix[3] = 127
	require.Equal(t, []uint8{127, 127, 127}, fromNRGBA(transparent).pix)

	defer limits.Pretend(64 << 20)()
	p, err := Parse("blur")
	require.NoError(t, err)
	_, err = p.Apply(image.NewNRGBA(image.Rect(0, 0, 2000, 2000)), 0)
	require.ErrorContains(t, err, "blur of 2000x2000 pixels needs 122 MB of memory; ")
}

func FuzzParse(f *testing.F) {
	for _, p := range All() {
		f.Add(p.String())
		for _, x := range p.Parameters {
			f.Add(p.Name + ":" + x.Name + "=" + strconv.FormatFloat((x.Min+x.Max)/2, 'g', -1, 64))
		}
	}
	photo := image.NewNRGBA(image.Rect(0, 0, 9, 7))
	for i := range photo.Pix {
		photo.Pix[i] = uint8(i * 37)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 2000)
			return
		}
		again, err := Parse(p.String())
		require.NoError(t, err)
		require.Equal(t, p.String(), again.String())
		if _, err = p.Apply(photo, 0); !p.Masks() && p.Resolution() == 0 { // a resolution may be beyond what pictures may have
			require.NoError(t, err)
		}
	})
}
