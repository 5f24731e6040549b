package engine

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
)

// Upload uploads weights that stay on GPUs. progress receives the bytes that are done,
// of a total; its error stops the upload. Networks that are nil or on the CPU have
// nothing to upload.
func Upload(ctx context.Context, networks []*Network, progress func(done, total uint64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var pending []*Network
	var total, before uint64
	for _, n := range networks {
		if n == nil || n.device.Kind == cgo.CPU || n.offload || n.stream > 0 || n.isLoaded() {
			continue
		}
		bytes, err := n.Bytes()
		if err != nil {
			return err
		}
		pending = append(pending, n)
		total += bytes
	}
	report := func(bytes uint64) {
		if err := progress(min(bytes, total), total); err != nil {
			cancel(err)
		}
	}
	for i, n := range pending {
		bytes, err := n.Bytes()
		if err != nil {
			return err
		}
		if _, err := n.load(ctx, func(done uint64) { report(before + done) }); err != nil {
			return err
		}
		before += bytes
		if i == len(pending)-1 {
			report(total)
		}
	}
	return context.Cause(ctx)
}

func (n *Network) isLoaded() bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.loaded || n.float32 != nil
}
