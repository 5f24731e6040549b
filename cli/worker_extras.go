package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/server/wire"
)

// extras are the adapters and textual inversions that a worker has open. Each request
// has those alone that it names: what others draw with changes nothing of its picture.
type extras struct {
	mutex    sync.Mutex
	adapters []*heldAdapter // the one that was used last at the end
	words    map[file]*sd.Embedding
}

// file is a version of a file.
type file struct {
	path     string
	modified int64
}

// heldAdapter is an open adapter, and how many requests draw with it.
type heldAdapter struct {
	file
	*sd.Adapter
	users int
}

// Bounds of what stays open without being used.
const (
	maxIdleAdapters = 16
	maxWords        = 1000
)

// fork is the model with the adapters and textual inversions of a request, which are in
// use until release.
func (x *extras) fork(ctx context.Context, m *sd.Model, all []wire.Model) (fork *sd.Model, release func(), err error) {
	if len(all) == 0 {
		return m, func() {}, nil
	}
	fork = m.Fork()
	var held []*heldAdapter
	release = func() { x.release(held) }
	for _, one := range all {
		if ctx.Err() != nil {
			release()
			return nil, nil, context.Cause(ctx)
		}
		var attachment sd.Attachment
		switch key := (file{one.Path, one.Modified}); one.Role {
		case wire.RoleLoRA:
			var a *heldAdapter
			if a, err = x.adapter(key); err == nil {
				held = append(held, a)
				attachment = sd.NamedAdapter(one.Name, a.Adapter)
			}
		case wire.RoleEmbedding:
			attachment, err = x.word(key)
		default:
			err = fmt.Errorf("%q is no role of an adapter", one.Role)
		}
		if err == nil {
			err = fork.Attach(attachment)
		}
		if err != nil {
			release()
			return nil, nil, err
		}
	}
	return fork, release, nil
}

// adapter opens an adapter, or finds it, for one more user.
func (x *extras) adapter(key file) (*heldAdapter, error) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	if i := slices.IndexFunc(x.adapters, func(a *heldAdapter) bool { return a.file == key }); i >= 0 {
		a := x.adapters[i]
		a.users++
		x.adapters = append(slices.Delete(x.adapters, i, i+1), a)
		return a, nil
	}
	opened, err := sd.OpenAdapter(key.path)
	if err != nil {
		return nil, err
	}
	a := &heldAdapter{key, opened, 1}
	x.adapters = append(x.adapters, a)
	return a, nil
}

// release takes a user away from adapters, and closes those that were not used for long.
func (x *extras) release(all []*heldAdapter) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	idle := 0
	for _, a := range all {
		a.users--
	}
	for _, a := range slices.Backward(slices.Clone(x.adapters)) {
		if a.users > 0 {
			continue
		}
		if idle++; idle > maxIdleAdapters {
			a.Close()
			x.adapters = slices.DeleteFunc(x.adapters, func(o *heldAdapter) bool { return o == a })
		}
	}
}

// word opens a textual inversion, or finds it.
func (x *extras) word(key file) (*sd.Embedding, error) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	if e := x.words[key]; e != nil {
		return e, nil
	}
	e, err := sd.OpenEmbedding(key.path)
	if err != nil {
		return nil, err
	}
	if x.words == nil || len(x.words) >= maxWords {
		x.words = map[file]*sd.Embedding{}
	}
	x.words[key] = e
	return e, nil
}
