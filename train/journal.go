package train

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/train/chart"
)

// Event is something that happened in a training: a "step", a "checkpoint", a "save" of
// the result, or a "sample".
type Event struct {
	Event string `json:"event,omitempty"`
	Step  int    `json:"step"` // that was done last
	Of    int    `json:"of"`

	// Of a step: its loss, the share of samples that a classifier recognised, the learning
	// rate, the global norm of the gradients before it was clipped, and the time it took.
	Loss     float64  `json:"loss,omitempty"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	Rate     float64  `json:"rate,omitempty"`
	Norm     float64  `json:"norm,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"`

	Path string `json:"path,omitempty"` // of what was written
}

// journal writes events into a training's folder.
type journal struct {
	folder        string
	events, table *os.File
	points        []chart.Point
	on            func(Event) error
}

var columns = []string{"step", "loss", "accuracy", "rate", "norm", "seconds"}

func (e Event) row() []string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	accuracy := ""
	if e.Accuracy != nil {
		accuracy = number(*e.Accuracy)
	}
	return []string{strconv.Itoa(e.Step), number(e.Loss), accuracy, number(e.Rate), number(e.Norm), number(e.Seconds)}
}

// openJournal begins the files, or continues those of a training whose checkpoint is of a
// step: what was written after that will happen again, and is taken away.
func openJournal(folder string, step int, on func(Event) error) (*journal, error) {
	j := &journal{folder: folder, on: on}
	kept, err := readEvents(j.path("events.jsonl"), step)
	if err != nil {
		return nil, err
	}
	var lines, rows bytes.Buffer
	table := csv.NewWriter(&rows)
	if err := table.Write(columns); err != nil {
		return nil, err
	}
	for _, e := range kept {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		lines.Write(append(line, '\n'))
		if e.Event == "step" {
			j.points = append(j.points, chart.Point{Step: e.Step, Loss: e.Loss})
			if err := table.Write(e.row()); err != nil {
				return nil, err
			}
		}
	}
	table.Flush()
	if j.events, err = startFile(j.path("events.jsonl"), lines.Bytes()); err != nil {
		return nil, err
	}
	if j.table, err = startFile(j.path("loss.csv"), rows.Bytes()); err != nil {
		j.events.Close()
		return nil, err
	}
	return j, nil
}

func (j *journal) path(name string) string { return filepath.Join(j.folder, name) }

// startFile replaces a file's content and opens it to append to.
func startFile(path string, content []byte) (*os.File, error) {
	err := writeFile(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o666)
}

// readEvents reads the events up to a step. A line that is not complete, as of a program
// that was killed, ends them.
func readEvents(path string, step int) ([]Event, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || step == 0 {
		if err == nil {
			f.Close()
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Event
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Step > step {
			break
		}
		all = append(all, e)
	}
	return all, nil
}

func (j *journal) write(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.events.Write(append(line, '\n')); err != nil {
		return err
	}
	if e.Event == "step" {
		j.points = append(j.points, chart.Point{Step: e.Step, Loss: e.Loss})
		w := csv.NewWriter(j.table)
		if err := w.Write(e.row()); err != nil {
			return err
		}
		if w.Flush(); w.Error() != nil {
			return w.Error()
		}
	}
	if j.on == nil {
		return nil
	}
	return guard.Call("OnEvent", func() error { return j.on(e) })
}

// draw writes the curve.
func (j *journal) draw() error {
	picture, err := chart.PNG(j.points)
	if err != nil {
		return fmt.Errorf("the loss curve: %w", err)
	}
	for name, content := range map[string][]byte{"loss.svg": chart.SVG(j.points), "loss.png": picture} {
		if err := writeFile(j.path(name), func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) close() {
	j.events.Close()
	j.table.Close()
}
