package family

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// labelsOf are the names of classes that a diffusers folder's model_index.json has, as
// metadata has them; "" without.
func labelsOf(read func(path string, to any) error) (string, error) {
	const file = "model_index.json"
	var index struct {
		Labels map[string]string `json:"id2label"`
	}
	if err := read(file, &index); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if len(index.Labels) == 0 {
		return "", nil
	}
	names := make([]string, len(index.Labels))
	for number, name := range index.Labels {
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= len(names) {
			return "", fmt.Errorf("%s: id2label must have the numbers 0 to %d, got %.20q", file, len(names)-1, number)
		}
		names[i] = name
	}
	text, err := json.Marshal(names)
	return string(text), err
}
