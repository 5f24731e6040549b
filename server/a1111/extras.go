package a1111

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"math"
	"net/http"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
	"github.com/sdgo/sdgo/server/wire"
)

// extras is what is asked for of pictures that are enlarged.
type extras struct {
	toSize        bool
	scale         float64
	width, height int
	crop          bool
	first, second string
	visibility    float64
	show          bool
}

// maxUpscaling bounds upscaling_resize.
const maxUpscaling = 16

// readExtras reads the fields of extra-single-image and extra-batch-images.
func (a *API) readExtras(o *loose.Object) (x extras) {
	d := decoder{Object: o}
	x.toSize = d.integer("resize_mode", 0, 0, 1) == 1
	x.scale = d.number("upscaling_resize", 2, 0.01, maxUpscaling)
	x.width, x.height = int(d.integer("upscaling_resize_w", 512, 1, 4*request.MaxSide)), int(d.integer("upscaling_resize_h", 512, 1, 4*request.MaxSide))
	x.crop, x.show = true, true
	for key, to := range map[string]*bool{"upscaling_crop": &x.crop, "show_extras_results": &x.show} {
		if v, ok := o.Bool(key); ok {
			*to = v
		}
	}
	x.first, _ = o.String("upscaler_1")
	x.second, _ = o.String("upscaler_2")
	x.visibility = d.number("extras_upscaler_2_visibility", 0, 0, 1)
	for _, key := range []string{"gfpgan_visibility", "codeformer_visibility"} {
		if v := d.number(key, 0, 0, 1); v > 0 {
			o.Add(key, "value_error", "is not supported; 0 turns it off")
		}
	}
	o.Float("codeformer_weight")
	o.Bool("upscale_first") // before faces are restored, which none are
	for key, name := range map[string]string{"upscaler_1": x.first, "upscaler_2": x.second} {
		if !plainUpscaler(name) {
			if _, err := a.service.Catalog.Lookup("upscaler", name, catalog.Upscaler); err != nil {
				o.Add(key, "value_error", "Invalid upscaler, needs to be one of those that GET /sdapi/v1/upscalers lists, got %.80q", name)
			}
		}
	}
	return x
}

// plainUpscaler reports whether an upscaler needs no network.
func plainUpscaler(name string) bool {
	switch strings.ToLower(name) {
	case "", "none", "lanczos", "nearest":
		return true
	}
	return false
}

// upscale enlarges a picture with one upscaler.
func (a *API) upscale(ctx context.Context, client string, img *image.NRGBA, name string, width, height int) (*image.NRGBA, error) {
	if width < 1 || height < 1 || width > 4*request.MaxSide || height > 4*request.MaxSide || width*height > 4*a.service.Limits.Pixels {
		return nil, service.Errorf(http.StatusBadRequest, "too_many_pixels", "an upscaled picture of %dx%d pixels is too large", width, height)
	}
	if plainUpscaler(name) {
		defer a.service.Inputs.Gate.Enter()()
	}
	switch strings.ToLower(name) {
	case "", "none", "lanczos":
		return imaging.Resize(img, width, height, imaging.Lanczos), nil
	case "nearest":
		return imaging.Resize(img, width, height, imaging.NearestNeighbor), nil
	}
	e, err := a.service.Catalog.Lookup("upscaler", name, catalog.Upscaler)
	if err != nil {
		return nil, service.Errorf(http.StatusBadRequest, "not_found", "%v", err)
	}
	j, err := a.service.Upscale("a1111", client, e, img, width, height, wire.Output{Bare: true})
	if err != nil {
		return nil, err
	}
	v, err := a.service.Await(ctx, j, false)
	if err != nil {
		return nil, err
	}
	if f := service.Failure(v); f != nil {
		return nil, f
	}
	return picture.Read(bytes.NewReader(v.Pictures[0].Data))
}

// enlarge makes a picture as the extras ask, and returns it in base64.
func (a *API) enlarge(ctx context.Context, client string, data []byte, x extras) (string, error) {
	img, err := a.service.Inputs.Data(data)
	if err != nil {
		return "", service.Errorf(http.StatusBadRequest, "invalid_request", "Invalid image: %v", err)
	}
	size := img.Rect.Size()
	scale := x.scale
	if x.toSize {
		cover, inside := math.Max(float64(x.width)/float64(size.X), float64(x.height)/float64(size.Y)), math.Min(float64(x.width)/float64(size.X), float64(x.height)/float64(size.Y))
		if scale = inside; x.crop {
			scale = cover
		}
	}
	width, height := int(math.Round(float64(size.X)*scale)), int(math.Round(float64(size.Y)*scale))
	out, err := a.upscale(ctx, client, img, x.first, width, height)
	if err != nil {
		return "", err
	}
	if x.visibility > 0 && !noneOf(x.second) {
		other, err := a.upscale(ctx, client, img, x.second, width, height)
		if err != nil {
			return "", err
		}
		for i := range out.Pix {
			out.Pix[i] = uint8(math.Round(float64(out.Pix[i])*(1-x.visibility) + float64(other.Pix[i])*x.visibility))
		}
	}
	if x.toSize && x.crop {
		out = imaging.CropCenter(out, x.width, x.height)
	}
	text, _ := service.TextOfPicture(data)
	how := fmt.Sprintf("Postprocess upscale by: %.4g, Postprocess upscaler: %s", scale, orNone(x.first))
	if text != "" {
		how = text + ", " + how
	}
	var b bytes.Buffer
	if err := picture.Encode(&b, out, picture.Options{Parameters: how}); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

func orNone(name string) string {
	if name == "" {
		return "None"
	}
	return name
}

// extraSingle enlarges a picture.
func (a *API) extraSingle(w http.ResponseWriter, r *http.Request) {
	o, _, err := reply.Object(r)
	if err != nil {
		fail(w, err)
		return
	}
	x := a.readExtras(o)
	text, ok := o.String("image")
	if !ok {
		o.Add("image", "missing", "Field required")
	}
	a.answerExtras(w, r, o, []string{text}, x, func(images []string) any {
		return map[string]any{"html_info": "", "image": images[0]}
	})
}

// extraBatch enlarges several.
func (a *API) extraBatch(w http.ResponseWriter, r *http.Request) {
	o, _, err := reply.Object(r)
	if err != nil {
		fail(w, err)
		return
	}
	x := a.readExtras(o)
	var texts []string
	for _, one := range o.Objects("imageList") {
		data, _ := one.String("data")
		one.String("name")
		texts = append(texts, data)
	}
	if len(texts) == 0 || len(texts) > a.service.Limits.Pictures {
		o.Add("imageList", "value_error", "must be 1 to %d pictures, got %d", a.service.Limits.Pictures, len(texts))
	}
	a.answerExtras(w, r, o, texts, x, func(images []string) any {
		return map[string]any{"html_info": "", "images": images}
	})
}

// answerExtras enlarges pictures one after the other.
func (a *API) answerExtras(w http.ResponseWriter, r *http.Request, o *loose.Object, texts []string, x extras, shape func([]string) any) {
	if err := o.Err(); err != nil {
		fail(w, err)
		return
	}
	reply.Late(w, r, a.keep, func(ctx context.Context) (any, error) {
		images := []string{}
		for _, text := range texts {
			data, err := a.service.Inputs.Bytes(ctx, text)
			if err != nil {
				return nil, service.Errorf(http.StatusBadRequest, "invalid_request", "Invalid image: %v", err)
			}
			out, err := a.enlarge(ctx, client(r), data, x)
			if err != nil {
				return nil, err
			}
			images = append(images, out)
		}
		return shape(images), nil
	}, func(err error) { fail(w, err) })
}
