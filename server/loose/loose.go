// Package loose reads JSON as the clients of AUTOMATIC1111's and OpenAI's interfaces
// write it: null is the default, unknown members are passed over, 30.0 and "30" are
// whole numbers, 0 and 1 are switches. What can be read as nothing of its type is an
// error that names the member.
package loose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is a member whose value is wrong. Loc, Msg and Type are as in pydantic's
// errors, which AUTOMATIC1111's clients know.
type Problem struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

// Errors are all problems of a body.
type Errors []Problem

func (e Errors) Error() string {
	all := make([]string, len(e))
	for i, p := range e {
		names := make([]string, len(p.Loc))
		for k, n := range p.Loc {
			names[k] = fmt.Sprint(n)
		}
		all[i] = strings.TrimPrefix(strings.Join(names, "."), "body.") + ": " + p.Msg
	}
	return strings.Join(all, "; ")
}

// maxProblems bounds the errors of one body.
const maxProblems = 32

// Object is a JSON object that is being read.
type Object struct {
	members map[string]json.RawMessage
	used    map[string]bool
	loc     []any
	errors  *Errors
}

// Parse reads an object. An empty body is an empty object.
func Parse(data []byte) (*Object, error) {
	o := &Object{used: map[string]bool{}, loc: []any{"body"}, errors: &Errors{}}
	if len(bytes.TrimSpace(data)) == 0 {
		o.members = map[string]json.RawMessage{}
		return o, nil
	}
	if !utf8.Valid(data) {
		return nil, Errors{{o.loc, "must be UTF-8", "json_invalid"}}
	}
	if err := json.Unmarshal(data, &o.members); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, Errors{{[]any{"body", syntax.Offset}, "not JSON: " + err.Error(), "json_invalid"}}
		}
		return nil, Errors{{o.loc, "must be a JSON object", "dict_type"}}
	}
	if o.members == nil {
		return nil, Errors{{o.loc, "must be a JSON object, got null", "dict_type"}}
	}
	return o, nil
}

// Err is the problems so far, or nil.
func (o *Object) Err() error {
	if len(*o.errors) == 0 {
		return nil
	}
	return *o.errors
}

// Add adds a problem with a member.
func (o *Object) Add(key, kind, format string, args ...any) {
	if len(*o.errors) < maxProblems {
		*o.errors = append(*o.errors, Problem{append(slices.Clone(o.loc), key), fmt.Sprintf(format, args...), kind})
	}
}

// Has reports whether a member is there and not null.
func (o *Object) Has(key string) bool {
	raw, ok := o.members[key]
	return ok && string(raw) != "null"
}

// Unknown are the members that nothing has asked for, in their order.
func (o *Object) Unknown() (all []string) {
	for key := range o.members {
		if !o.used[key] {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}

// Set gives the object a member that it does not have.
func (o *Object) Set(key string, value any) {
	if o.Has(key) {
		return
	}
	if raw, err := json.Marshal(value); err == nil {
		o.members[key] = raw
	}
}

// Raw is a member as it stands; nil where it is absent or null.
func (o *Object) Raw(key string) json.RawMessage {
	o.used[key] = true
	if !o.Has(key) {
		return nil
	}
	return o.members[key]
}

// quote shows a value in an error.
func quote(raw json.RawMessage) string {
	if len(raw) > 40 {
		return strings.ToValidUTF8(string(raw[:40]), "") + "…"
	}
	return string(raw)
}

// String is a text; ok is false where the member is absent, null or wrong.
func (o *Object) String(key string) (v string, ok bool) {
	raw := o.Raw(key)
	if raw == nil {
		return "", false
	}
	v, err := asString(raw)
	if err != nil {
		o.Add(key, "string_type", "must be a text, got %s", quote(raw))
	}
	return v, err == nil
}

func asString(raw json.RawMessage) (v string, err error) {
	switch {
	case raw[0] == '"':
		err = json.Unmarshal(raw, &v)
		return v, err
	case raw[0] == '{' || raw[0] == '[' || raw[0] == 't' || raw[0] == 'f':
		return "", errors.New("not a text")
	}
	return string(raw), nil // a number
}

// number is the text of a number, of a string with one, or of a switch.
func number(raw json.RawMessage) string {
	switch {
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return strings.TrimSpace(s)
		}
	case string(raw) == "true":
		return "1"
	case string(raw) == "false":
		return "0"
	}
	return string(raw)
}

// Int is a whole number.
func (o *Object) Int(key string) (v int64, ok bool) {
	raw := o.Raw(key)
	if raw == nil {
		return 0, false
	}
	text := number(raw)
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_nN") || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		o.Add(key, "int_parsing", "must be a whole number, got %s", quote(raw))
		return 0, false
	}
	return int64(f), true
}

// Float is a finite number.
func (o *Object) Float(key string) (v float64, ok bool) {
	raw := o.Raw(key)
	if raw == nil {
		return 0, false
	}
	text := number(raw)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(text, "xXpP_") {
		o.Add(key, "float_parsing", "must be a number, got %s", quote(raw))
		return 0, false
	}
	return v, true
}

// Bool is a switch.
func (o *Object) Bool(key string) (v, ok bool) {
	raw := o.Raw(key)
	if raw == nil {
		return false, false
	}
	switch strings.ToLower(number(raw)) {
	case "1", "1.0", "true", "yes", "on", "y", "t":
		return true, true
	case "0", "0.0", "false", "no", "off", "n", "f":
		return false, true
	}
	o.Add(key, "bool_parsing", "must be true or false, got %s", quote(raw))
	return false, false
}

// Sub is an object within this one; nil where it is absent, null or wrong.
func (o *Object) Sub(key string) *Object {
	raw := o.Raw(key)
	if raw == nil {
		return nil
	}
	return o.sub(raw, key)
}

func (o *Object) sub(raw json.RawMessage, loc ...any) *Object {
	in := &Object{used: map[string]bool{}, loc: append(slices.Clone(o.loc), loc...), errors: o.errors}
	if json.Unmarshal(raw, &in.members) != nil || in.members == nil {
		*o.errors = append(*o.errors, Problem{in.loc, "must be an object, got " + quote(raw), "dict_type"})
		return nil
	}
	return in
}

// Keys are the names of the members, sorted.
func (o *Object) Keys() (all []string) {
	for key := range o.members {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// List are the values of a list; one that is no list is a list of one.
func (o *Object) List(key string) []json.RawMessage {
	raw := o.Raw(key)
	if raw == nil {
		return nil
	}
	if raw[0] != '[' {
		return []json.RawMessage{raw}
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		o.Add(key, "list_type", "must be a list, got %s", quote(raw))
	}
	return all
}

// Strings is a list of texts.
func (o *Object) Strings(key string) (all []string) {
	for i, raw := range o.List(key) {
		s, err := asString(raw)
		if err != nil {
			o.Add(fmt.Sprintf("%s.%d", key, i), "string_type", "must be a text, got %s", quote(raw))
			continue
		}
		all = append(all, s)
	}
	return all
}

// Objects is a list of objects.
func (o *Object) Objects(key string) (all []*Object) {
	for i, raw := range o.List(key) {
		if in := o.sub(raw, key, i); in != nil {
			all = append(all, in)
		}
	}
	return all
}
