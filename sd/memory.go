package sd

import (
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/limits"
)

// memoryOf is what a model may take of a device: the caller's limit, else most
// of what is free: on the CPU for this process.
func (m *Model) memoryOf(device cgo.DeviceInfo) uint64 {
	if m.options.MaxMemory > 0 {
		return m.options.MaxMemory
	}
	free := device.Free
	if device.Kind == cgo.CPU {
		if room := limits.Room(); room.Amount != limits.Unlimited {
			free = room.Amount
		}
	}
	return free / 10 * 9
}

// roomOn is what a part's graph may take on a device. On the CPU the weights are not
// counted: they are a file's pages. A GPU holds them and the UNet's graph.
func (m *Model) roomOn(device cgo.DeviceInfo) uint64 {
	room := m.memoryOf(device)
	if device.Kind == cgo.CPU {
		return room
	}
	return room - min(room, m.taken[device.Index])
}

// makeRoom frees the graphs that networks keep for their next run, but for those
// that are running.
func (m *Model) makeRoom() {
	for _, p := range append(m.textParts(), m.unet, m.decoder, m.encoder) {
		if p != nil && p.device.Kind == cgo.CPU {
			p.net.TryTrim()
		}
	}
}

// Bytes of a pixel: in a plane of three floats, and in a picture.
const (
	planePixel   = 12
	picturePixel = 4
)

// takePixels is take for a picture of a size and what it is made of, so many
// bytes a pixel.
func (m *Model) takePixels(width, height, each int) (release func(), err error) {
	return m.take(fmt.Sprintf("a picture of %dx%d pixels", width, height), uint64(width)*uint64(height)*uint64(each))
}

// take asks for memory of the host, bytes, that Go code is about to use for
// something. release is to be called when it is used, or no longer.
func (m *Model) take(what string, bytes uint64) (release func(), err error) {
	release, left, ok := limits.Take(bytes)
	if !ok {
		m.makeRoom()
		release, left, ok = limits.Take(bytes)
	}
	if !ok {
		err := cgo.NoRoom(what, bytes, left)
		return nil, &MemoryError{"cpu", bytes, left.Amount, err}
	}
	return release, nil
}
