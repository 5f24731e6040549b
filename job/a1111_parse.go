package job

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd/request"
)

// parsed is a text in AUTOMATIC1111's layout, taken apart.
type parsed struct {
	body     string // the prompt and the negative one
	settings []kv   // in their order; what is no setting has no key
	ours     bool   // whether this library wrote it
}

// parseText finds the line of settings. It is the last line that is not blank, or the
// last one that begins with "Steps: ": some programs add lines of their own after it,
// which are settings, too.
func parseText(text string, known func(key string) bool) parsed {
	text = strings.TrimRightFunc(text, unicode.IsSpace)
	for end, last := len(text), true; end >= 0; last = false {
		begin := strings.LastIndexByte(text[:end], '\n') + 1
		if line := text[begin:end]; last || strings.HasPrefix(line, "Steps: ") {
			p := parseLine(line)
			if p.ours && last || isSettings(p.settings, known) {
				p.ours = p.ours && last
				p.body = text[:max(begin-1, 0)]
				for more := range strings.Lines(text[end:]) {
					if more = strings.TrimSpace(more); more != "" {
						p.settings = append(p.settings, bare(more))
					}
				}
				return p
			}
		}
		end = begin - 1
	}
	return parsed{body: text}
}

// Settings takes a text apart as AUTOMATIC1111's web UI does, and not further: both
// prompts and the settings, by the names that the text has for them; sizes are two
// settings, such as Size-1 and Size-2. It is empty of a text that is too long.
func Settings(text string) map[string]string {
	all := map[string]string{}
	if len(text) > maxParameters {
		return all
	}
	d := newReading(parseText(text, knownKeys(Fields())))
	d.readPrompts()
	all["Prompt"], all["Negative prompt"] = d.params.Prompt, d.params.NegativePrompt
	for i, s := range d.settings {
		if s.key == "" || d.used[i] {
			continue
		}
		if p, err := size(0, request.MaxSide).parse(s.value); err == nil {
			all[s.key+"-1"], all[s.key+"-2"] = strconv.Itoa(p.X), strconv.Itoa(p.Y)
			continue
		}
		all[s.key] = s.value
	}
	return all
}

// isSettings reports whether what was read from a line are settings and no prompt: at
// least three, as for AUTOMATIC1111, and one that is known.
func isSettings(settings []kv, known func(string) bool) bool {
	n, one := 0, false
	for _, s := range settings {
		if s.key != "" {
			n++
			one = one || known(s.key)
		}
	}
	return n >= 3 && one
}

// parseLine reads a line of settings. Our own lines quote whatever is not plain; other
// programs write lists and objects with commas in them as they are.
func parseLine(line string) parsed {
	p := parsed{settings: split(line, false)}
	for _, s := range p.settings {
		if s.key == versionKey && strings.HasPrefix(s.value, ours) {
			p.ours = true
			return p
		}
	}
	p.settings = split(line, true)
	return p
}

// split takes a line apart at the commas outside of quotes and, if asked to, outside of
// brackets.
func split(line string, brackets bool) (all []kv) {
	for line != "" {
		key, rest, ok := cutKey(line)
		if !ok {
			var segment string
			segment, line, _ = strings.Cut(line, ",")
			if segment = strings.TrimSpace(segment); segment != "" {
				all = append(all, kv{"", segment})
			}
			continue
		}
		var value string
		value, line = cutValue(strings.TrimLeftFunc(rest, unicode.IsSpace), brackets)
		all = append(all, kv{key, value})
	}
	return all
}

// cutKey cuts a key off: at least two letters, digits, spaces, hyphens and slashes, and
// the colon after it.
func cutKey(line string) (key, rest string, ok bool) {
	line = strings.TrimLeftFunc(line, unicode.IsSpace)
	for i, r := range line {
		switch {
		case r == ':':
			return strings.TrimSpace(line[:i]), line[i+1:], i >= 2
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
		case i > 0 && (r == ' ' || r == '-' || r == '/'):
		default:
			return "", "", false
		}
	}
	return "", "", false
}

// cutValue cuts a value off, and the comma after it.
func cutValue(text string, brackets bool) (value, rest string) {
	end := 0
	switch {
	case text == "":
		return "", ""
	case text[0] == '"':
		end = endOfQuotes(text)
	case brackets && (text[0] == '[' || text[0] == '{'):
		end = endOfBrackets(text)
	}
	if end > 0 {
		after := strings.TrimLeftFunc(text[end:], unicode.IsSpace)
		if after == "" || after[0] == ',' {
			return unquoted(text[:end]), strings.TrimPrefix(after, ",")
		}
	}
	value, rest, _ = strings.Cut(text, ",")
	return strings.TrimSpace(value), rest
}

// endOfQuotes is where a text's first string ends, or 0 where it does not.
func endOfQuotes(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// endOfBrackets is where a text's first list or object ends, or 0 where it does not.
func endOfBrackets(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := endOfQuotes(text[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// unquoted is the value of a JSON string, or of one as Go writes it.
func unquoted(text string) string {
	if text[0] != '"' {
		return text
	}
	var value string
	if utf8.ValidString(text) && json.Unmarshal([]byte(text), &value) == nil {
		return value
	}
	if value, err := strconv.Unquote(text); err == nil {
		return value
	}
	return text[1 : len(text)-1]
}

// bare is a line that is a setting of its own, whatever is in it.
func bare(line string) kv {
	key, value, ok := cutKey(line)
	if !ok {
		return kv{"", line}
	}
	return kv{key, strings.TrimSpace(value)}
}

// prompts take the body apart. lines is how many lines the prompt has, or 0 where it
// ends at the first line that begins a negative prompt.
func (p parsed) prompts(lines int) (prompt, negative string) {
	if !p.ours {
		return theirPrompts(p.body)
	}
	if lines > 0 {
		end := -1
		for range lines {
			next := strings.IndexByte(p.body[end+1:], '\n')
			if next < 0 {
				return p.body, ""
			}
			end += next + 1
		}
		return p.body[:end], strings.TrimPrefix(p.body[end+1:], negativeLine)
	}
	if negative, ok := strings.CutPrefix(p.body, negativeLine); ok {
		return "", negative
	}
	prompt, negative, _ = strings.Cut(p.body, "\n"+negativeLine)
	return prompt, negative
}

// theirPrompts take the body of another program's text apart, as AUTOMATIC1111 does.
func theirPrompts(body string) (prompt, negative string) {
	body = strings.ReplaceAll(body, "\r\n", "\n")
	prefix := strings.TrimSpace(negativeLine)
	for begin := 0; ; {
		rest := body[begin:]
		line := strings.TrimLeftFunc(rest, unicode.IsSpace)
		if negative, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(body[:begin]), strings.TrimSpace(negative)
		}
		next := strings.IndexByte(rest, '\n')
		if next < 0 {
			return strings.TrimSpace(body), ""
		}
		begin += next + 1
	}
}
