package a1111

import (
	"net/http"
	"strings"

	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// registerControlNet adds the routes of the ControlNet extension. There are no control
// networks and no detectors, and the lists say so.
func (a *API) registerControlNet(r Router) {
	get := func(path string, v any) {
		r.HandleFunc("GET /controlnet/"+path, func(w http.ResponseWriter, _ *http.Request) { reply.JSON(w, http.StatusOK, v) })
	}
	get("version", map[string]int{"version": 3})
	get("model_list", map[string][]string{"model_list": {}})
	get("module_list", map[string]any{"module_list": []string{"none"}, "module_detail": map[string]any{}})
	get("control_types", map[string]any{"control_types": map[string]any{"All": map[string]any{
		"module_list": []string{"none"}, "model_list": []string{"None"}, "default_option": "none", "default_model": "None"}}})
	get("settings", map[string]int{"control_net_unit_count": 0})
	r.HandleFunc("POST /controlnet/detect", func(w http.ResponseWriter, r *http.Request) {
		fail(w, service.Errorf(http.StatusUnprocessableEntity, "not_supported", "controlnet_module: there are no detectors"))
	})
}

// controlNet reads the units of the ControlNet extension: those that are off are passed
// over, others are refused by name.
func (d *decoder) controlNet(o *loose.Object) {
	if o == nil {
		return
	}
	for _, raw := range o.Objects("args") {
		module, _ := raw.String("module")
		model, _ := raw.String("model")
		named := !noneOf(module) || !noneOf(model)
		on, has := raw.Bool("enabled")
		if !has {
			on = named
		}
		switch {
		case !on:
		case !noneOf(model):
			raw.Add("model", "value_error", "%.80q not found: there are no control networks", model)
		case !noneOf(module):
			raw.Add("module", "value_error", "%.80q not found: there are no detectors", module)
		default:
			raw.Add("enabled", "value_error", "must be false: a unit without a model does nothing")
		}
	}
}

func noneOf(name string) bool { return name == "" || strings.EqualFold(name, "none") }
