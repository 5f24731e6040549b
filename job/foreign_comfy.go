package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ComfyUI writes the graph of nodes that it ran: "prompt" is an object of nodes by their
// ids, whose inputs are values, or links [id, output]. What a picture was drawn with is
// found from the node that saved it, back to its sampler.

const (
	maxNodes  = 10_000
	maxWalk   = 256 // nodes that are followed one after the other
	maxOthers = 16  // samplers that are named
)

// comfyNode is a node of a graph.
type comfyNode struct {
	id     string
	class  string
	inputs object
}

type comfyGraph map[string]*comfyNode

// isComfy reports whether a text is a graph.
func isComfy(text string, _ map[string]string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), "{") && strings.Contains(text, `"class_type"`)
}

// readComfy reads a graph. Of several samplers one after the other it is the first that
// the request has; the others are not read.
func readComfy(d *foreign, text string, _ map[string]string) {
	o := d.object("prompt", text)
	if o == nil {
		return
	}
	if len(o) > maxNodes {
		d.refuse("prompt", "", fmt.Sprintf("must be at most %d nodes, got %d", maxNodes, len(o)))
		return
	}
	g := comfyGraph{}
	for id, raw := range o {
		var n struct {
			Class  string `json:"class_type"`
			Inputs object `json:"inputs"`
		}
		if json.Unmarshal(raw, &n) == nil && n.Class != "" {
			g[id] = &comfyNode{id, n.Class, n.Inputs}
		}
	}
	s, others := g.base()
	if s == nil {
		d.refuse("prompt", "", "no sampler in the graph")
		return
	}
	comfyReading{d, g}.sampler(s)
	for i, n := range others {
		if i == maxOthers {
			d.refuse(n.class, fmt.Sprintf("%d more nodes", len(others)-i), "other samplers of the graph, which are not read")
			break
		}
		d.refuse(n.class, "node "+n.id, "another sampler of the graph, which is not read")
	}
}

// ids are those of all nodes, in the order of their numbers.
func (g comfyGraph) ids() []string {
	return slices.SortedFunc(maps.Keys(g), func(a, b string) int {
		x, err1 := strconv.Atoi(a)
		y, err2 := strconv.Atoi(b)
		if err1 == nil && err2 == nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a, b)
	})
}

// link is what an input is linked to: a node, or nil, and which of its outputs.
func (g comfyGraph) link(n *comfyNode, key string) (*comfyNode, int) {
	var pair []json.RawMessage
	if json.Unmarshal(n.inputs[key], &pair) != nil || len(pair) != 2 {
		return nil, 0
	}
	id, ok := scalar(pair[0])
	output, err := strconv.Atoi(string(bytes.TrimSpace(pair[1])))
	if !ok || err != nil {
		return nil, 0
	}
	return g[id], output
}

// value is an input that is no link.
func (n *comfyNode) value(key string) (string, bool) { return scalar(n.inputs[key]) }

// isSampler reports whether a node samples: it has a seed and conditions.
func (n *comfyNode) isSampler() bool {
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return n.inputs[key] != nil })
	}
	return has("seed", "noise_seed", "noise") && has("positive", "guider") && has("latent_image", "latent", "samples", "sampler_name", "steps")
}

// notPicture are inputs that lead to no picture or latent.
var notPicture = []string{"model", "clip", "vae", "positive", "negative", "conditioning", "guider", "sigmas", "sampler", "noise", "control_net", "upscale_model", "mask"}

// find is the first node of a kind that a node's pictures and latents come from, the
// node itself left out.
func (g comfyGraph) find(from *comfyNode, is func(*comfyNode) bool) *comfyNode {
	seen := map[*comfyNode]bool{from: true}
	// Where a node has two latents, the one that the other is laid on comes first.
	keys := func(n *comfyNode) []string {
		all := slices.Sorted(maps.Keys(n.inputs))
		slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(rankOfLatent(a), rankOfLatent(b)) })
		return all
	}
	queue := []*comfyNode{from}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if n != from && is(n) {
			return n
		}
		var next []*comfyNode
		for _, key := range keys(n) {
			if slices.Contains(notPicture, key) {
				continue
			}
			if to, _ := g.link(n, key); to != nil && !seen[to] {
				seen[to] = true
				next = append(next, to)
			}
		}
		slices.Reverse(next) // depth first, in their order
		queue = append(queue, next...)
	}
	return nil
}

func rankOfLatent(key string) int {
	if i := slices.Index([]string{"latent_image", "latent", "samples", "samples_to", "images", "image", "pixels"}, key); i >= 0 {
		return i
	}
	return 100
}

// base is the sampler that begins what is saved, and the others.
func (g comfyGraph) base() (s *comfyNode, others []*comfyNode) {
	var all []*comfyNode
	for _, id := range g.ids() {
		n := g[id]
		if n.isSampler() {
			all = append(all, n)
		}
		if s == nil && (strings.Contains(n.class, "Save") || strings.Contains(n.class, "Preview")) {
			s = g.find(n, (*comfyNode).isSampler)
		}
	}
	if s == nil && len(all) > 0 {
		s = all[0]
	}
	seen := map[*comfyNode]bool{}
	for s != nil && !seen[s] && len(seen) < maxWalk {
		seen[s] = true
		if before := g.find(s, (*comfyNode).isSampler); before != nil && !seen[before] {
			s = before
		}
	}
	for _, n := range all {
		if n != s {
			others = append(others, n)
		}
	}
	return s, others
}

// comfyReading is a graph that is being read.
type comfyReading struct {
	*foreign
	g comfyGraph
}

// literal is an input's value, or that of the node which it is linked to.
func (r comfyReading) literal(n *comfyNode, key string) (string, bool) {
	also := []string{"value", "seed", "noise_seed", "int", "float", "Number", "number", "string", "text"}
	for range maxWalk {
		if value, ok := n.value(key); ok {
			return value, true
		}
		to, _ := r.g.link(n, key)
		if to == nil {
			return "", false
		}
		if n = to; n.inputs[key] == nil {
			at := slices.IndexFunc(also, func(k string) bool { return n.inputs[k] != nil })
			if at < 0 {
				return "", false
			}
			key = also[at]
		}
	}
	return "", false
}

// scalars sets fields to inputs of a node.
func (r comfyReading) scalars(n *comfyNode, all ...keyOf) {
	for _, k := range all {
		if n.inputs[k.key] == nil {
			continue
		}
		if value, ok := r.literal(n, k.key); ok {
			r.set(k.path, k.key, value)
		} else {
			r.refuse(k.key, string(n.inputs[k.key]), "no value is found there")
		}
	}
}

// part is the node that an input of a custom sampler is linked to, or the sampler.
func (r comfyReading) part(n *comfyNode, key string) *comfyNode {
	if to, _ := r.g.link(n, key); to != nil {
		return to
	}
	return n
}

func (r comfyReading) sampler(n *comfyNode) {
	noise, guider, sigmas := r.part(n, "noise"), r.part(n, "guider"), r.part(n, "sigmas")
	r.scalars(noise, keyOf{"Seed", "seed"}, keyOf{"Seed", "noise_seed"})
	r.scalars(sigmas, keyOf{"Steps", "steps"})
	r.scalars(guider, keyOf{"Guidance", "cfg"})
	if name, ok := r.literal(r.part(n, "sampler"), "sampler_name"); ok {
		r.setSampler("sampler_name", name)
	}
	if name, ok := r.literal(sigmas, "scheduler"); ok {
		r.setSchedule("scheduler", name)
	}
	for key, usual := range map[string]string{"add_noise": "enable", "start_at_step": "0", "return_with_leftover_noise": "disable"} {
		if value, ok := n.value(key); ok && value != usual && value != "true" {
			r.refuse(key, value, "")
		}
	}
	positive := "positive"
	if guider.inputs[positive] == nil && guider.inputs["conditioning"] != nil {
		positive = "conditioning"
	}
	clip := r.prompt(guider, positive, "Prompt")
	r.prompt(guider, "negative", "NegativePrompt")
	if clip != nil {
		r.clipSkip(clip)
	}
	r.latent(n, sigmas)
	r.models(guider, n)
	r.set("RNG", "rng", "torch") // of a CPU, whatever it runs on
	slices.SortStableFunc(r.said.Unread, func(a, b Unread) int { return cmp.Compare(a.Key, b.Key) })
}

// prompt sets a prompt to the texts that conditions come from, and returns a node that
// encodes one.
func (r comfyReading) prompt(n *comfyNode, key, path string) (encoder *comfyNode) {
	to, output := r.g.link(n, key)
	w := comfyWalk{comfyReading: r, seen: map[*comfyNode]bool{}}
	if to != nil {
		w.condition(to, output, 0)
	}
	if value, ok := n.value(key); ok { // samplers that take texts
		w.texts = append(w.texts, value)
	}
	if len(w.texts) == 0 {
		return nil
	}
	if w.texts = slices.Compact(w.texts); len(w.texts) > 1 {
		r.refuse(key, fmt.Sprintf("%d texts", len(w.texts)), "several conditions are one prompt here")
	}
	r.set(path, key, strings.TrimSpace(strings.Join(w.texts, ", ")))
	for _, class := range w.between {
		r.refuse(key, class, "what it does to the prompt is not read")
	}
	return w.encoder
}

// comfyWalk goes back from a condition to its texts.
type comfyWalk struct {
	comfyReading
	seen    map[*comfyNode]bool
	texts   []string
	between []string // nodes that change conditions
	encoder *comfyNode
}

// textKeys are inputs with a prompt's text.
var textKeys = []string{"text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string", "value", "populated_text", "wildcard_text", "text_a", "text_b", "text1", "text2", "string_a", "string_b"}

func (w *comfyWalk) condition(n *comfyNode, output, depth int) {
	if w.seen[n] || depth > maxWalk {
		return
	}
	w.seen[n] = true
	var texts []string
	for _, key := range textKeys {
		if text, ok := w.text(n, key, 0); ok && text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) > 0 || slices.ContainsFunc(textKeys, func(key string) bool { return n.inputs[key] != nil }) {
		w.texts = append(w.texts, texts...)
		w.encoder = cmp.Or(w.encoder, n)
		return
	}
	// A node with both conditions gives them in this order.
	if n.inputs["positive"] != nil && n.inputs["negative"] != nil {
		key := []string{"positive", "negative"}[min(max(output, 0), 1)]
		w.between = append(w.between, n.class)
		if to, out := w.g.link(n, key); to != nil {
			w.condition(to, out, depth+1)
		} else if text, ok := n.value(key); ok {
			w.texts = append(w.texts, text)
		}
		return
	}
	if n.class != "ConditioningCombine" && n.class != "ConditioningConcat" && n.class != "Reroute" && !slices.Contains(w.between, n.class) {
		w.between = append(w.between, n.class)
	}
	for _, key := range slices.Sorted(maps.Keys(n.inputs)) {
		if slices.Contains([]string{"model", "clip", "vae", "image", "control_net", "mask", "latent", "pixels"}, key) || strings.HasPrefix(key, "clip_vision") {
			continue
		}
		if to, out := w.g.link(n, key); to != nil {
			w.condition(to, out, depth+1)
		}
	}
}

// text is an input's text, or that of the nodes which it is linked to.
func (w *comfyWalk) text(n *comfyNode, key string, depth int) (string, bool) {
	if value, ok := n.value(key); ok {
		return value, true
	}
	to, _ := w.g.link(n, key)
	if to == nil || depth > maxWalk || w.seen[to] {
		return "", false
	}
	w.seen[to] = true
	var all []string
	for _, k := range textKeys {
		if text, ok := w.text(to, k, depth+1); ok && text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, " "), len(all) > 0
}

// clipSkip reads how many layers the text encoder leaves out.
func (r comfyReading) clipSkip(n *comfyNode) {
	for range maxWalk {
		if n, _ = r.g.link(n, "clip"); n == nil {
			return
		}
		if layer, ok := r.literal(n, "stop_at_clip_layer"); ok {
			r.set("ClipSkip", "stop_at_clip_layer", strings.TrimPrefix(layer, "-"))
			return
		}
	}
}

// latent reads the size of an empty latent, or the picture to begin with.
func (r comfyReading) latent(n, sigmas *comfyNode) {
	denoise, given := r.literal(sigmas, "denoise")
	if image := r.g.find(n, func(n *comfyNode) bool { return strings.HasPrefix(n.class, "LoadImage") }); image != nil {
		if name, ok := image.value("image"); ok {
			r.set("ImageFile", "image", name[strings.LastIndexAny(name, `/\`)+1:])
		}
		if given {
			r.set("Strength", "denoise", denoise)
		}
		return
	}
	if given && denoise != "1" {
		r.refuse("denoise", denoise, "there is no picture to begin with")
	}
	empty := r.g.find(n, func(n *comfyNode) bool { return n.inputs["width"] != nil && n.inputs["height"] != nil })
	if empty == nil {
		return
	}
	width, ok1 := r.literal(empty, "width")
	height, ok2 := r.literal(empty, "height")
	if !ok1 || !ok2 || !r.size("width", width, height) {
		r.refuse("width, height", width+", "+height, "must be a width and a height")
	}
}

// models reads the model's name, and notes what changes it.
func (r comfyReading) models(from ...*comfyNode) {
	for _, n := range from {
		for range maxWalk {
			if n, _ = r.g.link(n, "model"); n == nil {
				break
			}
			if name, ok := r.literal(n, "lora_name"); ok {
				r.refuse(n.class, name, "")
			}
			for _, key := range []string{"ckpt_name", "unet_name", "model_name"} {
				if name, ok := r.literal(n, key); ok {
					r.model(key, name)
					return
				}
			}
		}
	}
}
