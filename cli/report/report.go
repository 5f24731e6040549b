// Package report tells people and programs how far a command is: in lines, as
// bars on a terminal, as JSON events, or not at all.
//
// A [Reporter] reports requests and the jobs of a batch, [Bytes] how much of a file
// is done, [Inline] shows pictures on a terminal, and a [Log] warns, and turns the
// error that a command ended with into its text, its event and its exit code.
package report

import (
	"io"
	"time"
)

// Reporter shows how far requests are. Its methods are called one at a time.
type Reporter interface {
	Loaded(Load)       // the model is open
	Progress(Progress) // a part of the work is done
	Saved(Image)       // a picture is finished
	Upscaled(Upscaled) // an enlarged picture is in its file
	Sheet(Sheet)       // several pictures are in one file
	Job(Job, JobsDone) // a job of a batch has ended
	Done(Done)         // all went well
	Close()            // the bar, if any, goes; it may come back
}

// Style is how to report.
type Style int

const (
	Silent Style = iota // not at all
	Lines               // in lines, at most one a second
	Bars                // on a terminal
	Events              // in JSON, an object a line
)

// New makes a reporter that writes to w. now is the clock.
func New(style Style, w io.Writer, now func() time.Time) Reporter {
	switch style {
	case Lines:
		return &lines{w: w, now: now}
	case Bars:
		return &bars{w: w}
	case Events:
		return events{w}
	}
	return silence{}
}

// Load is a model that was opened. The fields of this and of the other types are
// those of the JSON events, which docs/cli.md documents: other programs depend on
// them.
type Load struct {
	Model   string  `json:"model"`
	Threads int     `json:"threads"` // of the CPU
	Seconds float64 `json:"seconds"`
}

// Stage is a part of the work on a request.
type Stage string

// Stages that are shown in a way of their own. Others are events alone.
const (
	Upload  Stage = "upload"  // weights have come to a GPU, in MiB
	Text    Stage = "text"    // prompts are encoded
	Sample  Stage = "sample"  // a denoising step is done; the event is "step"
	Decode  Stage = "decode"  // a tile of a picture is decoded
	Upscale Stage = "upscale" // a tile of a picture is enlarged
)

// Progress says that Index (from 1) of Of parts of a stage are done, Elapsed after
// it began. Of is 0 if it is not known.
type Progress struct {
	Stage     Stage
	Picture   int // from 0
	Pass      int // of the picture, from 0
	Index, Of int
	Elapsed   time.Duration
}

// Image is a finished picture.
type Image struct {
	Picture int    `json:"picture"` // from 1
	Of      int    `json:"of"`
	Path    string `json:"path"` // "" on a contact sheet
	Seed    uint64 `json:"seed"`
	Params  any    `json:"params"` // what it was made with, as JSON

	// What lines say of it.
	Width   int    `json:"-"`
	Height  int    `json:"-"`
	Steps   int    `json:"-"`
	Sampler string `json:"-"`
}

// Upscaled is a picture that was enlarged.
type Upscaled struct {
	Picture int     `json:"picture"` // from 1
	Of      int     `json:"of"`
	From    string  `json:"from"`
	Path    string  `json:"path"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	Seconds float64 `json:"seconds"`
}

// Sheet is a file with several pictures.
type Sheet struct {
	Images int    `json:"images"`
	Path   string `json:"path"`
}

// Job is a job of a batch that has ended.
type Job struct {
	Line    int    `json:"line"`  // of the file of jobs
	State   string `json:"state"` // JobDone, JobSkipped or JobFailed
	Images  int    `json:"images"`
	Message string `json:"message,omitempty"` // why it failed
}

// What became of a job.
const (
	JobDone    = "done"
	JobSkipped = "skipped" // it had been done before
	JobFailed  = "failed"
)

// JobsDone says how far all jobs are.
type JobsDone struct {
	Ended, Of int
	Skipped   int // of those that ended: they took no time
	Elapsed   time.Duration
}

// Done is the end of a command.
type Done struct {
	Images  int     `json:"images"`
	Jobs    *Jobs   `json:"jobs,omitempty"` // of a batch
	Timings Timings `json:"timings"`
}

// Jobs are the numbers of jobs by what became of them.
type Jobs struct {
	Done    int `json:"done"`
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

// Timings are what the parts of the work took, in seconds.
type Timings struct {
	Load   float64 `json:"load"`
	Text   float64 `json:"text"`
	Encode float64 `json:"encode,omitempty"` // of initial pictures
	Sample float64 `json:"sample"`
	Decode float64 `json:"decode"`
	Total  float64 `json:"total"`

	Stages []float64 `json:"stages,omitempty"` // of models that enlarge pictures, part of the others
}

// silence reports nothing.
type silence struct{}

func (silence) Loaded(Load)       {}
func (silence) Progress(Progress) {}
func (silence) Saved(Image)       {}
func (silence) Upscaled(Upscaled) {}
func (silence) Sheet(Sheet)       {}
func (silence) Job(Job, JobsDone) {}
func (silence) Done(Done)         {}
func (silence) Close()            {}
