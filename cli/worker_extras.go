package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/server/wire"
)

// extras are the adapters, ControlNets, classifiers and textual inversions that a worker has open. Each
// request has those alone that it names: what others draw with changes nothing of its
// picture.
type extras struct {
	base  string // the model's file, whose UNet some ControlNets change; "" of one in the box
	mutex sync.Mutex
	held  []*held // the one that was used last at the end
	words map[file]*sd.Embedding
}

// file is a version of a file.
type file struct {
	role, path, vision string
	modified           int64
}

// held is an open adapter, ControlNet or classifier, and how many requests draw with it.
type held struct {
	file
	sd.Attachment
	users int
}

// Bounds of what stays open without being used, for each role of an adapter, and of words.
const (
	maxIdleAdapters = 16
	maxIdleControls = 4
	maxWords        = 1000
)

// fork is the model with the extras of a request, which are in use until release.
func (x *extras) fork(ctx context.Context, m *sd.Model, o sd.Options, all []wire.Model) (fork *sd.Model, release func(), err error) {
	if len(all) == 0 {
		return m, func() {}, nil
	}
	fork = m.Fork()
	var inUse []*held
	release = func() { x.release(inUse) }
	for _, one := range all {
		if ctx.Err() != nil {
			release()
			return nil, nil, context.Cause(ctx)
		}
		var attachment sd.Attachment
		switch key := (file{one.Role, one.Path, one.CLIPVision, one.Modified}); one.Role {
		case wire.RoleLoRA, wire.RoleControl, wire.RoleClassifier:
			var h *held
			if h, err = x.hold(key, o); err == nil {
				inUse = append(inUse, h)
				attachment = sd.Named(one.Name, h.Attachment)
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

// hold opens an adapter, a ControlNet or a classifier, or finds it, for one more user.
func (x *extras) hold(key file, o sd.Options) (*held, error) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	if i := slices.IndexFunc(x.held, func(h *held) bool { return h.file == key }); i >= 0 {
		h := x.held[i]
		h.users++
		x.held = append(slices.Delete(x.held, i, i+1), h)
		return h, nil
	}
	opened, err := openExtra(key, x.base, o)
	if err != nil {
		return nil, err
	}
	h := &held{key, opened, 1}
	x.held = append(x.held, h)
	return h, nil
}

// openExtra opens an adapter, a ControlNet or a classifier, each as the command line does.
func openExtra(key file, base string, o sd.Options) (sd.Attachment, error) {
	typ := o.Type
	o = networkOptions(o)
	switch key.role {
	case wire.RoleControl:
		o.Type, o.CLIPVision, o.ControlBase = typ, key.vision, base
		return sd.OpenControl(key.path, o)
	case wire.RoleClassifier:
		return sd.OpenClassifier(key.path, o)
	}
	return sd.OpenAdapter(key.path)
}

// release takes a user away from what is held, and closes what was not used for long.
func (x *extras) release(all []*held) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	for _, h := range all {
		h.users--
	}
	left := map[string]int{wire.RoleLoRA: maxIdleAdapters, wire.RoleControl: maxIdleControls, wire.RoleClassifier: maxIdleControls}
	for _, h := range slices.Backward(slices.Clone(x.held)) {
		if h.users > 0 {
			continue
		}
		if left[h.role]--; left[h.role] < 0 {
			h.Close()
			x.held = slices.DeleteFunc(x.held, func(o *held) bool { return o == h })
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
