package read

import (
	"fmt"
	"reflect"
	"strings"
)

// Bounds of the metadata in a file's header, which stays in memory as text. A
// list of numbers would become a multiple of its size.
const (
	maxMetadata = 16 << 20 // bytes of all keys and values
	maxListed   = 1000     // elements of a list that are written out
	maxMerges   = 1 << 20  // lines of a tokenizer's table; CLIP's has 48,895
)

// textOf writes a value of the metadata as text: a list of strings in lines,
// other lists with spaces between the elements. Of long lists it writes the first
// elements, and how many there are.
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

// short is a value of the metadata, or nil for a list of more than most elements.
func short(value any, most int) any {
	if list := reflect.ValueOf(value); list.Kind() == reflect.Slice && list.Len() > most {
		return nil
	}
	return value
}

func checkMetadata(all map[string]string) error {
	n := 0
	for k, v := range all {
		n += len(k) + len(v)
	}
	if n > maxMetadata {
		return fmt.Errorf("metadata of %d bytes; at most %d are read", n, maxMetadata)
	}
	return nil
}
