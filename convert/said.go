package convert

import (
	"fmt"
	"reflect"
	"strings"
)

// Bounds of what a file's header says about itself, which stays in memory as
// text. A list of numbers would become a multiple of its size.
const (
	maxSaid   = 16 << 20 // bytes of all keys and values
	maxListed = 1000     // elements of a list that are written out
	maxMerges = 1 << 20  // lines of a tokenizer's table; CLIP's has 48,895
)

// textOf writes a value of the metadata: strings of a list in lines, of other
// lists the elements with spaces between; of long ones the first, and how many
// there are.
func textOf(value any, most int) string {
	list := reflect.ValueOf(value)
	if list.Kind() != reflect.Slice {
		return fmt.Sprint(value)
	}
	rest := ""
	if n := list.Len(); n > most {
		value = list.Slice(0, most).Interface()
		rest = fmt.Sprintf("… (%d in all)", n)
	}
	if lines, ok := value.([]string); ok {
		if rest != "" {
			lines = append(lines[:most:most], rest)
		}
		return strings.Join(lines, "\n")
	}
	text := fmt.Sprint(value)
	if rest != "" {
		text = strings.TrimSuffix(text, "]") + " " + rest + "]"
	}
	return text
}

func checkSaid(said map[string]string) error {
	n := 0
	for k, v := range said {
		n += len(k) + len(v)
	}
	if n > maxSaid {
		return fmt.Errorf("metadata of %d bytes; at most %d are read", n, maxSaid)
	}
	return nil
}
