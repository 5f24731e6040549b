package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"net/http"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/reply"
)

// readControls reads the pictures of a request's ControlNets: a list, in which null stands
// for the picture to begin with.
func readControls(read *reading, m job.Member) (all []image.Image, err error) {
	var list []json.RawMessage
	if json.Unmarshal(m.Value, &list) != nil {
		return nil, fmt.Errorf("must be a list of pictures, one for each ControlNet, got %.40s", m.Value)
	}
	if len(list) > request.MaxControls {
		return nil, fmt.Errorf("must be at most %d pictures, got %d", request.MaxControls, len(list))
	}
	for i, value := range list {
		if string(value) == "null" {
			all = append(all, nil)
			continue
		}
		img, err := read.picture(job.Member{Key: m.Key, Value: value})
		if err != nil {
			return nil, fmt.Errorf("picture %d: %w", i+1, err)
		}
		all = append(all, img)
	}
	return all, nil
}

// showControls gives each ControlNet of a request its picture.
func showControls(q *request.Request, pictures []image.Image, e *request.Error) {
	for i, c := range q.Controls {
		if c.ImageFile != "" {
			e.Add("control_image", "is not for requests of the server: send the pictures as control_images")
			return
		}
		if i < len(pictures) {
			q.Controls[i].Image = pictures[i]
		}
	}
	if len(pictures) > len(q.Controls) {
		e.Add("control_images", "must be at most one for each ControlNet of the request, got %d for %d", len(pictures), len(q.Controls))
	}
}

// readFaces reads the faces' vectors of a request's ControlNets: a list of lists of numbers, in
// which null stands for none.
func readFaces(raw json.RawMessage) (all [][]float32, err error) {
	if json.Unmarshal(raw, &all) != nil {
		return nil, fmt.Errorf("must be a list with a list of numbers, or null, for each ControlNet, got %.40s", raw)
	}
	if len(all) > request.MaxControls {
		return nil, fmt.Errorf("must be at most %d faces, got %d", request.MaxControls, len(all))
	}
	return all, nil
}

// showFaces gives each ControlNet of a request its face.
func showFaces(q *request.Request, faces [][]float32, e *request.Error) {
	for i, c := range q.Controls {
		if c.FaceFile != "" {
			e.Add("control_face", "is not for requests of the server: send the numbers as control_faces")
			return
		}
		if i < len(faces) {
			q.Controls[i].Face = faces[i]
		}
	}
	if len(faces) > len(q.Controls) {
		e.Add("control_faces", "must be at most one for each ControlNet of the request, got %d for %d", len(faces), len(q.Controls))
	}
}

// preprocessed answers with the picture that a ControlNet is given, made of another.
func preprocessed(a *API, w http.ResponseWriter, r *http.Request) {
	img, err := detect(a, r)
	if err == nil {
		var b bytes.Buffer
		if err = picture.Encode(&b, img, picture.Options{}); err == nil {
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write(b.Bytes())
			return
		}
	}
	fail(w, err)
}

func detect(a *API, r *http.Request) (*image.NRGBA, error) {
	data, err := reply.Body(r)
	if err != nil {
		return nil, err
	}
	members, err := job.Members(data)
	if err != nil {
		return nil, err
	}
	var from image.Image
	var name string
	var e request.Error
	for _, m := range members {
		switch m.Key {
		case "image":
			from, err = (&reading{api: a, ctx: r.Context()}).picture(m)
		case "preprocessor":
			err = text(m, &name)
		default:
			err = fmt.Errorf("unknown field; there are image and preprocessor")
		}
		if err != nil {
			e.Add(fmt.Sprintf("%.80s", m.Key), "%v", err)
		}
	}
	if from == nil && e.Err() == nil {
		e.Add("image", "is missing")
	}
	if e.Err() != nil {
		return nil, invalidOrder(&e)
	}
	return a.service.Detect(from, name)
}

// preprocessorView is a preprocessor as JSON.
type preprocessorView struct {
	Name        string          `json:"name"`
	Aliases     []string        `json:"aliases"`
	Description string          `json:"description"`
	Scales      bool            `json:"scales"` // takes the parameter resolution, too
	Parameters  []parameterView `json:"parameters"`
}

func preprocessors() (all []preprocessorView) {
	for _, p := range preprocess.All() {
		v := preprocessorView{p.Name, append([]string{}, p.Aliases...), p.Description, p.Scales(), []parameterView{}}
		for _, x := range p.Parameters {
			v.Parameters = append(v.Parameters, parameterView{x.Name, &x.Default, x.Min, &x.Max, x.Integer, x.Help})
		}
		all = append(all, v)
	}
	return all
}
