package sd

import (
	"context"
	"time"

	"github.com/sdgo/sdgo/cgo"
)

// upload brings the weights that are to stay there to their GPUs, and tells of
// it. On the CPU there is nothing to bring.
func (m *Model) upload(ctx context.Context, q resolved) error {
	if m.encoder != nil && q.Image == nil {
		// It may never be needed.
		return m.uploadParts(ctx, q, append(m.textParts(), m.unet, m.decoder))
	}
	return m.uploadParts(ctx, q, append(m.textParts(), m.unet, m.decoder, m.encoder))
}

func (m *Model) uploadParts(ctx context.Context, q resolved, parts []*part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var coming []*part
	var total, before uint64
	for _, p := range parts {
		if p == nil || p.device.Kind == cgo.CPU || p.offload || p.stream > 0 || p.isLoaded() {
			continue
		}
		bytes, err := p.bytes()
		if err != nil {
			return err
		}
		coming = append(coming, p)
		total += bytes
	}
	start := time.Now()
	tell := func(bytes uint64) {
		e := Event{Stage: StageUpload, Index: int(min(bytes, total) >> 20), Of: int(total >> 20), Elapsed: time.Since(start)}
		if err := q.event(e); err != nil {
			cancel(err)
		}
	}
	for i, p := range coming {
		bytes, err := p.bytes()
		if err != nil {
			return err
		}
		if _, err := p.load(ctx, func(n uint64) { tell(before + n) }); err != nil {
			return err
		}
		before += bytes
		if i == len(coming)-1 {
			tell(total)
		}
	}
	return context.Cause(ctx)
}

func (p *part) isLoaded() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.loaded || p.wide != nil
}
