package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/service"
)

// upscale asks for a picture at another size.
type upscale struct {
	model         string
	scale         float64
	width, height int
}

// maxScale bounds how many times larger a picture becomes.
const maxScale = 16

// readUpscale reads what upscaling is asked for.
func readUpscale(raw json.RawMessage) (*upscale, error) {
	members, err := job.Members(raw)
	if err != nil {
		return nil, err
	}
	u := &upscale{}
	for _, m := range members {
		switch {
		case string(m.Value) == "null":
		case m.Key == "model":
			if err := text(m, &u.model); err != nil {
				return nil, fmt.Errorf("model: %w", err)
			}
		case m.Key == "scale":
			if json.Unmarshal(m.Value, &u.scale) != nil || !(u.scale > 0 && u.scale <= maxScale) {
				return nil, fmt.Errorf("scale: must be more than 0 and at most %d, got %.40s", maxScale, m.Value)
			}
		case m.Key == "width" || m.Key == "height":
			to := map[string]*int{"width": &u.width, "height": &u.height}[m.Key]
			if json.Unmarshal(m.Value, to) != nil || *to < 1 || *to > 4*request.MaxSide {
				return nil, fmt.Errorf("%s: must be 1 to %d, got %.40s", m.Key, 4*request.MaxSide, m.Value)
			}
		default:
			return nil, fmt.Errorf("%.80s: unknown field; there are model, scale, width, height", m.Key)
		}
	}
	if u.model == "" {
		return nil, errors.New("model: must name an upscaler")
	}
	if (u.width == 0) != (u.height == 0) || u.width > 0 && u.scale > 0 {
		return nil, errors.New("must have a scale, or a width and a height")
	}
	return u, nil
}

// upscaled orders a picture at another size.
func (a *API) upscaled(o order) (*queue.Job, error) {
	if o.image == nil {
		return nil, &service.Error{Status: http.StatusBadRequest, Code: "invalid_request", Param: "Image", Message: "upscale needs an image"}
	}
	e, err := a.service.Catalog.Lookup("upscaler", o.upscale.model, catalog.Upscaler)
	if err != nil {
		return nil, &service.Error{Status: http.StatusNotFound, Code: "model_not_found", Param: "upscale", Message: err.Error()}
	}
	size := o.image.Bounds().Size()
	width, height := o.upscale.width, o.upscale.height
	if width == 0 {
		scale := o.upscale.scale
		if scale == 0 {
			scale = float64(max(e.Scale, 1))
		}
		width, height = int(float64(size.X)*scale+0.5), int(float64(size.Y)*scale+0.5)
	}
	o.Output.Text = fmt.Sprintf("Postprocess upscale by: %.4g, Postprocess upscaler: %s, Version: sdgo %s", float64(width)/float64(size.X), e.Name, a.service.Version)
	return a.service.Upscale("api", o.Client, e, o.image, width, height, o.Output)
}
