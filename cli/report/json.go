package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Event writes an event: a line of JSON with its name and the fields of a struct.
// Errors of w are w's to remember.
func Event(w io.Writer, name string, fields any) {
	var b bytes.Buffer
	if err := JSON(&b, fields, ""); err != nil {
		return
	}
	line := fmt.Appendf(nil, `{"event":%q`, name)
	if b.Bytes()[1] != '}' {
		line = append(line, ',')
	}
	_, _ = w.Write(append(line, b.Bytes()[1:]...))
}

// JSON writes a value and a new line, with the indentation of a level. Whatever is
// not to be shown as it is, such as control characters of a terminal and marks that
// turn the direction of text, is escaped.
func JSON(w io.Writer, value any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escape(b.Bytes()))
	return err
}

// escape escapes what can't be printed in JSON's strings. Outside of them JSON has
// ASCII alone.
func escape(text []byte) []byte {
	hidden := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for _, r := range string(text) {
		if !hidden(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}
