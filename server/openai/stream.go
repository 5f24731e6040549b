package openai

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// event is an event of a stream.
type event struct {
	Type       string `json:"type"`
	Base64     string `json:"b64_json"`
	Created    int64  `json:"created_at"`
	Size       string `json:"size"`
	Quality    string `json:"quality"`
	Background string `json:"background"`
	Format     string `json:"output_format"`
	Partial    *int   `json:"partial_image_index,omitempty"`
	Usage      *usage `json:"usage,omitempty"`
}

// aliveEvery is how often a comment is sent while nothing else is.
const aliveEvery = 15 * time.Second

// stream sends previews and pictures as events while they are made.
func (a *API) stream(w http.ResponseWriter, r *http.Request, d *drawing, j *queue.Job) {
	s := &stream{out: reply.NewEvents(w), d: d, j: j, partials: map[int]int{}}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	go func() { _, _ = a.service.Await(ctx, j, false) }() // cancels the job when the client is gone
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		v, changed := j.View()
		if s.send(v) != nil {
			return
		}
		if v.State.Ended() {
			if f := service.Failure(v); f != nil {
				_, _, failed := describe(f)
				_ = s.out.Send("error", "", map[string]any{"type": "error", "error": failed})
				return
			}
			_ = s.out.Text("[DONE]")
			return
		}
		select {
		case <-changed:
		case <-tick.C:
			if s.out.Alive() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// stream is what was sent of a job.
type stream struct {
	out       *reply.Events
	d         *drawing
	j         *queue.Job
	partials  map[int]int // of each picture
	completed int
}

// send sends what is new: previews of a picture at even parts of its steps, then the
// picture.
func (s *stream) send(v queue.View) error {
	if p := s.j.Preview(); p != nil && v.State == queue.Running && v.Stage == string(request.StageSample) && p.Task == v.Task {
		n := s.partials[p.Task]
		if n < s.d.partial && v.Of > 0 && p.Step*(s.d.partial+1) >= v.Of*(n+1) {
			s.partials[p.Task]++
			e := s.event("partial_image", p.Data, "")
			e.Partial, e.Format = &n, "png"
			if err := s.out.Send(e.Type, "", e); err != nil {
				return err
			}
		}
	}
	finished := 0
	for _, p := range v.Pictures {
		if p.Draft {
			continue
		}
		if finished++; finished <= s.completed {
			continue
		}
		if p.Task != finished-1 { // in their order
			break
		}
		s.completed++
		e := s.event("completed", p.Data, sizeOf(p))
		e.Usage = &usage{}
		if err := s.out.Send(e.Type, "", e); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) event(kind string, data []byte, size string) event {
	if size == "" {
		size = "auto"
		if q := s.j.Task(0).Request; q.Width > 0 {
			size = fmt.Sprintf("%dx%d", q.Width, q.Height)
		}
	}
	return event{Type: s.d.kind + "." + kind, Base64: base64.StdEncoding.EncodeToString(data), Created: time.Now().Unix(), Size: size,
		Quality: s.d.quality, Background: "opaque", Format: s.d.format}
}
