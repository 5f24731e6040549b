package loose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLenience(t *testing.T) {
	o, err := Parse([]byte(`{"a": 30.0, "b": "20", "c": null, "d": 1, "e": "false", "f": "7.5", "g": 12, "h": "x",
		"i": {"j": [1, "two"]}, "k": [{"l": true}], "m": 3e1, "n": true, "o": "one", "unknown": {}}`))
	require.NoError(t, err)
	for key, want := range map[string]int64{"a": 30, "b": 20, "m": 30, "n": 1} {
		v, ok := o.Int(key)
		require.True(t, ok, key)
		require.Equal(t, want, v)
	}
	_, ok := o.Int("c")
	require.False(t, ok)
	v, ok := o.Bool("d")
	require.True(t, v && ok)
	v, ok = o.Bool("e")
	require.True(t, !v && ok)
	f, _ := o.Float("f")
	require.Equal(t, 7.5, f)
	s, _ := o.String("g")
	require.Equal(t, "12", s)
	s, _ = o.String("h")
	require.Equal(t, "x", s)
	require.Equal(t, []string{"1", "two"}, o.Sub("i").Strings("j"))
	v, _ = o.Objects("k")[0].Bool("l")
	require.True(t, v)
	require.Equal(t, []string{"one"}, o.Strings("o"))
	require.Equal(t, []string{"unknown"}, o.Unknown())
	require.NoError(t, o.Err())
	o.Set("a", 5)
	o.Set("c", 6)
	n, _ := o.Int("a")
	require.Equal(t, int64(30), n)
	n, _ = o.Int("c")
	require.Equal(t, int64(6), n)
}

func TestErrors(t *testing.T) {
	o, err := Parse([]byte(`{"a": 30.5, "b": "many", "c": [1], "d": 2, "e": "NaN", "f": {}, "g": 3, "h": [[], {}], "i": "0x10"}`))
	require.NoError(t, err)
	o.Int("a")
	o.Int("b")
	o.String("c")
	o.Bool("d")
	o.Float("e")
	o.Strings("f")
	o.Sub("g")
	o.Strings("h")
	o.Int("i")
	err = o.Err()
	require.EqualError(t, err, "a: must be a whole number, got 30.5; b: must be a whole number, got \"many\"; c: must be a text, got [1]; "+
		"d: must be true or false, got 2; e: must be a number, got \"NaN\"; f.0: must be a text, got {}; g: must be an object, got 3; "+
		"h.0: must be a text, got []; h.1: must be a text, got {}; i: must be a whole number, got \"0x10\"")
	require.Equal(t, Problem{[]any{"body", "a"}, "must be a whole number, got 30.5", "int_parsing"}, err.(Errors)[0])
	for body, want := range map[string]string{"[]": "must be a JSON object", "null": "got null", "{": "not JSON", "\"\xff\"": "UTF-8"} {
		_, err := Parse([]byte(body))
		require.ErrorContains(t, err, want)
	}
	_, err = Parse(nil)
	require.NoError(t, err)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}], "c": "1e5", "d": true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		if err != nil {
			return
		}
		for _, key := range o.Keys() {
			o.Int(key)
			o.Float(key)
			o.Bool(key)
			o.String(key)
			o.Strings(key)
			o.Sub(key)
			o.Objects(key)
		}
		require.Empty(t, o.Unknown())
		_ = o.Err()
	})
}

func FuzzObject(f *testing.F) {
	for _, text := range []string{`{"a": 1, "b": "2", "c": [null, {"d": true}], "e": {"f": 1e400}}`, `{"a": "\ud800"}`, `[]`, ``, `{"a": 1, "a": 2}`} {
		f.Add([]byte(text), "a")
	}
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		o, err := Parse(data)
		if err != nil {
			return
		}
		for _, k := range append(o.Keys(), key) {
			n, whole := o.Int(k)
			if v, ok := o.Float(k); whole && ok && n > -1<<53 && n < 1<<53 {
				require.InDelta(t, float64(n), v, 0)
			}
			o.Bool(k)
			o.String(k)
			o.Strings(k)
			for _, one := range o.Objects(k) {
				one.Unknown()
			}
			o.Sub(k)
		}
		require.Empty(t, o.Unknown(), "all were read")
		_ = o.Err()
	})
}
