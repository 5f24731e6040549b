package pixel

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/train/data"
)

// MatchClasses gives a set the model's classes in the model's order: by their names, where
// the model's file has names, or by numbers. A class that the model does not have is an
// error. A set without classes stays.
func (m *Model) MatchClasses(set *data.Set) (*data.Set, error) {
	if set.Classes == nil || m.Classes() == 0 {
		return &data.Set{Items: set.Items}, nil
	}
	var names []string
	if text, ok := m.source.Metadata[convert.PixelLabels]; ok {
		if err := json.Unmarshal([]byte(text), &names); err != nil || len(names) < m.Classes() {
			return nil, fmt.Errorf("%s must be a JSON list of %d names", convert.PixelLabels, m.Classes())
		}
		names = names[:m.Classes()]
	} else {
		for i := range m.Classes() {
			names = append(names, strconv.Itoa(i))
		}
	}
	index := make([]int, len(set.Classes))
	for i, name := range set.Classes {
		if index[i] = slices.Index(names, name); index[i] >= 0 {
			continue
		}
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || n >= len(names) {
			return nil, fmt.Errorf("the model has no class %.80q among its %d", name, len(names))
		}
		index[i] = n
	}
	out := &data.Set{Items: slices.Clone(set.Items), Classes: names}
	for i := range out.Items {
		out.Items[i].Class = index[out.Items[i].Class]
	}
	return out, nil
}
