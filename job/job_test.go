package job

import (
	"image"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

// The flags of each command, all of which have been there before but hires-schedule.
func TestFlagsFor(t *testing.T) {
	const (
		every = "width height steps cfg-scale cache sampler schedule eta s-noise s-churn s-tmin s-tmax order snr corrections rtol atol guidance seed rng zero-snr "
		all   = every + "edit edit-momentum edit-beta direction prompt negative clip-skip deep-cache token-merging lora control control-image control-face control-preprocess control-weight control-start control-end control-mode control-type refiner refiner-at original-size target-size crop aesthetic negative-aesthetic "
		guide = "classifier classifier-scale classifier-class guide guide-method "
		hires = "hires hires-size hires-upscaler hires-strength hires-steps hires-sampler hires-schedule hires-cfg-scale save-stages "
		mask  = "mask mask-grow mask-blur mask-feather mask-fill only-masked mask-padding canvas "
		shown = "taesd-preview-only preview-every "
	)
	for c, want := range map[Command]string{
		Txt2Img:     all + guide + "count taesd stages stage-steps noise-level save-each-stage " + shown + hires,
		Img2Img:     all + guide + "count taesd input strength image-cfg-scale noise-level " + shown + hires,
		Inpaint:     all + guide + "count taesd input strength image-cfg-scale " + shown + mask,
		Interpolate: all + "to to-seed",
		Sample:      every + guide + "class count taesd input strength stages stage-steps noise-level save-each-stage preview-noisy " + shown,
		Batch:       all + guide + "class stages stage-steps save-each-stage noise-level count taesd input strength image-cfg-scale to to-seed at " + mask + hires,
	} {
		var names []string
		shorts := ""
		for _, f := range FlagsFor(c) {
			names = append(names, f.Name)
			shorts += f.Short
		}
		require.ElementsMatch(t, strings.Fields(want), names, "%b", c)
		require.Contains(t, []string{"pniWHsb", "pnWHsb", "pnWHs", "iWHsb"}, shorts)
	}
	flags := map[string]Flag{}
	for _, f := range FlagsFor(Inpaint) {
		flags[f.Name] = f
	}
	require.Equal(t, Flag{"strength", "", KindNumber, false, "X", "0 to 1", "1", "how much of the picture is replaced"}, flags["strength"])
	require.Equal(t, "-1, random", flags["seed"].Default)
	for _, f := range FlagsFor(Img2Img) {
		require.Equal(t, strings.HasPrefix(f.Name, "hires"), f.List, f.Name)
		if f.Name == "strength" {
			require.Equal(t, "0.75", f.Default)
		}
	}
}

func TestBegin(t *testing.T) {
	require.NoError(t, differ(Begin(Txt2Img), request.Request{Seed: -1}))
	require.NoError(t, differ(Begin(Inpaint), request.Request{Seed: -1, Strength: request.Float(1)}))
	for _, c := range []Command{Img2Img, Interpolate, Batch} {
		require.NoError(t, differ(Begin(c), request.Request{Seed: -1}))
	}
}

func TestCommandOf(t *testing.T) {
	img, mask := picture64()
	for c, all := range map[Command][]request.Request{
		Txt2Img: {{}, {MaskGrow: 1}}, Img2Img: {{Image: img}, {ImageFile: "x"}},
		Inpaint: {{Image: img, Mask: mask}, {ImageFile: "x", MaskFile: "x"}, {ImageFile: "x", Canvas: image.Pt(1, 1)}},
	} {
		for _, r := range all {
			require.Equal(t, c, CommandOf(r))
		}
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ flag, value, problem string }{
		{"steps", "0", "must be 1 to 1000, got 0"},
		{"steps", "1001", "must be 1 to 1000, got 1001"},
		{"steps", "x", `must be a whole number, got "x"`},
		{"steps", "020", ""},
		{"width", "0", "must be 1 to 8192, got 0"},
		{"count", "0", "must be 1 to 1024, got 0"},
		{"clip-skip", "0", "must be 1 or more, got 0"},
		{"deep-cache", "0", "must be 1 to 1000, got 0"},
		{"cache", "easy:threshold=0.1", ""},
		{"cache", "easy:", `must be a step cache and its numbers, as in easy:threshold=0.05, got "easy:"`},
		{"cache", "", `must be a step cache and its numbers, as in easy:threshold=0.05, got ""`},
		{"cache", "slow", `unknown step cache "slow"; did you mean "easy"? There are easy, taylor and first_block`},
		{"cache", "easy:threshold=-1,every=2", "threshold must be 0 to 10 with easy, got -1; easy takes no every; it takes threshold, start and stop"},
		{"cache", "taylor:every=NaN", `every must be a number, got "NaN"`},
		{"preview-every", "0", "must be 1 to 1000, got 0"},
		{"cfg-scale", "0", ""},
		{"cfg-scale", "NaN", `must be a number, got "NaN"`},
		{"cfg-scale", "0x1p4", `must be a number, got "0x1p4"`},
		{"cfg-scale", "", `must be a number, got ""`},
		{"seed", "-1", ""},
		{"seed", "-2", "must be 0 to 18446744073709551615, or -1 for a random one, got -2"},
		{"to-seed", "-1", "must be 0 to 18446744073709551615, got -1"},
		{"mask-grow", "0", ""},
		{"mask-grow", "-1025", "must be -1024 to 1024, got -1025"},
		{"only-masked", "maybe", `must be true or false, got "maybe"`},
		{"hires", "1.5x,2", ""},
		{"hires-steps", "0", "there is no hires pass that it could be for; hires 2x asks for one"},
		{"input", "", "must be the name of a file, got an empty one"},
		{"stepz", "1", "unknown flag; did you mean steps?"},
		{strings.Repeat("x", 1<<20), "1", "unknown flag; did you mean s-tmax?"},
		{"sampler_name", "1", "unknown flag; did you mean sampler?"},
	} {
		var r request.Request
		err := Set(&r, c.flag, c.value)
		if c.problem == "" {
			require.NoError(t, err, c)
			continue
		}
		require.EqualError(t, err, c.problem)
		require.NoError(t, differ(r, request.Request{}), c)
	}
	r := request.Request{Hires: make([]request.HiresPass, 2)}
	require.EqualError(t, Set(&r, "hires-steps", "4,0"), "must be 1 to 1000, got 0")
	require.NoError(t, differ(r, request.Request{Hires: make([]request.HiresPass, 2)}))
}

func TestFind(t *testing.T) {
	for path, flag := range map[string]string{"Steps": "steps", "Image": "input", "ImageFile": "input", "Mask": "mask", "Hires": "hires", "Hires[3].Height": "hires-size", "Hires[0].Schedule": "hires-schedule",
		"Interpolate": "to", "Interpolate.Seed": "to-seed", "CropTopLeft": "crop", "RNG": "rng"} {
		f, ok := Find(path)
		require.True(t, ok, path)
		require.Equal(t, flag, f.Flag, path)
	}
	for _, path := range []string{"", "OnEvent", "Step", "Hires[0", "Hires[0].", "Hires[0].X", "["} {
		_, ok := Find(path)
		require.Equal(t, path == "Hires[0", ok, path)
	}
}

// The table's bounds are the request's own: what a flag takes, Resolve takes, and what
// it does not take is none of Resolve's either.
func TestBoundsAreThoseOfRequests(t *testing.T) {
	number := regexp.MustCompile(`^(?:each )?(-?[0-9.]+) to ([0-9.]+)$`)
	n := 0
	for _, f := range Fields() {
		bounds := number.FindStringSubmatch(f.of.bounds)
		if bounds == nil || f.Object != "" { // those are the registry's
			continue
		}
		if f.Path == "Interpolate.Seed" { // has all numbers of 64 bits (seed_test.go)
			continue
		}
		n++
		for side, at := range bounds[1:] {
			if (f.Path == "Canvas" || f.Path == "Controls.End") && side == 0 {
				continue // it is no less than the picture, or than the start
			}
			text := at
			if f.Kind == KindSize {
				text = at + "x64"
			} else if f.Kind == KindPoint {
				text = at + ",8"
			}
			r := every(t)
			require.NoError(t, Set(&r, f.Flag, text), "%s %s", f.Flag, text)
			require.Empty(t, problemAt(r, f), "%s %s", f.Flag, text)
			step := float64(2*side - 1)
			if f.Kind == KindNumber {
				step /= 1024
			}
			set(t, &r, f, at, step)
			if problem := problemAt(r, f); !isZero(r, f) {
				require.NotEmpty(t, problem, "%s %s%+g", f.Flag, at, step)
			}
		}
	}
	require.Greater(t, n, 24)
}

// every is a request with something of everything, so that no field is out of place.
func every(t *testing.T) request.Request {
	t.Helper()
	img, mask := picture64()
	seed := int64(1)
	return request.Request{Image: img, Mask: mask, OnlyMasked: true, Refiner: "r", TAESD: "t", Interpolate: &request.Interpolation{Seed: &seed}, Hires: []request.HiresPass{{Steps: 1}}, Controls: []request.Control{{Name: "c"}}, Width: 64, Height: 64}
}

// problemAt is what Resolve says of a field, for a model without an alignment, which is
// none of the table's.
func problemAt(r request.Request, f Field) string {
	if f.Path == "Canvas" {
		r.Mask, r.OnlyMasked = nil, false
	}
	_, err := r.Resolve(request.Defaults{Side: 64, Align: 1})
	if err == nil {
		return ""
	}
	for _, p := range err.(*request.Error).Problems {
		if of, ok := Find(p.Field); ok && of.Path == f.Path {
			return p.Text
		}
	}
	return ""
}

// set sets a field to a number that is a step away from another, whether it may be or
// not.
func set(t *testing.T, r *request.Request, f Field, at string, step float64) {
	t.Helper()
	v := reflect.ValueOf(r).Elem()
	for _, name := range strings.Split(f.Path, ".") {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() == reflect.Slice {
			v = v.Index(0)
		}
		v = v.FieldByName(name)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Type() == reflect.TypeFor[image.Point]() {
		v = v.Field(0)
	}
	if v.CanFloat() {
		n, err := strconv.ParseFloat(at, 64)
		require.NoError(t, err)
		v.SetFloat(n + step)
		return
	}
	n, err := strconv.ParseInt(at, 10, 64)
	require.NoError(t, err)
	v.SetInt(n + int64(step))
}

// isZero reports whether a field is its default.
func isZero(r request.Request, f Field) bool {
	if f.List {
		_, ok := f.pass.get(&r.Hires[0])
		return !ok
	}
	text, ok := f.of.get(&r)
	return !ok || text == "0" || strings.HasPrefix(text, "0x64")
}
