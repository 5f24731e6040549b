package engine

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
)

// Upload brings the weights that stay there to their GPUs; tell is told how many of
// how many bytes have come, and its error ends the work. On the CPU, and of networks
// that are nil, there is nothing to bring.
func Upload(ctx context.Context, networks []*Network, tell func(done, total uint64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var coming []*Network
	var total, before uint64
	for _, n := range networks {
		if n == nil || n.device.Kind == cgo.CPU || n.offload || n.stream > 0 || n.isLoaded() {
			continue
		}
		bytes, err := n.Bytes()
		if err != nil {
			return err
		}
		coming = append(coming, n)
		total += bytes
	}
	report := func(bytes uint64) {
		if err := tell(min(bytes, total), total); err != nil {
			cancel(err)
		}
	}
	for i, n := range coming {
		bytes, err := n.Bytes()
		if err != nil {
			return err
		}
		if _, err := n.load(ctx, func(done uint64) { report(before + done) }); err != nil {
			return err
		}
		before += bytes
		if i == len(coming)-1 {
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
