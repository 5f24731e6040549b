package write

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
)

// keySourceHash is the key of the SHA-256 of the source's files.
const keySourceHash = "sdgo.source.sha256"

// keyValues is the metadata of the file: general.* as GGUF's specification has it,
// sdgo.* what the model's family adds.
func keyValues(m *model.Model, tensors []Change) []gguf.KV {
	kvs := []gguf.KV{
		{Key: "general.quantization_version", Value: uint32(2)}, // ggml's GGML_QNT_VERSION
		{Key: "general.file_type", Value: fileType(tensors)},
	}
	add := func(key string, value any) { kvs = append(kvs, gguf.KV{Key: key, Value: value}) }
	for key, general := range map[string]string{"modelspec.title": "general.name", "modelspec.license": "general.license",
		"modelspec.author": "general.author", "modelspec.description": "general.description"} {
		for _, k := range []string{general, key} {
			if v := m.Metadata[k]; v != "" {
				add(general, v)
				break
			}
		}
	}
	family.AddMetadata(m, add)
	for key, value := range m.Metadata {
		if !family.Keeps(m, key) || slices.ContainsFunc(kvs, func(kv gguf.KV) bool { return kv.Key == key }) {
			continue
		}
		if typed, ok := m.Values[key]; !ok {
			add(key, value)
		} else if typed != nil {
			add(key, typed)
		}
	}
	slices.SortFunc(kvs, func(a, b gguf.KV) int { return strings.Compare(a.Key, b.Key) })
	return kvs
}

// textOf writes a value as safetensors' metadata has it: lists of strings in
// lines, of numbers without brackets; a text, which may be a list in JSON, as it is.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, "\n")
	}
	return strings.Trim(fmt.Sprint(value), "[]")
}

// fileTypes are the numbers that GGUF's specification has for files of mostly
// one type (general.file_type).
var fileTypes = map[dtype.Type]uint32{
	dtype.F32: 0, dtype.F16: 1, dtype.Q4_0: 2, dtype.Q4_1: 3, dtype.Q8_0: 7, dtype.Q5_0: 8, dtype.Q5_1: 9, dtype.Q2_K: 10,
	dtype.Q3_K: 12, dtype.Q4_K: 15, dtype.Q5_K: 17, dtype.Q6_K: 18, dtype.IQ4_NL: 25, dtype.IQ4_XS: 30, dtype.BF16: 32,
}

// fileType is the number of the type that quantized tensors have, or else that
// most matrices have.
func fileType(tensors []Change) uint32 {
	count := map[dtype.Type]int{}
	for _, t := range tensors {
		if len(t.Shape) > 1 {
			count[t.To]++
		}
	}
	best, most := dtype.F32, 0
	for t, n := range count {
		if t.Quantized() {
			n += len(tensors)
		}
		if n > most || n == most && t < best {
			best, most = t, n
		}
	}
	return fileTypes[best]
}
