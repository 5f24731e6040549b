package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
)

// byteOrderMark is what some editors begin a file in UTF-8 with.
const byteOrderMark = "\xef\xbb\xbf"

// Limits of a file of jobs.
const (
	maxJobLine = 1 << 20 // bytes
	maxJobs    = 100_000
	maxJobText = 64 << 20 // bytes of all lines
	maxListed  = 5        // bad lines in an error
)

// jobLine is a line of a file of jobs: flags with values as on a command line. A
// JSON true and false are a flag with and without it.
type jobLine struct {
	file   string
	number int // from 1
	fields []field
}

func (j jobLine) String() string { return fmt.Sprintf("%s:%d", j.file, j.number) }

// set reports whether a job has a field.
func (j jobLine) set(name string) bool {
	for _, f := range j.fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// lineErrors are bad lines, each error with its file and line.
type lineErrors []error

func (l lineErrors) Error() string {
	text := make([]string, 0, maxListed+1)
	for i, err := range l {
		if i == maxListed {
			text = append(text, report.Plural(len(l)-i, "more bad line"))
			break
		}
		text = append(text, err.Error())
	}
	return strings.Join(text, "; ")
}

// readJobs reads a file with a JSON object a line; the name "-" is standard input.
// Empty lines don't count. All bad lines are reported at once.
func readJobs(name string, stdin io.Reader) ([]jobLine, error) {
	if name == "-" {
		return parseJobs(standardInput, stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, output.Cause(err))
	}
	defer f.Close()
	return parseJobs(name, f)
}

// parseJobs is what readJobs does with an open file.
func parseJobs(name string, in io.Reader) ([]jobLine, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxJobLine)
	var jobs []jobLine
	var bad lineErrors
	number, total := 0, 0
	for lines.Scan() {
		number++
		line := lines.Bytes()
		if total += len(line); total > maxJobText {
			return nil, fmt.Errorf("%s:%d: more than %s of jobs", name, number, report.Size(maxJobText))
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		j := jobLine{file: name, number: number}
		var err error
		if j.fields, err = parseJob(line); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", j, err))
			continue
		}
		if len(jobs) == maxJobs {
			return nil, fmt.Errorf("%s: more than %d jobs", name, maxJobs)
		}
		jobs = append(jobs, j)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: a line of more than %s", name, number+1, report.Size(maxJobLine))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, output.Cause(err))
	case len(bad) > 0:
		return nil, bad
	case len(jobs) == 0:
		return nil, fmt.Errorf(`%s: no jobs; there must be one a line, such as {"prompt": "a fox", "seed": 1}`, name)
	}
	return jobs, nil
}

// parseJob reads one object: fields with texts, numbers, true or false.
func parseJob(line []byte) ([]field, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New(`must be a JSON object, such as {"prompt": "a fox", "seed": 1}`)
	}
	var fields []field
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		name := strings.ReplaceAll(key.(string), "_", "-") // a name, or d.Token had failed
		value, err := d.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		f := field{name: name}
		switch v := value.(type) {
		case string:
			f.value = v
		case json.Number:
			f.value = v.String()
		case bool:
			f.value = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("%q: must be a string, a number, true or false", key)
		}
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		seen[name] = true
		fields = append(fields, f)
	}
	if _, err := d.Token(); err != nil {
		return nil, jsonError(err)
	}
	if rest, _ := io.ReadAll(d.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("more than one object on a line")
	}
	return fields, nil
}

// jsonError says what is wrong with a line's JSON.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w, after %d bytes", err, syntax.Offset)
	}
	return errors.New("not JSON: the object does not end on its line")
}
