package job

import (
	"fmt"
	"image"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

// exceptions are fields that are no data: what is done meanwhile, and pictures, which
// stand in files that other fields name.
var exceptions = map[string]bool{"OnEvent": true, "Image": true, "Mask": true, "Controls.Image": true, "Controls.Face": true, "Guides.Image": true, "Guides.Of": true}

// paths are the fields of a struct, and of structs in it, as the table names them.
func paths(t reflect.Type, prefix string) (all []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + f.Name
		of := f.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		switch {
		case exceptions[path]:
		case of.Kind() == reflect.Map: // an entry a name
			all = append(all, path+".*")
		case of.Kind() == reflect.Struct && of != reflect.TypeFor[image.Point]():
			all = append(all, paths(of, path+".")...)
		default:
			all = append(all, path)
		}
	}
	return all
}

// note notes which fields of a struct are not the zero value.
func note(seen map[string]bool, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		f := v.Field(i)
		path := prefix + v.Type().Field(i).Name
		if f.IsZero() {
			continue
		}
		for _, key := range keysOf(f) { // of a map
			seen[path+"."+key], seen[path+".*"] = true, true
		}
		if seen[path] = true; f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Struct && !exceptions[path] {
			note(seen, f.Elem(), path+".")
		}
		if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct {
			for i := range f.Len() {
				note(seen, f.Index(i), path+".")
			}
		}
	}
}

func keysOf(v reflect.Value) (keys []string) {
	if v.Kind() == reflect.Map {
		for _, k := range v.MapKeys() {
			keys = append(keys, k.String())
		}
	}
	return keys
}

// differ reports the first field in which two values differ.
func differ(got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	a, b := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range a.NumField() {
		if x, y := a.Field(i), b.Field(i); !reflect.DeepEqual(x.Interface(), y.Interface()) {
			if a.Type().Field(i).Anonymous {
				return differ(x.Interface(), y.Interface())
			}
			return fmt.Errorf("%s is %s, not %s", a.Type().Field(i).Name, show(x), show(y))
		}
	}
	return fmt.Errorf("%+v, not %+v", got, want)
}

func show(v reflect.Value) string {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		return fmt.Sprintf("&%+v", v.Elem().Interface())
	}
	return fmt.Sprintf("%+q", fmt.Sprintf("%+v", v.Interface()))
}

// Every field of a request is in the table, once, and the table has nothing else.
func TestEveryFieldIsInTheTable(t *testing.T) {
	table := map[string]int{}
	flags, shorts, keys, helps := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range Fields() {
		for _, path := range append([]string{f.Path}, f.Also...) {
			table[path]++
		}
		require.False(t, flags[f.Flag] || shorts[f.Short] && f.Short != "" || keys[f.Key] || helps[f.Help], f.Path)
		flags[f.Flag], shorts[f.Short], keys[f.Key], helps[f.Help] = true, true, true, true
		require.NotEmpty(t, f.Flag, f.Path)
		require.NotEmpty(t, f.Help, f.Path)
		require.NotZero(t, f.For, f.Path)
		require.Equal(t, f.Kind == KindSwitch, f.Arg == "", f.Path)
		require.NotNil(t, f.of.set, f.Path)
		require.Equal(t, f.List, f.PassKey != "", f.Path)
	}
	walked := paths(reflect.TypeFor[request.Request](), "")
	for _, path := range walked {
		if of, ok := strings.CutSuffix(path, "*"); ok {
			n := len(table)
			maps.DeleteFunc(table, func(entry string, _ int) bool { return strings.HasPrefix(entry, of) })
			require.Less(t, len(table), n, "the names in %s must be in the table of fields.go", of)
			continue
		}
		require.Equal(t, 1, table[path], "%s must be in the table of fields.go, once", path)
		delete(table, path)
	}
	require.Empty(t, table, "the table has what no request has")
	require.Greater(t, len(walked), 45)

	type grown struct {
		request.Request
		New     struct{ Deep *[]float64 }
		Options map[string]float64
	}
	require.Subset(t, paths(reflect.TypeFor[grown](), ""), []string{"New.Deep", "Options.*"}, "the walk sees no new fields")
}

// values are one for each kind, other than the zero value.
func valueOf(f Field) string {
	switch {
	case f.Path == "Guider":
		return "cfg_rescale:phi=0.5"
	case f.Path == "Adapters.Name":
		return "style:0.5:0.25"
	case f.Path == "Guides.Kind":
		return "colour=#ff8800,mask=a.png,of=b.png,classifier=c,class=d"
	case f.Path == "Edits.Prompt":
		return "-a beard,scale=4,threshold=0.5,warmup=3,cooldown=8,weight=2"
	case f.Path == "Directions.Name":
		return "a.safetensors,strength=-2,start=0.25,end=0.5"
	case f.Path == "GuideMethod":
		return "lgd:samples=5"
	case f.Path == "Cache":
		return "easy:threshold=0.5"
	case f.Path == "Controls.Preprocess":
		return "canny:low=50"
	case f.Path == "Controls.Mode":
		return "prompt"
	case f.Path == "Controls.Type":
		return "depth"
	case f.Kind == KindText && strings.HasPrefix(f.Path, "Controls.") && f.of.bounds != "":
		return "0.5"
	case f.Path == "SamplerOptions.order":
		return "2"
	case strings.HasSuffix(f.Path, "Seed"):
		return "18446744073709551610"
	case f.Path == "RNG":
		return "philox"
	case f.Path == "MaskFill":
		return "noise"
	case f.Path == "Sampler", f.Path == "Hires.Sampler":
		return "heun"
	case f.Path == "Schedule", f.Path == "Hires.Schedule":
		return "karras"
	}
	return map[Kind]string{KindText: "x", KindFile: "x.png", KindInteger: "8", KindNumber: "0.5", KindSwitch: "true", KindSize: "16x24", KindPoint: "3,4"}[f.Kind]
}

// An entry sets the field that it says, that alone, and clears it again.
func TestEntriesSetTheirFields(t *testing.T) {
	for _, f := range Fields() {
		var r request.Request
		if f.List && f.instead == "" {
			r.Hires = make([]request.HiresPass, 2)
		}
		if ofControl := strings.HasPrefix(f.Path, "Controls.") && f.Path != "Controls.Name"; ofControl {
			r.Controls = make([]request.Control, 2)
		}
		require.NoError(t, Set(&r, f.Flag, valueOf(f)), f.Flag)
		seen := map[string]bool{}
		note(seen, reflect.ValueOf(r), "")
		delete(seen, "Hires")
		delete(seen, "Adapters")
		delete(seen, "Controls")
		delete(seen, "Guides")
		delete(seen, "Edits")
		delete(seen, "Directions")
		delete(seen, "Interpolate")
		for _, m := range []string{"SamplerOptions", "GuiderOptions", "GuideOptions", "CacheOptions"} {
			delete(seen, m)
			delete(seen, m+".*")
		}
		want := map[string]bool{f.Path: true}
		for _, also := range f.Also {
			want[strings.ReplaceAll(also, "*", map[string]string{"Guider": "phi", "GuideMethod": "samples", "Cache": "threshold"}[f.Path])] = true
		}
		require.Equal(t, want, seen)
		f.of.clear(&r)
		for i := range r.Hires {
			require.Zero(t, r.Hires[i], f.Path)
		}
		for i := range r.Controls {
			require.Zero(t, r.Controls[i], f.Path)
		}
		r.Hires, r.Controls = nil, nil
		require.NoError(t, differ(r, request.Request{}), f.Path)
	}
}

// What is set in one copy of a request is not set in another.
func TestCopiesShareNothing(t *testing.T) {
	seed := int64(5)
	r := request.Request{Hires: make([]request.HiresPass, 2), Interpolate: &request.Interpolation{Seed: &seed}, Guidance: request.Float(1)}
	before := r
	copied := r
	copied.Hires = append([]request.HiresPass(nil), r.Hires...)
	other := *r.Interpolate
	for _, f := range Fields() {
		if f.Path == "Hires.Width" {
			continue
		}
		require.NoError(t, Set(&r, f.Flag, valueOf(f)), f.Flag)
	}
	require.Equal(t, copied.Hires, before.Hires)
	require.Equal(t, other, *before.Interpolate)
	require.EqualValues(t, 5, seed)
	require.EqualValues(t, 1, *before.Guidance)
}

// An entry of a map of numbers has one of their names.
func TestOptionsOfMaps(t *testing.T) {
	type options = map[string]float64
	type holder struct{ all options }
	eta := option(decimal(0, 1), "eta", func(h *holder) *options { return &h.all })
	var h holder
	_, ok := eta.get(&h)
	require.False(t, ok)
	require.NoError(t, eta.set(&h, "0"))
	text, ok := eta.get(&h)
	require.True(t, ok)
	require.Equal(t, "0", text)
	shared := h
	require.NoError(t, eta.set(&h, "0.5"))
	require.EqualError(t, eta.set(&h, "2"), "must be 0 to 1, got 2")
	require.Equal(t, options{"eta": 0.5}, h.all)
	require.Equal(t, options{"eta": 0}, shared.all)
	eta.clear(&h)
	require.Nil(t, h.all)
	require.Equal(t, options{"eta": 0}, shared.all)
	h.all = options{"eta": 1, "order": 2}
	eta.clear(&h)
	require.Equal(t, options{"order": 2}, h.all)
}
