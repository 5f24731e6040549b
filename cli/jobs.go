package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
)

// Limits of a file of jobs.
const (
	maxJobLine = 1 << 20 // bytes
	maxJobs    = 100_000
	maxJobText = 64 << 20 // bytes of all lines
	maxListed  = 5        // bad lines in an error
)

// jobLine is a line of a file of jobs: the members of its object. A line of a file of
// prompts is a prompt.
type jobLine struct {
	file    string
	number  int // from 1
	members []requests.Member
	prompt  *string
}

func (j jobLine) String() string { return fmt.Sprintf("%s:%d", j.file, j.number) }

// set reports whether a job has a member that is not null, which is the default.
func (j jobLine) set(key string) bool {
	return slices.ContainsFunc(j.members, func(m requests.Member) bool { return m.Key == key && string(m.Value) != "null" })
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
	lines := bufio.NewScanner(textReader(in))
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
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		j := jobLine{file: name, number: number}
		var err error
		if j.members, err = requests.Members(line); err != nil {
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
