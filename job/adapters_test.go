package job

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

func TestAdapters(t *testing.T) {
	float := request.Float
	for text, want := range map[string][]request.Adapter{
		"style":                            {{Name: "style"}},
		"style:0.8":                        {{Name: "style", Strength: float(0.8)}},
		"style:0.8:0.5":                    {{Name: "style", Strength: float(0.8), TextStrength: float(0.5)}},
		" a.safetensors : -1 ,b:0":         {{Name: "a.safetensors", Strength: float(-1)}, {Name: "b", Strength: float(0)}},
		`C:\loras\a.safetensors:0.5`:       {{Name: `C:\loras\a.safetensors`, Strength: float(0.5)}},
		`red\, green:1, x:y`:               {{Name: "red, green", Strength: float(1)}, {Name: "x:y"}},
		`[{"name":"a","strength":0.5}]`:    {{Name: "a", Strength: float(0.5)}},
		`[{"name":"a","text_strength":0}]`: {{Name: "a", TextStrength: float(0)}},
	} {
		var r request.Request
		var err error
		if strings.HasPrefix(text, "[") {
			r, err = Decode([]byte(`{"lora": ` + text + `}`))
		} else {
			err = Set(&r, "lora", text)
		}
		require.NoError(t, err, text)
		require.Equal(t, want, r.Adapters, text)
	}
	for text, want := range map[string]string{
		"":                             "must be names with their strengths",
		"a,,b":                         "must be names with their strengths",
		"a:1000":                       "a strength must be -100 to 100, got 1000",
		"a:1:-1000":                    "a strength must be -100 to 100, got -1000",
		"a\x00":                        "must be names with their strengths",
		strings.Repeat("a,", 64) + "a": "must be at most 64 adapters, got 65",
	} {
		var r request.Request
		require.ErrorContains(t, Set(&r, "lora", text), want, "%q", text)
	}
	for json, want := range map[string]string{
		`[{"name":""}]`: "each must have a name", `[{"name":"a","weight":1}]`: "unknown field", `[1]`: "a list of objects", `5`: "must be a",
		`[{"name":"a","strength":1e9}]`: "a strength must be",
	} {
		_, err := Decode([]byte(`{"lora": ` + json + `}`))
		require.ErrorContains(t, err, want, json)
	}
}

// Names with what separates names are written and read again as they are.
func TestNamesOfAdaptersGoRound(t *testing.T) {
	for _, name := range []string{`a\: 20:100:86.5/4`, `a\:5`, `a:5`, `a\,b`, `a\\:5:6`, `\:`, `a:b`, `a, b: 3`} {
		for _, strength := range []*float64{nil, request.Float(0.5)} {
			all := []request.Adapter{{Name: name, Strength: strength}, {Name: "b"}}
			again, err := parseAdapters(formatAdapters(all))
			require.NoError(t, err, name)
			require.Equal(t, all, again)
		}
	}
	_, err := parseAdapters(`folder\`)
	require.EqualError(t, err, `a name must not end in a backslash, got "folder\\"`)
}
