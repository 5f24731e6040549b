package a1111

// textless leaves to a model that draws without text what the request does not say: the
// web UI's own defaults are for those that draw from text. The prompt tells such a model
// its class.
func (d *decoder) textless() {
	d.out.order.Told = true
	e, err := d.service.Model(d.client, d.out.order.Model)
	if err != nil || e.Textless == nil { // a missing model is the order's problem
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
