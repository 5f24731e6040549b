package a1111

import (
	"strings"

	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/service"
)

// networks are the model and the autoencoder that a request names: in its settings, or as
// the clients of other servers do, stable-diffusion.cpp's with the field model and
// Forge's with a list of modules.
func (d *decoder) networks(settings *loose.Object) (model, vae string) {
	model, _ = d.String("model")
	if v, ok := settings.String("sd_model_checkpoint"); ok {
		model = v
	}
	vae, _ = settings.String("sd_vae")
	for _, module := range settings.Strings("forge_additional_modules") {
		switch {
		case vae == "" || service.OwnVAE(vae):
			vae = module
		case !strings.EqualFold(vae, module):
			settings.Add("forge_additional_modules", "value_error", "must be one autoencoder at most, the one of sd_vae, got %.40q beside %.40q", module, vae)
		}
	}
	return model, vae
}

// textless leaves to a model that draws without text, or that has ways of its own, what the
// request does not say: the web UI's own defaults are for Stable Diffusion. The prompt tells
// a model without text its class.
func (d *decoder) textless() {
	d.out.order.Told = true
	e, err := d.service.Model(d.client, d.out.order.Model)
	if err != nil || e.Textless == nil && !e.Transformer { // a missing model is the order's problem
		return
	}
	r := d.request
	if !d.Has("width") && !d.Has("height") {
		r.Width, r.Height = 0, 0
	}
	if !d.Has("steps") {
		r.Steps = 0
	}
	if !d.Has("cfg_scale") {
		r.Guidance = nil
	}
	if !d.Has("sampler_name") && !d.Has("sampler_index") {
		r.Sampler = ""
	}
}
