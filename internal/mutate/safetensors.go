package mutate

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

var safetensorsTypes = map[dtype.Type]string{dtype.F32: "F32", dtype.F16: "F16", dtype.BF16: "BF16", dtype.F64: "F64", dtype.F8_E4M3: "F8_E4M3",
	dtype.F8_E5M2: "F8_E5M2", dtype.I8: "I8", dtype.I16: "I16", dtype.I32: "I32", dtype.I64: "I64", dtype.Q8_0: "U8", dtype.Q4_0: "BOOL"}

// Safetensors is a safetensors file of the model after the script's changes.
func (m *Model) Safetensors(s *Script) []byte {
	m = m.Edited(s)
	lie := newLiar(s, 6*len(m.Tensors)+1)
	var fields []string
	if len(m.Meta) > 0 {
		fields = append(fields, `"__metadata__":`+quoted(m.Meta))
	}
	at := uint64(0)
	var body []byte
	for _, t := range m.Tensors {
		shape := make([]string, len(t.Shape))
		for d, size := range t.Shape {
			shape[d] = fmt.Sprint(int64(lie.number(uint64(size))))
		}
		end := at + uint64(len(t.Data))
		fields = append(fields, fmt.Sprintf(`%s:{"dtype":%q,"shape":[%s],"data_offsets":[%d,%d]}`,
			quoted(t.Name), safetensorsTypes[t.Type], strings.Join(shape, ","), lie.number(at), lie.number(end)))
		at, body = end, append(body, t.Data...)
	}
	header := "{" + strings.Join(fields, ",") + "}"
	file := binary.LittleEndian.AppendUint64(nil, lie.number(uint64(len(header))))
	return damage(s, append(append(file, header...), body...), 8+len(header))
}

func quoted(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
