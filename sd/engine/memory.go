package engine

import (
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/limits"
)

// memoryOf is what a model may take of a device: the caller's limit, else most
// of what is free: on the CPU for this process.
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

// Room is what the graph of a network may take on a device, in bytes. On the CPU
// the weights are not counted: they are a file's pages. A GPU holds them and the
// denoiser's graph.
func (h *Host) Room(device cgo.DeviceInfo) uint64 {
	room := h.memoryOf(device)
	if device.Kind == cgo.CPU {
		return room
	}
	return room - min(room, h.reserved[device.Index])
}

// makeRoom frees the graphs that networks keep for their next run, but for those
// that are running.
func (h *Host) makeRoom() {
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

// TakePixels is [Host.Take] for a picture of a size and what it is made of, so many
// bytes a pixel.
func (h *Host) TakePixels(width, height, each int) (release func(), err error) {
	return h.Take(fmt.Sprintf("a picture of %dx%d pixels", width, height), uint64(width)*uint64(height)*uint64(each))
}

// Take asks for memory of the host, bytes, that Go code is about to use for
// something. release is to be called when it is used, or no longer. It is a
// [MemoryError] if there is not enough.
func (h *Host) Take(what string, bytes uint64) (release func(), err error) {
	release, left, ok := limits.Take(bytes)
	if !ok {
		h.makeRoom()
		release, left, ok = limits.Take(bytes)
	}
	if !ok {
		err := cgo.NoRoom(what, bytes, left)
		return nil, &MemoryError{"cpu", bytes, left.Amount, err}
	}
	return release, nil
}
