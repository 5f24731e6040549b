package api

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// modelView is a model as JSON.
type modelView struct {
	Name        string  `json:"name"`
	File        string  `json:"file"`
	Kind        string  `json:"kind"`
	Description string  `json:"description,omitempty"`
	Family      string  `json:"family,omitempty"`
	Variant     string  `json:"variant,omitempty"`
	NativeSize  int     `json:"native_size,omitempty"`
	Guidance    float64 `json:"guidance,omitempty"`
	Scale       int     `json:"scale,omitempty"`
	Bytes       uint64  `json:"bytes"`
	Hash        string  `json:"sha256,omitempty"`
	State       string  `json:"state,omitempty"`
	Why         string  `json:"why,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"` // since its worker was started
	Running     int     `json:"running,omitempty"`
	Default     bool    `json:"default,omitempty"`

	// Of models that generate pictures; classifiers have classes, too.
	DrawsFrom     string   `json:"draws_from,omitempty"` // text, class, number or nothing
	Classes       []string `json:"classes,omitempty"`    // by their numbers, which are the names of those without
	ClassOptional bool     `json:"class_optional,omitempty"`
	Align         int      `json:"align,omitempty"`
	Steps         int      `json:"steps,omitempty"`
	Sampler       string   `json:"sampler,omitempty"`
	Schedule      string   `json:"schedule,omitempty"`

	// Of adapters and textual inversions.
	Alias    string   `json:"alias,omitempty"`
	Base     string   `json:"base,omitempty"`
	Triggers []string `json:"triggers,omitempty"`
	Vectors  int      `json:"vectors,omitempty"`

	// Of models whose networks are in several files: the names of the others.
	Parts map[string]string `json:"parts,omitempty"`

	// Of networks that follow pictures: ControlNet, T2I-Adapter or IP-Adapter, with base.
	Network string `json:"network,omitempty"`
}

// of says what an entry has beside what all have.
func (v *modelView) of(e catalog.Entry) {
	if a := e.Adapter; a != nil {
		v.Alias, v.Base, v.Triggers = a.Alias, a.Base, a.Triggers
	}
	if e.Word != nil {
		v.Vectors = e.Word.Vectors
	}
	if e.Follows != nil {
		v.Network, v.Base = e.Follows.Network, e.Follows.Base
	}
	v.Parts = e.Parts.Names()
	v.Align, v.Steps, v.Sampler, v.Schedule = e.Align, e.Steps, e.Sampler, e.Schedule
	t := e.Textless
	switch {
	case e.Kind == catalog.Classifier:
		v.Classes = t.ClassNames()
	case e.Kind != catalog.Checkpoint && e.Kind != catalog.Refiner:
	case t == nil:
		v.DrawsFrom = "text"
	case t.Number:
		v.DrawsFrom = "number"
	case t.Classes == 0:
		v.DrawsFrom = "nothing"
	default:
		v.DrawsFrom, v.ClassOptional, v.Classes = "class", t.Optional, t.ClassNames()
	}
}

// models lists all models.
func (a *API) models(w http.ResponseWriter, r *http.Request) {
	chosen := a.service.Chosen(client(r))
	all := []modelView{}
	for _, e := range a.service.Catalog.Entries() {
		v := modelView{Name: e.Name, File: e.File, Kind: string(e.Kind), Description: e.Description, Family: e.Family, Variant: e.Variant, NativeSize: e.NativeSize,
			Guidance: e.Guidance, Scale: e.Scale, Bytes: e.Bytes, Hash: e.Hash, Why: e.Why}
		v.of(e)
		if e.Kind.Opens() {
			s := a.service.Pool.Status(e.Name)
			v.State, v.Running, v.Seconds = s.State, s.Running, s.Seconds
			if s.Why != "" {
				v.Why = s.Why
			}
		}
		v.Default = e.Name == chosen && v.DrawsFrom != ""
		all = append(all, v)
	}
	reply.JSON(w, http.StatusOK, map[string]any{"models": all})
}

// refresh scans the folder of models.
func (a *API) refresh(w http.ResponseWriter, r *http.Request) {
	if err := a.service.Catalog.Scan(); err != nil {
		fail(w, service.Errorf(http.StatusInternalServerError, "failed", "the folder of models cannot be read"))
		return
	}
	a.models(w, r)
}

// named is the model that a body names.
func (a *API) named(r *http.Request) (catalog.Entry, error) {
	o, _, err := reply.Object(r)
	if err != nil {
		return catalog.Entry{}, err
	}
	name, ok := o.String("model")
	if err := errors.Join(o.Err()); err != nil {
		return catalog.Entry{}, err
	}
	if unknown := o.Unknown(); len(unknown) > 0 {
		return catalog.Entry{}, service.Errorf(http.StatusBadRequest, "invalid_request", "%.80s: unknown field; there is model", unknown[0])
	}
	if !ok {
		return catalog.Entry{}, service.Errorf(http.StatusBadRequest, "invalid_request", "model: must name a model")
	}
	return a.service.Model(client(r), name)
}

// load opens a model ahead of jobs.
func (a *API) load(w http.ResponseWriter, r *http.Request) {
	e, err := a.named(r)
	if err == nil {
		if loadErr := a.service.Pool.Load(e.Name); loadErr != nil {
			err = service.Errorf(http.StatusConflict, "no_room", "%v", loadErr)
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply.JSON(w, http.StatusAccepted, map[string]any{"model": e.Name, "state": a.service.Pool.Status(e.Name).State})
}

// unload closes a model.
func (a *API) unload(w http.ResponseWriter, r *http.Request) {
	e, err := a.named(r)
	if err == nil && !a.service.Pool.Unload(e.Name) {
		err = service.Errorf(http.StatusConflict, "in_use", "the model is in use")
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply.JSON(w, http.StatusOK, map[string]any{"model": e.Name, "state": "unloaded"})
}

// status is what the server does now. Of others' jobs there are only numbers.
func status(a *API, w http.ResponseWriter) {
	waiting, running := 0, 0
	for _, n := range a.service.Queue.Depth() {
		waiting += n
	}
	workers := []map[string]any{}
	for _, s := range a.service.Pool.Workers() {
		running += s.Running
		workers = append(workers, map[string]any{"id": s.Worker, "model": s.Model, "state": s.State, "running": s.Running, "memory": s.Resident})
	}
	reply.JSON(w, http.StatusOK, map[string]any{"waiting": waiting, "running": running, "workers": workers, "disabled": append([]string{}, a.service.Pool.Disabled()...)})
}

// parameterView is a number that a sampler or a kind of guidance takes. What has no
// upper bound has none here.
type parameterView struct {
	Name    string   `json:"name"`
	Default *float64 `json:"default"`
	Min     float64  `json:"min"`
	Max     *float64 `json:"max,omitempty"`
	Integer bool     `json:"integer,omitempty"`
	Help    string   `json:"help,omitempty"`
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func parametersOfSampler(all []sampler.Parameter) []parameterView {
	out := []parameterView{}
	for _, p := range all {
		out = append(out, parameterView{p.Name, finite(p.Default), p.Min, finite(p.Max), p.Integer, p.Help})
	}
	return out
}

// kinds are the words for kinds of values.
var kinds = map[job.Kind]string{job.KindText: "text", job.KindFile: "name", job.KindInteger: "integer", job.KindNumber: "number", job.KindSwitch: "switch", job.KindSize: "size", job.KindPoint: "point"}

// stepCaches are the step caches as JSON.
func stepCaches() (all []map[string]any) {
	for _, c := range sampler.StepCaches() {
		all = append(all, map[string]any{"name": c.Name, "aliases": append([]string{}, c.Aliases...), "description": c.Description, "parameters": parametersOfSampler(c.Parameters)})
	}
	return all
}

// capabilities says what requests may have.
func capabilities(a *API, w http.ResponseWriter) {
	var fields, samplers, schedules, guiders []map[string]any
	for _, f := range job.Fields() {
		if f.Path == "ImageFile" || f.Path == "MaskFile" || f.Path == "PreviewEvery" {
			continue
		}
		fields = append(fields, map[string]any{"key": f.Key, "kind": kinds[f.Kind], "list": f.List, "range": f.Range, "default": f.Default, "help": f.Help, "object": f.Object, "pass_key": f.PassKey})
	}
	for _, s := range sampler.Samplers() {
		samplers = append(samplers, map[string]any{"name": s.Name, "aliases": append([]string{}, s.Aliases...), "description": s.Description, "schedule": s.DefaultSchedule(),
			"stochastic": s.Stochastic, "parameters": parametersOfSampler(s.Parameters)})
	}
	for _, s := range sampler.Schedules() {
		schedules = append(schedules, map[string]any{"name": s.Name, "aliases": append([]string{}, s.Aliases...), "description": s.Description})
	}
	for _, g := range sampler.Guiders() {
		if !g.Repeats {
			guiders = append(guiders, map[string]any{"name": g.Name, "aliases": append([]string{}, g.Aliases...), "description": g.Description, "parameters": parametersOfSampler(g.Parameters)})
		}
	}
	upscalers := slices.Clone(a.service.Filters)
	for _, e := range a.service.Catalog.Entries(catalog.Upscaler) {
		upscalers = append(upscalers, e.Name)
	}
	l := a.service.Limits
	limits := a.service.Queue.Limits()
	out := map[string]any{
		"version": a.service.Version, "fields": fields, "samplers": samplers, "schedules": schedules, "guidance": guiders, "upscalers": upscalers, "preprocessors": preprocessors(),
		"guides": guideKinds(), "guide_methods": guideMethods(), "step_caches": stepCaches(),
		"formats": []string{"png", "jpeg", "webp"},
		"limits": map[string]any{"pictures": l.Pictures, "pixels": l.Pixels, "work": l.Work, "steps": request.MaxSteps, "side": request.MaxSide, "hires_passes": request.MaxHires,
			"waiting": limits.Waiting, "waiting_per_client": limits.PerClient, "keep_seconds": limits.Keep.Seconds()},
		"features": map[string]bool{"picture_urls": a.service.Inputs.Web != nil, "gallery": a.service.Gallery != nil},
	}
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	reply.JSON(w, http.StatusOK, out)
}
