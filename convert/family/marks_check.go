package family

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Object is a JSON object whose names all differ: of two, Go's decoder would
// take the last one without a word, other readers the first.
type Object map[string]json.RawMessage

// UnmarshalJSON refuses what is no object, and one with a name twice.
func (o *Object) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.New("a JSON object is expected")
	}
	*o = Object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if _, twice := (*o)[name]; twice {
			return fmt.Errorf("%.60q is there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		(*o)[name] = value
	}
	return nil
}

// lookMark is the table's line of a name, or nil.
func lookMark(in place, name string) *mark { return lookMarkIn(marks, in, name) }

func lookMarkIn(table []mark, in place, name string) *mark {
	for i := range table {
		if m := &table[i]; m.in == in && m.name == name {
			return m
		}
	}
	return nil
}

// config is a configuration file of one network or of the scheduler. It keeps the
// first thing that is wrong.
type config struct {
	in     place
	marks  []mark // the table of its fields; nil is that of models of Stable Diffusion
	fields Object
	said   map[string]string // metadata that says the same
	err    error
}

// check applies the table to all fields. Those that it does not have are
// returned, unless they are switched off: newer versions of the library write a
// new field into every file, with a default that nearly always leaves all as it
// was, so that an error would shut out files that can be drawn with; but what one
// is that was not read is said.
// The class must be one of a list, which the error describes.
func (c *config) check(description string, class ...string) (unknown []string) {
	if got, ok := c.text("_class_name"); ok && !slices.Contains(class, strings.TrimPrefix(got, "Flax")) {
		c.fail("_class_name", "must be %s", description)
	}
	table := c.marks
	if table == nil {
		table = marks
	}
	for name, value := range c.fields {
		if strings.HasPrefix(name, "_") {
			continue
		}
		m := lookMarkIn(table, c.in, name)
		switch {
		case m == nil && !isOff(value):
			unknown = append(unknown, fmt.Sprintf("%s: %.60q = %.60s is not known and was not read", c.in, name, value))
		case m != nil && m.verdict == only && !m.allows(value):
			c.fail(name, "must be %s: %s", m.allowed(), m.why)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func isOff(value json.RawMessage) bool {
	return slices.Contains([]string{"null", "false", "[]", "{}"}, string(value))
}

// allows reports whether a value, or each element of a list, is one under which
// nothing is missing.
func (m *mark) allows(text json.RawMessage) bool {
	var list []any
	if json.Unmarshal(text, &list) != nil || list == nil {
		var one any
		if json.Unmarshal(text, &one) != nil {
			return false
		}
		list = []any{one}
	}
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case nil, bool, float64, string:
			return !slices.Contains(m.values, v)
		}
		return true
	})
}

// allowed are the values in words.
func (m *mark) allowed() string {
	words := make([]string, len(m.values))
	for i, v := range m.values {
		text, _ := json.Marshal(v)
		words[i] = string(text)
	}
	return strings.Join(words, " or ")
}

// fail notes that a field is wrong; of several, the first by name, so that the
// error is always the same.
func (c *config) fail(name, format string, args ...any) {
	err := &ConfigError{c.in, name, fmt.Sprintf("%s, got %.60s", fmt.Sprintf(format, args...), c.fields[name])}
	if before := (*ConfigError)(nil); c.err == nil || errors.As(c.err, &before) && name < before.field {
		c.err = err
	}
}

// ConfigError says what is wrong with a field of a configuration file.
type ConfigError struct {
	in    place
	field string
	text  string
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %s %s", e.in, e.field, e.text) }

// has reports whether a field is there and not null.
func (c *config) has(name string) bool {
	v, ok := c.fields[name]
	return ok && string(v) != "null"
}

// text is a field that must be a text.
func (c *config) text(name string) (s string, ok bool) {
	if !c.has(name) {
		return "", false
	}
	if json.Unmarshal(c.fields[name], &s) != nil {
		c.fail(name, "must be a text")
		return "", false
	}
	return s, true
}

// truth is a field that must be true or false, and is false where it is not there.
func (c *config) truth(name string) (b bool) {
	if c.has(name) && json.Unmarshal(c.fields[name], &b) != nil {
		c.fail(name, "must be true or false")
	}
	return b
}

// number is a field that must be a number from low to high.
func (c *config) number(name string, low, high float64) (v float64, ok bool) {
	if !c.has(name) {
		return 0, false
	}
	if json.Unmarshal(c.fields[name], &v) != nil || !(v >= low && v <= high) {
		c.fail(name, "must be a number from %g to %g", low, high)
		return 0, false
	}
	return v, true
}

// numbers is a field that must be a list of numbers.
func (c *config) numbers(name string) (list []float64, ok bool) {
	if !c.has(name) {
		return nil, false
	}
	var all []*float64 // null among them is no 0
	if json.Unmarshal(c.fields[name], &all) != nil || slices.Contains(all, nil) || len(all) == 0 {
		c.fail(name, "must be a list of numbers")
		return nil, false
	}
	for _, v := range all {
		list = append(list, *v)
	}
	return list, true
}

// say puts a value where the metadata of single files says it.
func (c *config) say(key string, value any) { c.said[key] = fmt.Sprint(value) }

// sayNumbers does it with a list.
func (c *config) sayNumbers(key string, list []float64) { c.said[key] = floatsText(list) }

// floatsText is a list of numbers as metadata has it, with spaces.
func floatsText(list []float64) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(words, " ")
}

// floatList reads such a list, also in the brackets that lists of GGUF files get.
func floatList(text string) (list []float64, err error) {
	for _, word := range strings.Fields(strings.Trim(text, "[]")) {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
