package mutate

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Folder is a model in several files, by their paths.
type Folder struct {
	Texts map[string]string // JSON and lists
	Nets  map[string]*Model // safetensors files
}

// Files are the folder's files after the script's changes in up to three of them.
func (f *Folder) Files(s *Script) map[string][]byte {
	files := map[string][]byte{}
	for name, text := range f.Texts {
		files[name] = []byte(text)
	}
	names := append(slices.Sorted(maps.Keys(f.Texts)), slices.Sorted(maps.Keys(f.Nets))...)
	edited := map[string]bool{}
	for range 1 + s.Below(3) {
		if s.done() {
			break
		}
		name := Pick(s, names)
		if net := f.Nets[name]; net != nil {
			files[name], edited[name] = net.Safetensors(s), true
			continue
		}
		files[name] = editText(s, name, files[name])
	}
	for name, net := range f.Nets {
		if !edited[name] {
			files[name] = net.Safetensors(NewScript(nil))
		}
	}
	if s.Below(8) == 1 {
		delete(files, Pick(s, names))
	}
	return files
}

func editText(s *Script, name string, text []byte) []byte {
	var v any
	if !strings.HasSuffix(name, ".json") || s.Below(8) == 1 || json.Unmarshal(text, &v) != nil {
		return damage(s, slices.Clone(text), len(text))
	}
	for range 1 + s.Below(3) {
		v = editJSON(s, v)
	}
	return []byte(quoted(v))
}

var values = []any{nil, 0, 1, -1, 2, 3, 8, 16, 31, 32, 64, 1e9, 1e308, -1e308, 0.5, "", "x", true, []any{}, []any{1, 2}, []any{nil, nil}, map[string]any{},
	"quick_gelu", "gelu", "epsilon", "v_prediction", "../outside.safetensors", strings.Repeat("[", 50)}

// editJSON changes one value, anywhere.
func editJSON(s *Script, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			break
		}
		keys := slices.Sorted(maps.Keys(v))
		key := Pick(s, keys)
		switch s.Below(6) {
		case 0:
			delete(v, key)
		case 1:
			v[key] = v[Pick(s, keys)]
		default:
			v[key] = editJSON(s, v[key])
		}
		return v
	case []any:
		if len(v) == 0 {
			break
		}
		i := s.Below(len(v))
		switch s.Below(4) {
		case 0:
			return slices.Delete(slices.Clone(v), i, i+1)
		case 1:
			return append(slices.Clone(v), v[i])
		}
		list := slices.Clone(v)
		list[i] = editJSON(s, v[i])
		return list
	}
	return Pick(s, values)
}
