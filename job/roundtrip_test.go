package job

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

const requests = 2000

// Whatever a request is, its picture's parameters make the same picture again.
func TestParametersOfPicturesRoundTrip(t *testing.T) {
	d := newDice(1)
	seen := map[string]bool{}
	for n := range requests {
		r := d.request()
		q, err := r.Resolve(defaults)
		require.NoError(t, err, "%d: %+v", n, r)
		p := q.Params(d.file(), r.Seed+int64(d.IntN(4)))
		p.ModelHash = []string{"", "0123456789"}[d.IntN(2)]
		note(seen, reflect.ValueOf(p.Request), "")

		text := Text(p, "0.1.0")
		got, unread, err := ReadText(text)
		require.NoError(t, err)
		require.Empty(t, unread, text)
		require.NoError(t, again(got, r, p), text)
		require.Equal(t, text, Text(resolved(t, got, r), "0.1.0"))
	}
	for _, path := range paths(reflect.TypeFor[request.Request](), "") {
		inPicture := seen[path] || path == "TAESDPreviewOnly" || path == "KeepHiresInput" || path == "PreviewEvery" || path == "PreviewNoisy" || path == "KeepStages"
		require.True(t, inPicture, "no random request has %s: add it to the generator", path)
	}
}

// withPictures is what was read, with the pictures of the request that was written.
func withPictures(r, of request.Request) request.Request {
	r.Image, r.Mask = of.Image, of.Mask
	r.Controls = slices.Clone(r.Controls)
	for i := range min(len(r.Controls), len(of.Controls)) {
		r.Controls[i].Image = of.Controls[i].Image
	}
	r.Guides = slices.Clone(r.Guides)
	for i := range min(len(r.Guides), len(of.Guides)) {
		r.Guides[i].Image, r.Guides[i].Of = of.Guides[i].Image, of.Guides[i].Of
	}
	return r
}

// resolved is what was read of a picture with every default filled in, and the pictures
// of the request that it was drawn of.
func resolved(t *testing.T, got request.Params, of request.Request) request.Params {
	t.Helper()
	r := withPictures(got.Request, of)
	q, err := r.Resolve(defaults)
	require.NoError(t, err)
	p := q.Params(got.Model, got.Seed)
	p.ModelHash = got.ModelHash
	return p
}

// again reports how what was read differs from what was written.
func again(got request.Params, of request.Request, want request.Params) error {
	r := withPictures(got.Request, of)
	q, err := r.Resolve(defaults)
	if err != nil {
		return err
	}
	p := q.Params(got.Model, got.Seed)
	p.ModelHash = got.ModelHash
	return differ(p, want)
}

func TestJSONRoundTrips(t *testing.T) {
	d := newDice(2)
	seen := map[string]bool{}
	for range requests {
		r := d.request()
		note(seen, reflect.ValueOf(r), "")
		data, err := Encode(r)
		require.NoError(t, err)
		got, err := Decode(data)
		require.NoError(t, err, "%s", data)
		again, err := Encode(got)
		require.NoError(t, err)
		require.Equal(t, string(data), string(again))
		r = withPictures(r, request.Request{Controls: make([]request.Control, len(r.Controls)), Guides: make([]request.Guide, len(r.Guides))})
		require.NoError(t, differ(got, r), "%s", data)

		// What a picture says goes on as JSON, too.
		q, err := r.Resolve(defaults)
		if err != nil {
			continue // it lacks its picture
		}
		p := q.Params("m", r.Seed).Request
		data, err = Encode(p)
		require.NoError(t, err)
		got, err = Decode(data)
		require.NoError(t, err)
		require.NoError(t, differ(got, p), "%s", data)
	}
	for _, path := range paths(reflect.TypeFor[request.Request](), "") {
		require.True(t, seen[path], "no random request has %s: add it to the generator", path)
	}
}

// A request that goes through flags is the same: its fields are set one after the
// other.
func TestFlagsRoundTrip(t *testing.T) {
	d := newDice(3)
	passes := 0
	for range requests / 5 {
		r := d.request()
		if r = withPictures(r, request.Request{Controls: make([]request.Control, len(r.Controls)), Guides: make([]request.Guide, len(r.Guides))}); !sayable(r.Hires) {
			r.Hires = nil
		}
		passes += len(r.Hires)
		var got request.Request
		for _, f := range Fields() {
			value, ok := "", false
			if f.List {
				value, ok = listOf(f, r.Hires)
			} else {
				value, ok = f.of.get(&r)
			}
			if ok {
				require.NoError(t, Set(&got, f.Flag, value), f.Flag)
			}
		}
		require.NoError(t, differ(got, r))
	}
	require.Greater(t, passes, 10)
}

// sayable reports whether flags can say all of some passes: where one has a value all
// must have one.
func sayable(passes []request.HiresPass) bool {
	for _, f := range Fields() {
		if _, ok := listOf(f, passes); f.List && !ok {
			for i := range passes {
				if _, set := f.pass.get(&passes[i]); set {
					return false
				}
			}
		}
	}
	return len(passes) > 0 && (passes[0].Scale != 0 || passes[0].Width != 0)
}

// listOf is a field of hires passes as its flag has it, if it has.
func listOf(f Field, passes []request.HiresPass) (string, bool) {
	var list []string
	for i := range passes {
		text, ok := "", false
		if f.List {
			text, ok = f.pass.get(&passes[i])
		}
		if !ok || strings.Contains(text, ",") || text != strings.TrimSpace(text) {
			return "", false
		}
		list = append(list, text)
	}
	return strings.Join(list, ","), len(list) > 0
}
