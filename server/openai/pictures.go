package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/service"
)

// maxParts bounds the fields and files of a form.
const maxParts = 64

// parse reads JSON, or the fields and files of a form.
func parse(contentType string, body []byte) (*loose.Object, map[string][][]byte, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		o, err := loose.Parse(body)
		return o, nil, err
	}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	fields, files := map[string]any{}, map[string][][]byte{}
	for parts := 0; ; parts++ {
		p, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || parts == maxParts {
			return nil, nil, errors.New("not a form, or one of too many parts")
		}
		data, err := io.ReadAll(p) // the body's size is bounded
		if err != nil {
			return nil, nil, errors.New("a form that ends early")
		}
		name := strings.TrimSuffix(p.FormName(), "[]")
		if p.FileName() != "" {
			files[name] = append(files[name], data)
			continue
		}
		fields[name] = strings.ToValidUTF8(string(data), "\uFFFD")
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, errors.New("a form whose fields are no texts")
	}
	o, err := loose.Parse(text)
	return o, files, err
}

// sources are the pictures of a field: files of a form, and in JSON texts, or objects
// with an image_url.
func (d *decoder) sources(key string) (all [][]byte, err error) {
	all = append(all, d.files[key]...)
	for _, raw := range d.List(key) {
		text, ok := sourceOf(raw)
		if !ok {
			return nil, fmt.Errorf("must be a picture, got %.40s", raw)
		}
		if text == "" {
			continue
		}
		data, err := d.api.service.Inputs.Bytes(d.ctx, text)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// sourceOf is the text of a picture in JSON.
func sourceOf(raw json.RawMessage) (text string, ok bool) {
	if json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	var object struct {
		URL json.RawMessage `json:"image_url"`
	}
	if json.Unmarshal(raw, &object) != nil || object.URL == nil {
		return "", false
	}
	if json.Unmarshal(object.URL, &text) == nil {
		return text, true
	}
	var inner struct{ URL *string }
	if json.Unmarshal(object.URL, &inner) != nil || inner.URL == nil {
		return "", false
	}
	return *inner.URL, true
}

// wrong is an error of a picture.
func wrong(param, format string, args ...any) error {
	return &service.Error{Status: http.StatusBadRequest, Code: "invalid_image", Param: param, Message: param + ": " + fmt.Sprintf(format, args...)}
}

// pictures reads the picture that is edited, and the mask, whose transparent part is
// repainted.
func (d *decoder) pictures(varying bool) error {
	files, err := d.sources("image")
	if err == nil {
		var more [][]byte
		more, err = d.sources("images")
		files = append(files, more...)
	}
	switch {
	case err != nil:
		return wrong("image", "%v", err)
	case len(files) == 0:
		return wrong("image", "is missing")
	case len(files) > maxFiles:
		return wrong("image", "must be at most %d files, got %d", maxFiles, len(files))
	case len(files) > 1:
		return wrong("image", "several pictures are not supported, got %d", len(files))
	}
	img, err := d.api.service.Inputs.Data(files[0])
	if err != nil {
		return wrong("image", "%v", err)
	}
	d.r.Image = img
	masks, err := d.sources("mask")
	switch {
	case err != nil:
		return wrong("mask", "%v", err)
	case len(masks) > 1:
		return wrong("mask", "must be one picture, got %d", len(masks))
	case len(masks) == 1 && varying:
		return wrong("mask", "is not for variations")
	case len(masks) == 0:
		return nil
	}
	mask, err := d.api.service.Inputs.Data(masks[0])
	if err != nil {
		return wrong("mask", "%v", err)
	}
	if mask.Opaque() {
		return wrong("mask", "must have transparent pixels, which are what is repainted")
	}
	d.r.Mask = transparent(mask, img.Rect.Size())
	if d.r.Strength == nil {
		all := 1.0
		d.r.Strength = &all
	}
	return nil
}

// transparent is a mask that is white where a picture is transparent, at a size.
func transparent(img *image.NRGBA, size image.Point) *image.Gray {
	alpha := image.NewGray(img.Rect)
	for i := range alpha.Pix {
		alpha.Pix[i] = 255 - img.Pix[4*i+3]
	}
	if img.Rect.Size() == size {
		return alpha
	}
	large := imaging.Resize(alpha, size.X, size.Y, imaging.Lanczos)
	out := image.NewGray(image.Rectangle{Max: size})
	for i := range out.Pix {
		out.Pix[i] = large.Pix[4*i]
	}
	return out
}
