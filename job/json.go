package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd/request"
)

// Bounds of JSON.
const (
	maxObject  = 32 << 20 // bytes
	maxMembers = 256      // of an object
)

// hiresKey is the list of hires passes, which are objects. The flags' lists with
// commas have the same key for the first of them.
const hiresKey = "hires"

// Member is a member of a JSON object: a name with underscores, and a value that has
// not been looked at.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Decode reads a request from a JSON object. Its members are the fields' keys; hyphens
// in place of underscores are as good. null is the default. An error in fields is a
// [*request.Error] with every problem, in which they have the names that the object
// gives them.
func Decode(data []byte) (request.Request, error) {
	var r request.Request
	members, err := Members(data)
	if err == nil {
		err = Apply(&r, members)
	}
	if err != nil {
		return request.Request{}, err
	}
	return r, nil
}

// Members reads a JSON object, for callers with members beside a request's. No two
// have one name.
func Members(data []byte) ([]Member, error) {
	switch {
	case len(data) > maxObject:
		return nil, fmt.Errorf("must be at most %d bytes of JSON, got %d", maxObject, len(data))
	case !utf8.Valid(data):
		return nil, errors.New("must be UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New(`must be a JSON object, such as {"prompt": "a fox", "seed": 1}`)
	}
	var members []Member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		m := Member{Key: strings.ReplaceAll(t.(string), "-", "_")} // a name, or Token had failed
		if err := d.Decode(&m.Value); err != nil {
			return nil, jsonError(err)
		}
		if seen[m.Key] {
			return nil, fmt.Errorf("%.80q is there twice", m.Key)
		}
		if seen[m.Key] = true; len(seen) > maxMembers {
			return nil, fmt.Errorf("must be at most %d members", maxMembers)
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, jsonError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("must be one JSON object, and there is more after it")
	}
	return members, nil
}

// jsonError says what is wrong with JSON.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w, after %d bytes", err, syntax.Offset)
	}
	return errors.New("not JSON: the object does not end")
}

// Apply puts members into a request, in the table's order; what they do not name
// stays. The error is that of [Decode], and the request is then as it was.
func Apply(r *request.Request, members []Member) error {
	var e request.Error
	all := Fields()
	next := *r
	given, wrong := map[string]json.RawMessage{}, map[string]bool{}
	for _, m := range members {
		given[m.Key] = m.Value
	}
	list, err := applyPasses(&next, given[hiresKey])
	if err != nil {
		e.Add(hiresKey, "%v", err)
	}
	if raw, ok := given[samplerOptionsKey]; ok {
		if err := applySamplerOptions(&next, all, raw, given); err != nil {
			e.Add(samplerOptionsKey, "%v", err)
		}
		delete(given, samplerOptionsKey)
	}
	guidance, numbers := given[guidanceKey], given[guidanceOptionsKey]
	delete(given, guidanceOptionsKey)
	for _, f := range all {
		raw, ok := given[f.Key]
		delete(given, f.Key)
		switch {
		case !ok || f.Key == hiresKey && (list || err != nil):
		case f.Key == hiresKey && isNull(raw):
			next.Hires = nil
		case f.List && list:
			e.Add(f.Key, "hires is a list of passes: put %s into its objects", f.PassKey)
		default:
			if err := f.apply(&next, raw); err != nil {
				e.Add(f.Key, "%v", err)
				wrong[f.Key] = true
			}
		}
	}
	if numbers != nil && !wrong[guidanceKey] {
		if err := applyGuidanceOptions(&next, numbers, guidance); err != nil {
			e.Add(guidanceOptionsKey, "%v", err)
		}
	}
	for _, m := range members { // in their order
		if _, unknown := given[m.Key]; unknown {
			if len(e.Problems) == maxProblems {
				break
			}
			e.Add(fmt.Sprintf("%.80s", m.Key), "unknown field; did you mean %q?", closest(m.Key, all, func(f Field) string { return f.Key }))
		}
	}
	if e.Err() == nil {
		*r = next
	}
	return e.Err()
}

// maxProblems bounds the unknown fields that an error lists.
const maxProblems = 32

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// apply sets a field to a JSON value.
func (f Field) apply(r *request.Request, raw json.RawMessage) error {
	if isNull(raw) {
		f.of.clear(r)
		return nil
	}
	if f.Key == adaptersKey && raw[0] == '[' {
		return applyAdapters(r, raw)
	}
	if f.Key == controlsKey && raw[0] == '[' {
		return applyControls(r, raw)
	}
	if f.Key == guidesKey && raw[0] == '[' {
		return applyGuides(r, raw)
	}
	text, err := textOf(f.Kind, raw)
	if f.List && raw[0] == '"' {
		text, err = textOf(KindText, raw)
	}
	if err != nil {
		return err
	}
	return f.of.set(r, text)
}

// applyPasses sets the hires passes to a JSON list of objects, if that is what the
// value is.
func applyPasses(r *request.Request, raw json.RawMessage) (list bool, err error) {
	if len(raw) == 0 || raw[0] != '[' {
		return false, nil
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(raw, &objects); err != nil {
		return true, jsonError(err)
	}
	if len(objects) > request.MaxHires {
		return true, fmt.Errorf("must be at most %d passes, got %d", request.MaxHires, len(objects))
	}
	r.Hires = nil
	for i, o := range objects {
		if o[0] != '{' {
			return true, fmt.Errorf(`pass %d: must be an object, such as {"scale": 2}, got %.40s`, i+1, o)
		}
		p, err := decodePass(o)
		if err != nil {
			return true, fmt.Errorf("pass %d: %w", i+1, err)
		}
		r.Hires = append(r.Hires, p)
	}
	return true, nil
}

// decodePass reads an object of the list of hires passes.
func decodePass(data []byte) (p request.HiresPass, err error) {
	members, err := Members(data)
	if err != nil {
		return p, err
	}
	var passes []Field
	for _, f := range Fields() {
		if f.List {
			passes = append(passes, f)
		}
	}
	for _, m := range members {
		known := false
		for _, f := range passes {
			if f.PassKey != m.Key {
				continue
			}
			known = true
			if isNull(m.Value) {
				continue
			}
			text, err := textOf(f.Kind, m.Value)
			if err == nil {
				err = f.pass.set(&p, text)
			}
			if err != nil {
				return p, fmt.Errorf("%s: %w", m.Key, err)
			}
		}
		if !known {
			return p, fmt.Errorf("%.80s: unknown field; did you mean %q?", m.Key, closest(m.Key, passes, func(f Field) string { return f.PassKey }))
		}
	}
	return p, nil
}

// textOf is a JSON value of a kind as a flag would have it.
func textOf(kind Kind, raw json.RawMessage) (string, error) {
	wrong := func(want string) error { return fmt.Errorf("must be %s, got %.40s", want, raw) }
	first := raw[0]
	var text string
	if first == '"' && kind != KindInteger && kind != KindNumber && kind != KindSwitch {
		err := json.Unmarshal(raw, &text)
		return text, err
	}
	isNumber := first == '-' || first >= '0' && first <= '9'
	switch kind {
	case KindInteger:
		if !isNumber {
			return "", wrong("a whole number")
		}
		return wholeText(string(raw))
	case KindNumber:
		if !isNumber {
			return "", wrong("a number")
		}
		return string(raw), nil
	case KindSwitch:
		if first != 't' && first != 'f' {
			return "", wrong("true or false")
		}
		return string(raw), nil
	case KindSize, KindPoint:
		var pair []json.Number
		if first != '[' || bytes.ContainsRune(raw, '"') || json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
			return "", wrong(map[Kind]string{KindSize: `"WxH" or [w, h]`, KindPoint: `"X,Y" or [x, y]`}[kind])
		}
		a, err := wholeText(pair[0].String())
		b, err2 := wholeText(pair[1].String())
		return a + map[Kind]string{KindSize: "x", KindPoint: ","}[kind] + b, errors.Join(err, err2)
	}
	return "", wrong("a text")
}

// wholeText is a JSON number as a whole one: 30.0 and 3e1 are 30.
func wholeText(number string) (string, error) {
	if _, err := strconv.ParseUint(number, 10, 64); err == nil || !strings.ContainsAny(number, ".eE") {
		return number, nil // what is too large is told by the field's range
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return "", fmt.Errorf("must be a whole number, got %.40s", number)
	}
	return strconv.FormatInt(int64(v), 10), nil
}

// Encode writes a request as a JSON object in one line, in the table's order. It has
// what is not the default, and prompt and seed always, for which commands have other
// defaults. Pictures are written as the names of their files; OnEvent is not.
func Encode(r request.Request) ([]byte, error) {
	c := encoder{fields: Fields()}
	if r.Image != nil && r.ImageFile == "" {
		c.problems.Add("ImageFile", "must name the file of Image")
	}
	if r.Mask != nil && r.MaskFile == "" {
		c.problems.Add("MaskFile", "must name the file of Mask")
	}
	for i, one := range r.Controls {
		if one.Image != nil && one.ImageFile == "" {
			c.problems.Add(fmt.Sprintf("Controls[%d].ImageFile", i), "must name the file of Image")
		}
		if len(one.Face) > 0 && one.FaceFile == "" {
			c.problems.Add(fmt.Sprintf("Controls[%d].FaceFile", i), "must name the file of Face")
		}
	}
	for i, g := range r.Guides {
		if g.Image != nil && g.ImageFile == "" || g.Of != nil && g.OfFile == "" {
			c.problems.Add(fmt.Sprintf("Guides[%d].ImageFile", i), "must name the files of Image and Of")
		}
	}
	c.b.WriteByte('{')
	object := ""
	for _, f := range c.fields {
		if f.Key == hiresKey && len(r.Hires) > 0 {
			c.key(hiresKey)
			c.passes(r.Hires)
		}
		switch {
		case f.List:
			continue
		case f.Object != "": // all of the object's, in the place of the first
			if f.Object != object {
				c.numbers("SamplerOptions", f.Object, r.SamplerOptions)
			}
			object = f.Object
			continue
		case f.Key == guidanceKey:
			if r.Guider != "" {
				c.member(f, f.Key, r.Guider)
			}
			c.numbers("GuiderOptions", guidanceOptionsKey, r.GuiderOptions)
			continue
		}
		if text, ok := f.of.get(&r); ok {
			c.member(f, f.Key, text)
		}
	}
	c.b.WriteByte('}')
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return c.b.Bytes(), nil
}

// encoder writes an object.
type encoder struct {
	b        bytes.Buffer
	problems request.Error
	fields   []Field
}

// key begins a member of the object that is being written.
func (c *encoder) key(key string) {
	if !bytes.HasSuffix(c.b.Bytes(), []byte("{")) {
		c.b.WriteByte(',')
	}
	fmt.Fprintf(&c.b, "%q:", key)
}

func (c *encoder) member(f Field, key, text string) {
	c.key(key)
	value, err := jsonOf(f.Kind, text)
	if err != nil {
		c.problems.Add(f.Path, "%v", err)
	}
	c.b.Write(value)
}

func (c *encoder) passes(all []request.HiresPass) {
	for i := range all {
		c.b.WriteString(map[bool]string{true: "[{", false: ",{"}[i == 0])
		for _, f := range c.fields {
			if !f.List {
				continue
			}
			if text, ok := f.pass.get(&all[i]); ok {
				c.member(f, f.PassKey, text)
			}
		}
		c.b.WriteByte('}')
	}
	c.b.WriteByte(']')
}

// jsonOf is a value as JSON.
func jsonOf(kind Kind, text string) ([]byte, error) {
	switch kind {
	case KindInteger, KindSwitch:
		return []byte(text), nil
	case KindNumber:
		_, err := parseNumber(text)
		return []byte(text), err
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("must be UTF-8, got %.40q", text)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
