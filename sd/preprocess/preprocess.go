// Package preprocess makes the pictures that ControlNets are given out of ordinary
// ones: edges, lines, blurred or coloured areas. These are the preprocessors of
// AUTOMATIC1111's ControlNet extension that need no network, with its names and
// numbers; what OpenCV does in it is done here with the same arithmetic.
//
// Unlike the extension, which first scales the shorter side to 512 pixels and fills
// up to multiples of 64, a picture keeps its size unless a resolution is asked for,
// and nothing is filled up.
package preprocess

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/sd/picture"
)

// MinResolution and MaxResolution bound the resolution of [Preprocessor.Apply].
const (
	MinResolution = 64
	MaxResolution = 8192
)

// Parameter is a number that a preprocessor takes.
type Parameter struct {
	Name     string
	Default  float64
	Min, Max float64 // both are allowed
	Integer  bool    // whether it must be a whole number
	Help     string  // one line
}

// Preprocessor makes one kind of picture. [Lookup] and [Parse] find them.
type Preprocessor struct {
	Name        string
	Aliases     []string // what other programs call it
	Description string   // one line
	Parameters  []Parameter

	values     map[string]float64 // of parameters that are not at their defaults
	resolution int                // that Apply takes where none is given it; 0 is none
	apply      func(*raster, func(name string) float64) *raster
	scales     bool // whether the resolution means something to it
	masks      bool // whether it takes away what a mask paints, and makes no picture of its own
}

// All returns the preprocessors, in the order in which they are listed.
func All() []Preprocessor { return slices.Clone(registry()) }

// Lookup finds a preprocessor by its name or by another program's, without regard to
// case. The error lists the names that there are, or says which network a name needs.
func Lookup(name string) (Preprocessor, error) {
	var names []string
	for _, p := range registry() {
		if strings.EqualFold(p.Name, name) || slices.ContainsFunc(p.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if slices.ContainsFunc(networks(), func(known string) bool { return strings.HasPrefix(strings.ToLower(name), known) }) {
		return Preprocessor{}, fmt.Errorf("preprocessor %.40q needs a network of its own: make its picture with another program, and give that without a preprocessor", name)
	}
	return Preprocessor{}, fmt.Errorf("preprocessor must be one of %s, got %.40q", strings.Join(names, ", "), name)
}

// Parse reads a preprocessor with its parameters, as in "canny" and
// "canny:low=50,high=150". Between the parameters a colon is as good as a comma, for lists
// whose entries have commas between them.
func Parse(text string) (Preprocessor, error) {
	name, numbers, some := strings.Cut(text, ":")
	p, err := Lookup(strings.TrimSpace(name))
	if err != nil || !some {
		return p, err
	}
	values := map[string]float64{}
	for part := range strings.SplitSeq(strings.ReplaceAll(numbers, ":", ","), ",") {
		key, number, ok := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !ok || err != nil {
			return Preprocessor{}, fmt.Errorf("%s: must be NAME=NUMBER, got %.40q", p.Name, part)
		}
		if _, twice := values[key]; twice {
			return Preprocessor{}, fmt.Errorf("%s: %s is there twice", p.Name, key)
		}
		values[key] = v
	}
	return p.With(values)
}

// Scales reports whether a resolution means something to it.
func (p Preprocessor) Scales() bool { return p.scales }

// Masks reports whether it takes away what a request's mask paints: the network sees -1
// there, which no picture can hold. [Preprocessor.Apply] refuses it.
func (p Preprocessor) Masks() bool { return p.masks }

// resolutionName is what those that scale take beside their parameters: the resolution for
// [Preprocessor.Apply].
const resolutionName = "resolution"

// Resolution is the one that it was parsed with, as in "canny:resolution=512"; 0 is none.
func (p Preprocessor) Resolution() int { return p.resolution }

// With returns the preprocessor with other values of its parameters. The error joins
// what is wrong with each.
func (p Preprocessor) With(values map[string]float64) (Preprocessor, error) {
	var wrong []error
	var names []string
	all := map[string]float64{}
	if v, ok := values[resolutionName]; ok && p.scales {
		x := Parameter{Name: resolutionName, Min: MinResolution, Max: MaxResolution, Integer: true}
		if err := x.check(p.Name, v); err != nil {
			wrong = append(wrong, err)
		}
		p.resolution = int(v)
		names = append(names, resolutionName)
	}
	for _, x := range p.Parameters {
		names = append(names, x.Name)
		all[x.Name] = p.value(x.Name)
		if v, ok := values[x.Name]; ok {
			all[x.Name] = v
			wrong = append(wrong, x.check(p.Name, v))
		}
	}
	for name := range values {
		switch {
		case slices.Contains(names, name):
		case len(names) == 0:
			wrong = append(wrong, fmt.Errorf("%s takes no %.40q; it has no parameters", p.Name, name))
		default:
			wrong = append(wrong, fmt.Errorf("%s takes no %.40q; it takes %s", p.Name, name, strings.Join(names, ", ")))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return Preprocessor{}, err
	}
	p.values = all
	return p, nil
}

func (x Parameter) check(of string, v float64) error {
	whole := ""
	if x.Integer {
		whole = "a whole number, "
	}
	if v >= x.Min && v <= x.Max && !(x.Integer && v != math.Trunc(v)) {
		return nil
	}
	return fmt.Errorf("%s: %s must be %s%g to %g, got %g", of, x.Name, whole, x.Min, x.Max, v)
}

func (p Preprocessor) value(name string) float64 {
	if v, ok := p.values[name]; ok {
		return v
	}
	for _, x := range p.Parameters {
		if x.Name == name {
			return x.Default
		}
	}
	return 0
}

// String is the preprocessor as [Parse] reads it, with a colon before each parameter, such
// as "canny:low=50:high=150": those at their defaults are left out.
func (p Preprocessor) String() string {
	var numbers []string
	for _, x := range p.Parameters {
		if v := p.value(x.Name); v != x.Default {
			numbers = append(numbers, x.Name+"="+strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	if p.resolution != 0 {
		numbers = append(numbers, fmt.Sprintf("%s=%d", resolutionName, p.resolution))
	}
	return strings.Join(append([]string{p.Name}, numbers...), ":")
}

// Apply makes the picture. Transparent parts count as white. A resolution other than 0
// is the shorter side that the picture is scaled to first, [MinResolution] to
// [MaxResolution] pixels, and 0 is the preprocessor's own; those that have no use for one
// refuse it.
func (p Preprocessor) Apply(img image.Image, resolution int) (*image.NRGBA, error) {
	if p.masks {
		return nil, fmt.Errorf("%s makes no picture: it is for a request with a mask, which it takes away from what the network sees", p.Name)
	}
	if p.apply == nil {
		return nil, errors.New("preprocessor must be one that Lookup or Parse has found")
	}
	if resolution == 0 {
		resolution = p.resolution
	}
	if resolution != 0 && !p.scales {
		return nil, fmt.Errorf("%s takes no resolution: its picture has the size of the one that it is made of", p.Name)
	}
	if resolution != 0 && (resolution < MinResolution || resolution > MaxResolution) {
		return nil, fmt.Errorf("resolution must be %d to %d, got %d", MinResolution, MaxResolution, resolution)
	}
	in, release, err := scaled(img, resolution, p.Name)
	if err != nil {
		return nil, err
	}
	defer release()
	return p.apply(in, p.value).nrgba(), nil
}

// Scale returns the picture with its shorter side scaled to a resolution, as [Preprocessor.Apply] does
// first.
func Scale(img image.Image, resolution int) (*image.NRGBA, error) {
	if resolution < MinResolution || resolution > MaxResolution {
		return nil, fmt.Errorf("resolution must be %d to %d, got %d", MinResolution, MaxResolution, resolution)
	}
	in, release, err := scaled(img, resolution, "scaling")
	if err != nil {
		return nil, err
	}
	defer release()
	return in.nrgba(), nil
}

// scaled is a picture, scaled if the resolution is not 0, with memory for what a preprocessor
// makes of it.
func scaled(img image.Image, resolution int, name string) (in *raster, release func(), err error) {
	from, err := picture.NRGBA(img)
	if err != nil {
		return nil, nil, err
	}
	size := scaledSize(from.Rect.Size(), resolution)
	if size.X < 1 || size.Y < 1 || size.X > picture.MaxSide || size.Y > picture.MaxSide || size.X*size.Y > picture.MaxPixels {
		return nil, nil, fmt.Errorf("a shorter side of %d makes %dx%d pixels of %dx%d; there must be at most %d",
			resolution, size.X, size.Y, from.Rect.Dx(), from.Rect.Dy(), picture.MaxPixels)
	}
	pixels := max(size.X*size.Y, from.Rect.Dx()*from.Rect.Dy())
	need := uint64(pixels) * bytesPerPixel
	release, left, ok := limits.Take(need)
	if !ok {
		return nil, nil, fmt.Errorf("%s of %dx%d pixels needs %d MB of memory; %d MB are left (%s)", name, size.X, size.Y, need>>20, left.Amount>>20, left.By)
	}
	in = fromNRGBA(from)
	if size != from.Rect.Size() {
		in = in.scaledBetween(size)
	}
	return in, release, nil
}

// bytesPerPixel is what a preprocessor has at most at a time: two pictures of 8 bits
// and some planes of 32.
const bytesPerPixel = 32

// scaledSize is the size after the shorter side was made resolution pixels.
func scaledSize(size image.Point, resolution int) image.Point {
	if resolution == 0 {
		return size
	}
	k := float64(resolution) / float64(min(size.X, size.Y))
	return image.Pt(int(min(math.RoundToEven(float64(size.X)*k), math.MaxInt32)), int(min(math.RoundToEven(float64(size.Y)*k), math.MaxInt32)))
}
