package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
)

// A request's ControlNets are written as lists with commas: their files, their pictures,
// their weights and so on, one for each. A comma in a name has a backslash before it. An
// empty place is the default; the last value holds for the networks after it, too.

// controlsKey is the field of ControlNets in JSON, which may be a list of objects, too.
const controlsKey = "control"

// controlSetting is what AUTOMATIC1111's parameters call the first ControlNet.
const controlSetting = "ControlNet 0"

// controlFlags are the fields of ControlNets.
func controlFlags() []Field {
	return []Field{
		{
			Path: "Controls.Name", Flag: "control", A1111: controlSetting, Arg: "FILE[,FILE…]", For: Texts,
			Help: "ControlNets, T2I-Adapters or an IP-Adapter, which make the picture follow another one",
			of:   controlNames(),
			text: controlsText, read: readControls,
		},
		{
			Path: "Controls.ImageFile", Flag: "control-image", Arg: "FILE[,FILE…]", For: Texts,
			Help: "the picture for each: edges, a depth map, a pose, whatever the network was made for", Default: "the picture to begin with",
			of: eachControl(controlImage()),
		},
		{
			Path: "Controls.FaceFile", Flag: "control-face", Arg: "FILE[,FILE…]", For: Texts,
			Help: "files of a face's vector, for FaceID IP-Adapters: NumPy's (.npy) or a list of numbers in JSON, of 512 numbers that InsightFace made of the face",
			of:   eachControl(controlFace()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.Preprocess", Flag: "control-preprocess", Arg: "NAME[:PARAMETER=X…][,NAME…]", For: Texts,
			Help: "what makes that picture of a photo: canny, lineart, scribble and others that sdgo preprocess lists", Default: "it is taken as it is",
			of:   eachControl(controlPreprocess()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.Weight", Flag: "control-weight", Arg: "X[,X…]", For: Texts,
			Help: "how much each has to say", Default: "1",
			of:   eachControl(controlWeight()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.Start", Flag: "control-start", Arg: "X[,X…]", For: Texts,
			Help: "the fraction of the steps after which each begins", Default: "0",
			of:   eachControl(controlStart()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.End", Flag: "control-end", Arg: "X[,X…]", For: Texts,
			Help: "the fraction of the steps after which each ends", Default: "1",
			of:   eachControl(controlEnd()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.Mode", Flag: "control-mode", Arg: "NAME[,NAME…]", For: Texts,
			Help: "what is more important, prompt or control; guess is the diffusers library's guess mode", Default: "balanced",
			of:   eachControl(controlMode()),
			text: noSetting, read: nothing,
		},
		{
			Path: "Controls.Type", Flag: "control-type", Arg: "NAME[,NAME…]", For: Texts,
			Help: "what the picture is, for a ControlNet Union: openpose, depth, softedge, canny, normal, segmentation, tile or inpaint", Default: "what --control-preprocess makes",
			of:   eachControl(controlType()),
			text: noSetting, read: nothing,
		},
	}
}

// controlNames are the networks themselves.
func controlNames() access[request.Request] {
	one := name[string](KindFile, "a ControlNet", nil)
	return access[request.Request]{KindText, "",
		func(r *request.Request) (string, bool) {
			return joinList(r.Controls, func(c *request.Control) string { return c.Name }), len(r.Controls) > 0
		},
		func(r *request.Request, text string) error {
			list := splitList(text)
			if len(list) > request.MaxControls {
				return fmt.Errorf("must be at most %d ControlNets, got %d", request.MaxControls, len(list))
			}
			all := make([]request.Control, len(list))
			copy(all, r.Controls)
			for i, text := range list {
				v, err := one.parse(text)
				if err != nil {
					return err
				}
				all[i].Name = v
			}
			r.Controls = all
			return nil
		},
		func(r *request.Request) { r.Controls = nil },
	}
}

// eachControl is a value of every ControlNet.
func eachControl(of access[request.Control]) access[request.Request] {
	value := func(c *request.Control) string {
		if text, ok := of.get(c); ok {
			return text
		}
		return ""
	}
	return access[request.Request]{KindText, of.bounds,
		func(r *request.Request) (string, bool) {
			for i := range r.Controls {
				if value(&r.Controls[i]) != "" {
					return joinList(r.Controls, value), true
				}
			}
			return "", false
		},
		func(r *request.Request, text string) error {
			list, n := splitList(text), len(r.Controls)
			switch {
			case n == 0:
				return errors.New("there is no ControlNet that it could be for; control FILE names one")
			case len(list) > n:
				return fmt.Errorf("must be at most one value a ControlNet, got %d values for %d", len(list), n)
			}
			all := append([]request.Control(nil), r.Controls...)
			for i := range all {
				text := list[min(i, len(list)-1)]
				if text == "" {
					of.clear(&all[i])
				} else if err := of.set(&all[i], text); err != nil {
					return err
				}
			}
			r.Controls = all
			return nil
		},
		func(r *request.Request) {
			r.Controls = append([]request.Control(nil), r.Controls...)
			for i := range r.Controls {
				of.clear(&r.Controls[i])
			}
		},
	}
}

// The values of one ControlNet.
func controlImage() access[request.Control] {
	return plain(fileName(), func(c *request.Control) *string { return &c.ImageFile })
}

func controlFace() access[request.Control] {
	return plain(fileName(), func(c *request.Control) *string { return &c.FaceFile })
}

func controlPreprocess() access[request.Control] {
	return plain(name[string](KindText, "a preprocessor", func(text string) error {
		_, err := preprocess.Parse(text)
		return err
	}), func(c *request.Control) *string { return &c.Preprocess })
}

func controlWeight() access[request.Control] {
	return optional(decimal(0, request.MaxControlWeight), func(c *request.Control) **float64 { return &c.Weight })
}

func controlStart() access[request.Control] {
	return optional(decimal(0, 1), func(c *request.Control) **float64 { return &c.Start })
}

func controlEnd() access[request.Control] {
	return optional(decimal(0, 1), func(c *request.Control) **float64 { return &c.End })
}

func controlMode() access[request.Control] {
	return plain(oneOf(request.ControlBalanced, request.ControlPrompt, request.ControlNetwork, request.ControlGuess),
		func(c *request.Control) *request.ControlMode { return &c.Mode })
}

func controlType() access[request.Control] {
	return plain(oneOf(request.ControlTypes()...), func(c *request.Control) *request.ControlType { return &c.Type })
}

// joinList writes a list with commas. A comma within a value has a backslash before it, and
// so has each of the backslashes before any comma: elsewhere they are parts of paths.
func joinList(all []request.Control, of func(*request.Control) string) string {
	var b strings.Builder
	for i := range all {
		value := of(&all[i])
		for k, part := range strings.Split(value, ",") {
			if k > 0 {
				b.WriteString(`\,`)
			}
			b.WriteString(part)
			if last := i == len(all)-1 && k == strings.Count(value, ","); !last {
				b.WriteString(part[len(strings.TrimRight(part, `\`)):])
			}
		}
		if i < len(all)-1 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

// splitList reads one.
func splitList(text string) (parts []string) {
	var value strings.Builder
	for {
		part, rest, more := strings.Cut(text, ",")
		if !more {
			return append(parts, strings.TrimSpace(value.String()+part))
		}
		plain := strings.TrimRight(part, `\`)
		marks := len(part) - len(plain)
		value.WriteString(plain + strings.Repeat(`\`, marks/2))
		if text = rest; marks%2 == 1 {
			value.WriteByte(',')
			continue
		}
		parts = append(parts, strings.TrimSpace(value.String()))
		value.Reset()
	}
}

// controlFields are the values of a ControlNet by their names in JSON's objects and in
// AUTOMATIC1111's layout.
func controlFields() []struct {
	key, a1111 string
	of         access[request.Control]
} {
	return []struct {
		key, a1111 string
		of         access[request.Control]
	}{
		{"name", "Model", plain(name[string](KindFile, "a ControlNet", nil), func(c *request.Control) *string { return &c.Name })},
		{"image", "Image", controlImage()},
		{"face", "Face", controlFace()},
		{"preprocess", "Module", controlPreprocess()},
		{"weight", "Weight", controlWeight()},
		{"start", "Guidance Start", controlStart()},
		{"end", "Guidance End", controlEnd()},
		{"mode", "Control Mode", controlMode()},
		{"type", "Union Control Type", controlType()},
	}
}

// applyControls sets the ControlNets to a JSON list of objects.
func applyControls(r *request.Request, raw json.RawMessage) error {
	var objects []json.RawMessage
	if err := json.Unmarshal(raw, &objects); err != nil {
		return jsonError(err)
	}
	if len(objects) > request.MaxControls {
		return fmt.Errorf("must be at most %d ControlNets, got %d", request.MaxControls, len(objects))
	}
	var all []request.Control
	for i, o := range objects {
		c, err := decodeControl(o)
		if err != nil {
			return fmt.Errorf("ControlNet %d: %w", i+1, err)
		}
		all = append(all, c)
	}
	r.Controls = all
	return nil
}

// decodeControl reads an object of the list.
func decodeControl(raw json.RawMessage) (c request.Control, err error) {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return c, fmt.Errorf(`must be an object, such as {"name": "canny", "image": "edges.png"}, got %.40s`, raw)
	}
	members, err := Members(raw)
	if err != nil {
		return c, err
	}
	for _, m := range members {
		known := false
		for _, f := range controlFields() {
			if f.key != m.Key {
				continue
			}
			if known = true; isNull(m.Value) {
				continue
			}
			text, err := textOf(f.of.kind, m.Value)
			if err == nil {
				err = f.of.set(&c, text)
			}
			if err != nil {
				return c, fmt.Errorf("%s: %w", m.Key, err)
			}
		}
		if !known {
			return c, fmt.Errorf("%.80s: unknown field; there are name, image, face, preprocess, weight, start, end, mode and type", m.Key)
		}
	}
	if c.Name == "" {
		return c, errors.New("must have a name")
	}
	return c, nil
}

// controlModes are AUTOMATIC1111's words for the modes; guess is none of its.
var controlModes = map[request.ControlMode]string{
	request.ControlBalanced: "Balanced", request.ControlPrompt: "My prompt is more important", request.ControlNetwork: "ControlNet is more important",
	request.ControlGuess: "Guess",
}

// controlsText are the ControlNets as AUTOMATIC1111's extension writes them: a setting for
// each, with settings of its own.
func controlsText(_ Field, r *request.Request) (all []kv) {
	for i := range r.Controls {
		c := r.Controls[i]
		c.Name, c.ImageFile, c.FaceFile = lastPart(c.Name), lastPart(c.ImageFile), lastPart(c.FaceFile)
		var line settingsLine
		line.add("Module", moduleOf(c.Preprocess))
		for _, f := range controlFields() {
			value, ok := f.of.get(&c)
			if f.key == "mode" && ok {
				value = controlModes[c.Mode]
			}
			if ok && f.key != "preprocess" {
				line.add(f.a1111, value)
			}
		}
		all = append(all, kv{fmt.Sprintf("ControlNet %d", i), line.String()})
	}
	return all
}

// moduleOf is AUTOMATIC1111's name of a preprocessor without numbers of its own, or of none.
func moduleOf(text string) string {
	if text == "" {
		return "none"
	}
	if p, err := preprocess.Parse(text); err == nil && p.String() == p.Name && len(p.Aliases) > 0 && p.Name != "canny" {
		return p.Aliases[0]
	}
	return text
}

// lastPart is a file's name without its folders.
func lastPart(path string) string {
	path = strings.TrimRight(path, `/\`)
	return path[strings.LastIndexAny(path, `/\`)+1:]
}

// readControls reads them.
func readControls(_ Field, d *reading) {
	for i := range request.MaxControls {
		key := fmt.Sprintf("ControlNet %d", i)
		value, ok := d.take(key)
		if !ok {
			if i == 0 { // the extension's units may begin with any
				continue
			}
			return
		}
		c, err := readControl(value)
		if err != nil {
			d.refuse(key, err)
			continue
		}
		d.params.Controls = append(d.params.Controls, c)
	}
}

// readControl reads the settings of one.
func readControl(text string) (c request.Control, err error) {
	fields := controlFields()
	for _, s := range split(text, false) {
		for _, f := range fields {
			if s.key != f.a1111 {
				continue
			}
			value := s.value
			switch f.key {
			case "mode":
				for mode, word := range controlModes {
					if value == word {
						value = string(mode)
					}
				}
			case "name": // a part of the hash follows
				if at := strings.LastIndex(value, " ["); at > 0 && isHash(strings.TrimSuffix(value[at+2:], "]")) {
					value = value[:at]
				}
				if strings.ContainsAny(value, `/\`) {
					return c, errors.New("must name a model without folders")
				}
			case "preprocess":
				if strings.EqualFold(value, "none") || value == "" {
					continue
				}
				p, err := preprocess.Parse(value)
				if err != nil {
					return c, err
				}
				value = p.String()
			case "image":
				if strings.ContainsAny(value, `/\`) {
					return c, errors.New("must name a picture without folders")
				}
			case "face":
				if strings.ContainsAny(value, `/\`) {
					return c, errors.New("must name a file of a face's vector without folders")
				}
			}
			if err := f.of.set(&c, value); err != nil {
				return c, fmt.Errorf("%s %w", s.key, err)
			}
		}
	}
	if c.Name == "" {
		return c, errors.New("must name a model")
	}
	return c, nil
}

// isHash reports whether a text is what AUTOMATIC1111 writes of a hash.
func isHash(text string) bool { return text != "" && strings.Trim(text, "0123456789abcdef") == "" }
