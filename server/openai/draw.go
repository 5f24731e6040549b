package openai

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// result is the reply to a request for pictures.
type result struct {
	Created    int64  `json:"created"`
	Data       []item `json:"data"`
	Background string `json:"background"`
	Format     string `json:"output_format"`
	Quality    string `json:"quality"`
	Size       string `json:"size"`
	Usage      usage  `json:"usage"`
}

// item is a picture: one of both.
type item struct {
	Base64 string `json:"b64_json,omitempty"`
	URL    string `json:"url,omitempty"`
}

// usage counts nothing: nobody pays.
type usage struct {
	Input   int     `json:"input_tokens"`
	Output  int     `json:"output_tokens"`
	Total   int     `json:"total_tokens"`
	Details details `json:"input_tokens_details"`
}

type details struct {
	Text  int `json:"text_tokens"`
	Image int `json:"image_tokens"`
}

func (a *API) generations(w http.ResponseWriter, r *http.Request) { a.draw(w, r, false, false) }
func (a *API) edits(w http.ResponseWriter, r *http.Request)       { a.draw(w, r, true, false) }

// variations are img2img with an empty prompt.
func (a *API) variations(w http.ResponseWriter, r *http.Request) { a.draw(w, r, true, true) }

// draw answers a request for pictures.
func (a *API) draw(w http.ResponseWriter, r *http.Request, editing, varying bool) {
	d, body, err := a.read(r, editing, varying)
	if err != nil {
		fail(w, err)
		return
	}
	key := keyOf(r, body)
	j, ok := a.retried(r, key)
	if !ok {
		if j, err = a.service.Order(d.order); err != nil {
			fail(w, err)
			return
		}
		a.service.Remember(key, j)
	}
	d.order.Requests = nil // the pictures are the job's
	if d.stream {
		a.stream(w, r, d, j)
		return
	}
	reply.Late(w, r, a.options.Keep, func(ctx context.Context) (*result, error) {
		v, err := a.service.Await(ctx, j, false)
		if err != nil {
			return nil, err
		}
		if f := service.Failure(v); f != nil {
			return nil, f
		}
		return a.result(r, d, v), nil
	}, func(err error) { fail(w, err) })
}

func (a *API) result(r *http.Request, d *drawing, v queue.View) *result {
	out := &result{Created: v.Created.Unix(), Data: []item{}, Background: "opaque", Format: d.format, Quality: d.quality}
	for _, p := range v.Pictures {
		if p.Draft {
			continue
		}
		out.Size = sizeOf(p)
		if d.url {
			out.Data = append(out.Data, item{URL: a.base(r) + "/v1/images/files/" + a.links.add(p)})
		} else {
			out.Data = append(out.Data, item{Base64: base64.StdEncoding.EncodeToString(p.Data)})
		}
	}
	return out
}

func sizeOf(p *queue.Picture) string { return fmt.Sprintf("%dx%d", p.Width, p.Height) }

// links are addresses of pictures that end after a time.
type links struct {
	mutex sync.Mutex
	all   map[string]link
}

type link struct {
	picture *queue.Picture
	until   time.Time
}

// How long addresses are good, and how many bytes of pictures they hold at most.
const (
	linkTime     = time.Hour
	maxLinkBytes = 256 << 20
)

func newLinks() *links { return &links{all: map[string]link{}} }

// add makes an address, which cannot be guessed.
func (l *links) add(p *queue.Picture) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now, total := time.Now(), len(p.Data)
	for id, one := range l.all {
		if now.After(one.until) {
			delete(l.all, id)
			continue
		}
		total += len(one.picture.Data)
	}
	for total > maxLinkBytes && len(l.all) > 0 {
		oldest := ""
		for id, one := range l.all {
			if oldest == "" || one.until.Before(l.all[oldest].until) {
				oldest = id
			}
		}
		total -= len(l.all[oldest].picture.Data)
		delete(l.all, oldest)
	}
	id := queue.NewID()
	l.all[id] = link{p, now.Add(linkTime)}
	return id
}

func (l *links) find(id string) (*queue.Picture, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	one, ok := l.all[id]
	return one.picture, ok && time.Now().Before(one.until)
}

// file answers with a picture whose address was given.
func (a *API) file(w http.ResponseWriter, r *http.Request) {
	p, ok := a.links.find(r.PathValue("id"))
	if !ok {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such picture, or no longer"))
		return
	}
	w.Header().Set("Content-Type", "image/"+p.Format)
	http.ServeContent(w, r, "", p.Created, bytes.NewReader(p.Data))
}
