package server

import (
	"strings"

	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/pool"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/wire"
)

// lookup finds what a job's worker opens: a model, or a model with another autoencoder
// (queue.Spec.Opens). Both names are the catalog's.
func lookup(all *catalog.Catalog, key string) (pool.Model, bool) {
	if m, ok := named(all, key, key); ok {
		return m, true
	}
	for at := 0; ; at++ { // names may have the word in them, too
		next := strings.Index(key[at:], queue.With)
		if next < 0 {
			return pool.Model{}, false
		}
		at += next
		m, ok := named(all, key[:at], key)
		if !ok {
			continue
		}
		for _, e := range all.Entries(catalog.VAE) {
			if e.Name == key[at+len(queue.With):] {
				m.VAE = e.Path
				m.Bytes += e.Bytes
				return m, true
			}
		}
	}
}

// named is a model of the catalog.
func named(all *catalog.Catalog, name, key string) (pool.Model, bool) {
	for _, e := range all.Entries(catalog.Checkpoint, catalog.Refiner, catalog.Upscaler) {
		if e.Name == name {
			role := wire.RoleModel
			if e.Kind == catalog.Upscaler {
				role = wire.RoleESRGAN
			}
			p := e.Parts
			m := wire.Model{Role: role, Path: e.Path, Name: e.Name, Hash: e.ShortHash(), VAE: p.VAE, CLIPL: p.CLIPL, CLIPG: p.CLIPG, T5: p.T5, T5Tokenizer: p.T5Tokenizer, LLM: p.LLM, LLMVision: p.LLMVision}
			return pool.Model{Model: m, Key: key, Bytes: e.Bytes}, true
		}
	}
	return pool.Model{}, false
}
