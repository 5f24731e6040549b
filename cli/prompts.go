package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
)

// Bounds of what is read as prompts. All of a command line's are checked, and
// kept, before the first is drawn.
const (
	maxPromptBytes = 1 << 20
	maxPrompts     = 10_000
)

// standardInput is what standard input is called in errors.
const standardInput = "standard input"

// readPrompts are the prompts to draw: --prompt's, or the lines of --prompts.
func readPrompts(p *program, f *flags) ([]string, error) {
	one, file := f.name("prompt"), f.name("prompts")
	switch {
	case f.set("prompt") && f.set("prompts"):
		return nil, report.Usagef("%s and %s both say what to draw; use one of them", one, file)
	case f.set("prompts"):
		lines, err := readPromptFile(file, f.string("prompts"), p.stdin)
		if err == nil && len(lines) > maxPrompts {
			err = fmt.Errorf("%s %s: %d prompts; at most %d are possible, and with sdgo batch %d", file, f.string("prompts"), len(lines), maxPrompts, maxJobs)
		}
		if err != nil {
			return nil, err
		}
		list := make([]string, len(lines))
		for i, line := range lines {
			list[i] = *line.prompt
		}
		return list, nil
	case !f.set("prompt"):
		return nil, report.Usagef(`no prompt: -p TEXT says what to draw (-p "" is an empty one); models that take none are for sdgo sample`)
	case f.string("prompt") == "-":
		text, err := readText(p.stdin, standardInput)
		return []string{strings.TrimRight(text, "\r\n")}, err
	}
	return []string{f.string("prompt")}, nil
}

// readPromptFile reads a file with a prompt a line, each a job.
// Empty lines don't count. The name "-" is standard input.
func readPromptFile(flag, name string, stdin io.Reader) ([]jobLine, error) {
	in, from := stdin, standardInput
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", flag, name, output.Cause(err))
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
	for line := range strings.Lines(text) {
		number++
		if len(list) == maxJobs {
			return nil, fmt.Errorf("%s: more than %d prompts", from, maxJobs)
		}
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, jobLine{file: from, number: number, prompt: &line})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no prompts; there must be one a line", from)
	}
	return list, nil
}

func readText(in io.Reader, from string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(textReader(in), maxPromptBytes+1))
	if err != nil {
		return "", fmt.Errorf("reading prompts from %s: %w", from, output.Cause(err))
	}
	if len(text) > maxPromptBytes {
		return "", fmt.Errorf("%s: more than %s of prompts", from, report.Size(maxPromptBytes))
	}
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%s: %w", from, errNoText)
	}
	return string(text), nil
}

// longest is the longest of some texts.
func longest(texts []string) string {
	return slices.MaxFunc(texts, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
}
