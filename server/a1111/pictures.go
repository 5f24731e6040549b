package a1111

import (
	"fmt"
	"image"
	"image/draw"
	"net/http"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/service"
)

// How an initial picture gets the size that is drawn.
const (
	justResize = iota // stretched
	cropAndResize
	resizeAndFill // with the colours of its edges
	latentResize
)

// fills are what inpainting begins with, by inpainting_fill.
var fills = [...]request.MaskFill{request.MaskFilled, request.MaskOriginal, request.MaskNoise, request.MaskNothing}

// pictures reads the initial pictures, the mask, and what goes with them.
func (d *decoder) pictures() error {
	images := d.Strings("init_images")
	if len(images) == 0 {
		return service.Errorf(http.StatusNotFound, "not_found", "Init image not found")
	}
	if len(images) > 1 && len(images) != d.out.batch {
		d.Add("init_images", "value_error", "must be one picture, or batch_size (%d), got %d", d.out.batch, len(images))
	}
	mode := int(d.integer("resize_mode", justResize, 0, latentResize))
	if mode == latentResize {
		d.refuse("resize_mode", "3 (latent) is not supported")
	}
	d.out.includeInit, _ = d.Bool("include_init_images")
	d.noise()
	maskText, masked := d.String("mask")
	masked = masked && maskText != ""
	area := d.mask(masked)
	if d.Err() != nil {
		return d.Err()
	}
	all, err := d.initial(images)
	if err != nil {
		return err
	}
	var mask *image.Gray
	if masked {
		img, err := d.service.Inputs.Text(d.ctx, maskText)
		if err != nil {
			return loose.Errors{{Loc: []any{"body", "mask"}, Msg: "Invalid image: " + err.Error(), Type: "value_error"}}
		}
		mask = grey(img, area.invert)
	}
	strength := d.out.denoising
	d.request.Strength = &strength
	d.guidance()
	fitted := make([]*request.Request, len(all)) // which the pictures that begin with it share
	for i, img := range all {
		r := *d.request
		leave := d.service.Inputs.Gate.Enter()
		fit(&r, img, mask, mode)
		leave()
		fitted[i] = &r
	}
	d.spread(func(r *request.Request, i int) {
		of := fitted[0]
		if len(all) > 1 {
			of = fitted[i%d.out.batch]
		}
		r.Image, r.Mask = of.Image, of.Mask
	})
	return nil
}

// initial decodes the initial pictures, if what is asked for with them is within the
// limits.
func (d *decoder) initial(images []string) (all []*image.NRGBA, err error) {
	limits := d.service.Limits
	if n := d.out.batch * d.out.iterations; n > limits.Pictures {
		return nil, service.Errorf(http.StatusBadRequest, "too_many_pictures", "at most %d pictures a request, got %d", limits.Pictures, n)
	}
	if n := d.request.Width * d.request.Height; n > limits.Pixels {
		return nil, service.Errorf(http.StatusBadRequest, "too_many_pixels", "at most %d pixels a picture, got %d", limits.Pixels, n)
	}
	pixels := 0
	for i, text := range images {
		img, err := d.service.Inputs.Text(d.ctx, text)
		if err != nil {
			return nil, loose.Errors{{Loc: []any{"body", "init_images", i}, Msg: "Invalid image: " + err.Error(), Type: "value_error"}}
		}
		if pixels += len(img.Pix) / 4; pixels > limits.Inputs {
			return nil, service.Errorf(http.StatusRequestEntityTooLarge, "too_large", "all pictures together must have at most %d pixels", limits.Inputs)
		}
		all = append(all, img)
	}
	return all, nil
}

// fit puts an initial picture and its mask into a request, at the size that is drawn.
func fit(r *request.Request, img *image.NRGBA, mask *image.Gray, mode int) {
	if mask != nil {
		if size := img.Rect.Size(); mask.Rect.Size() != size {
			mask = toGray(imaging.Resize(mask, size.X, size.Y, imaging.Lanczos))
		}
	}
	if mask == nil || !r.OnlyMasked { // a part of the picture is drawn at this size otherwise
		img = resized(img, r.Width, r.Height, mode)
		if mask != nil {
			mask = toGray(resized(imaging.Clone(mask), r.Width, r.Height, mode))
		}
	}
	r.Image = img
	if mask != nil {
		r.Mask = mask
	}
}

// resized is a picture at another size; one that is cropped is left to the pipeline,
// which does the same.
func resized(img *image.NRGBA, width, height, mode int) *image.NRGBA {
	if mode == cropAndResize || img.Rect.Size() == image.Pt(width, height) {
		return img
	}
	if mode == justResize {
		return imaging.Resize(img, width, height, imaging.Lanczos)
	}
	return filledAround(img, width, height)
}

// filledAround fits a picture into a size and stretches its edges over the rest.
func filledAround(img *image.NRGBA, width, height int) *image.NRGBA {
	size := img.Rect.Size()
	w, h := width, max(1, size.Y*width/size.X)
	if h > height {
		w, h = max(1, size.X*height/size.Y), height
	}
	small := imaging.Resize(img, w, h, imaging.Lanczos)
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	left, top := (width-w)/2, (height-h)/2
	for y := range height {
		for x := range width {
			from := small.PixOffset(min(max(x-left, 0), w-1), min(max(y-top, 0), h-1))
			copy(out.Pix[out.PixOffset(x, y):][:4], small.Pix[from:][:4])
		}
	}
	return out
}

// grey is a mask of a picture: its transparency if it has some, else its brightness.
func grey(img *image.NRGBA, invert bool) *image.Gray {
	out := image.NewGray(img.Rect)
	if img.Opaque() {
		draw.Draw(out, out.Rect, img, img.Rect.Min, draw.Src)
	} else {
		for i := range out.Pix {
			out.Pix[i] = img.Pix[4*i+3]
		}
	}
	for i, v := range out.Pix {
		if v = 255 * (v >> 7); invert { // grey levels are black or white
			v = 255 - v
		}
		out.Pix[i] = v
	}
	return out
}

// toGray is the first channel of a grey picture.
func toGray(img *image.NRGBA) *image.Gray {
	out := image.NewGray(image.Rectangle{Max: img.Rect.Size()})
	for i := range out.Pix {
		out.Pix[i] = img.Pix[4*i]
	}
	return out
}

// inpainting is how a mask is read.
type inpainting struct{ invert bool }

// mask reads what is said of the mask.
func (d *decoder) mask(masked bool) (area inpainting) {
	r := d.request
	blur, hasBlur := d.Float("mask_blur")
	x, y := d.number("mask_blur_x", 4, 0, 256), d.number("mask_blur_y", 4, 0, 256)
	if hasBlur {
		if !(blur >= 0 && blur <= 256) {
			d.Add("mask_blur", "value_error", "must be 0 to 256, got %g", blur)
		}
		x, y = blur, blur
	}
	fill := int(d.integer("inpainting_fill", 0, 0, int64(len(fills)-1)))
	onlyMasked := true
	if v, ok := d.Bool("inpaint_full_res"); ok {
		onlyMasked = v
	}
	padding := int(d.integer("inpaint_full_res_padding", 0, 0, 4096))
	area.invert = d.integer("inpainting_mask_invert", 0, 0, 1) == 1
	if v, ok := d.Bool("mask_round"); ok && !v && masked {
		d.refuse("mask_round", "must be true: masks are black or white")
	}
	if _, ok := d.String("latent_mask"); ok {
		d.refuse("latent_mask", "is not supported; send a mask")
	}
	if !masked {
		return area
	}
	if x != y {
		d.refuse("mask_blur_x", fmt.Sprintf("must be mask_blur_y (%g), got %g", y, x))
	}
	feather := 0 // the blurred mask is the blend
	r.MaskBlur, r.MaskFeather, r.MaskFill, r.OnlyMasked = x, &feather, fills[fill], onlyMasked
	if onlyMasked {
		r.MaskPadding = &padding
	}
	return area
}

// noise reads what multiplies the noise.
func (d *decoder) noise() {
	if v, ok := d.Float("initial_noise_multiplier"); ok && v != 1 {
		d.refuse("initial_noise_multiplier", "must be 1, got "+text(v))
	}
}

// guidance reads the image guidance, which clients send for every model; only those for
// editing take it.
func (d *decoder) guidance() {
	v, ok := d.Float("image_cfg_scale")
	if !ok {
		return
	}
	if e, err := d.service.Model(d.client, d.out.order.Model); err == nil && e.Variant == "edit" {
		d.request.ImageGuidance = &v
	}
}
