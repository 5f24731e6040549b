package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// Bounds of what is read as prompts. All of a command line's are checked, and
// kept, before the first is drawn.
const (
	maxPromptBytes = 1 << 20
	maxPrompts     = 10_000
)

// prompts are the prompts to draw: --prompt's, or the lines of --prompts.
func (r *run) prompts(c *urfave.Context) ([]string, error) {
	one, file := r.flagName("prompt"), r.flagName("prompts")
	switch {
	case c.IsSet("prompt") && c.IsSet("prompts"):
		return nil, usagef("%s and %s both say what to draw; one of them is wanted", one, file)
	case c.IsSet("prompts"):
		lines, err := r.readPrompts(file, c.String("prompts"))
		if err == nil && len(lines) > maxPrompts {
			err = fmt.Errorf("%s %s: %d prompts; at most %d are possible, and with sdgo batch %d", file, c.String("prompts"), len(lines), maxPrompts, maxJobs)
		}
		if err != nil {
			return nil, err
		}
		list := make([]string, len(lines))
		for i, line := range lines {
			list[i] = line.fields[0].value
		}
		return list, nil
	case !c.IsSet("prompt"):
		return nil, usagef(`no prompt: -p TEXT says what to draw (-p "" is an empty one)`)
	case c.String("prompt") == "-":
		text, err := readText(r.in, standardInput)
		return []string{strings.TrimRight(text, "\r\n")}, err
	}
	return []string{c.String("prompt")}, nil
}

// standardInput is the name of what has none.
const standardInput = "standard input"

// readPrompts reads a file with a prompt a line, each a job with that one field.
// Empty lines don't count.
func (r *run) readPrompts(flag, name string) ([]jobLine, error) {
	in, from := r.in, standardInput
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", flag, name, cause(err))
		}
		defer f.Close()
		in, from = f, name
	}
	text, err := readText(in, from)
	if err != nil {
		return nil, err
	}
	var list []jobLine
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, byteOrderMark)) {
		number++
		if len(list) == maxJobs {
			return nil, fmt.Errorf("%s: more than %d prompts", from, maxJobs)
		}
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, jobLine{from, number, []jobField{{"prompt", line}}})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no prompts, one a line wanted", from)
	}
	return list, nil
}

func readText(in io.Reader, from string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxPromptBytes+1))
	if err != nil {
		return "", fmt.Errorf("reading prompts from %s: %w", from, cause(err))
	}
	if len(text) > maxPromptBytes {
		return "", fmt.Errorf("%s: more than %s of prompts", from, byteSize(maxPromptBytes))
	}
	return string(text), nil
}

// longest is the longest of some texts.
func longest(texts []string) string {
	return slices.MaxFunc(texts, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
}
