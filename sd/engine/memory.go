package engine

import (
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/limits"
)

// memoryOf is the memory that a model may use on a device: the caller's limit, else
// nine tenths of what is free, on the CPU of what this process may still use.
func (h *Host) memoryOf(device cgo.DeviceInfo) uint64 {
	if h.options.MaxMemory > 0 {
		return h.options.MaxMemory
	}
	free := device.Free
	if device.Kind == cgo.CPU {
		if room := limits.Room(); room.Amount != limits.Unlimited {
			free = room.Amount
		}
	}
	return free / 10 * 9
}

// Room is the memory that a network's graph may use on a device, in bytes. On a GPU
// the weights and the denoiser's graph are subtracted. On the CPU weights do not
// count, because they are pages of a mapped file.
func (h *Host) Room(device cgo.DeviceInfo) uint64 {
	room := h.memoryOf(device)
	if device.Kind == cgo.CPU {
		return room + h.kept() // which is freed where something needs it
	}
	return room - min(room, h.reserved[device.Index])
}

// keepFor is what decides how many bytes of weights a network of a role may keep in the
// kernels' own forms: a denoiser runs many times, the others once for a picture or two. At
// most half of the memory that there is is for that, and of [Options.MaxMemory]. Quantized weights take
// twice as much and more in those forms, and are chosen where memory is short: they are kept where
// all of them take little of it.
func (h *Host) keepFor(role string) func(bytes uint64) uint64 {
	const little = 8 // a part of the memory
	if role != RoleDenoiser || h.options.Lean {
		return nil
	}
	return func(bytes uint64) uint64 {
		all := limits.Room().Amount
		if h.quantized() && bytes > all/little {
			return 0
		}
		room := all / 2
		if most := h.options.MaxMemory / 2; h.options.MaxMemory > 0 {
			room = min(room, most-min(most, h.kept()))
		}
		return min(bytes, room)
	}
}

// quantized reports whether most of the host's weights are computed with in a quantized type.
func (h *Host) quantized() bool {
	if h.options.Type != "" {
		t, err := dtype.Parse(h.options.Type)
		return err == nil && t.Quantized()
	}
	var quantized, others int64
	for _, t := range h.Weights.Tensors {
		if t.Type.Quantized() {
			quantized += t.Elements()
		} else {
			others += t.Elements()
		}
	}
	return quantized > others
}

// kept is the memory of the weights that networks keep in the kernels' own forms, in bytes.
func (h *Host) kept() uint64 {
	var bytes uint64
	for _, n := range h.networks {
		bytes += n.net.Kept()
	}
	return bytes
}

// MakeRoom frees the graphs, and the packed weights, that networks keep on the CPU for their next run, except for
// networks that are running.
func (h *Host) MakeRoom() {
	for _, n := range h.networks {
		if n.device.Kind == cgo.CPU {
			n.net.TryTrim()
		}
	}
}

// Bytes of a pixel: in a tensor of three channels, and in a picture.
const (
	TensorPixel  = 12
	PicturePixel = 4
)

// TakePixels is [Host.Take] for a picture of a size, with each bytes a pixel for the
// picture and its intermediate values.
func (h *Host) TakePixels(width, height, each int) (release func(), err error) {
	return h.Take(fmt.Sprintf("a picture of %dx%d pixels", width, height), uint64(width)*uint64(height)*uint64(each))
}

// Take reserves memory that Go code is about to allocate; what describes it in errors.
// Call release once it is allocated, or no longer needed. If there is not enough, the
// error is a [MemoryError].
func (h *Host) Take(what string, bytes uint64) (release func(), err error) {
	release, left, ok := limits.Take(bytes)
	if !ok {
		h.MakeRoom()
		release, left, ok = limits.Take(bytes)
	}
	if !ok {
		err := cgo.NoRoom(what, bytes, left)
		return nil, &MemoryError{"cpu", bytes, left.Amount, err}
	}
	return release, nil
}
