package sd

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// place makes the networks with setUp, which looks for devices in m.devices.
// Where the caller left the choice, the best device that they fit on is taken,
// at last the CPU.
func (m *Model) place(setUp func() error, needs func(device int) (uint64, error)) error {
	all, err := m.choices()
	if err != nil {
		return err
	}
	for i, choice := range all {
		for _, part := range partNames {
			m.devices[part] = choice
			if d := m.wanted[part]; d != nil {
				m.devices[part] = *d
			}
		}
		if err := setUp(); err != nil {
			m.closeParts()
			return err
		}
		if i == len(all)-1 {
			break // nothing is left to choose from
		}
		need, err := needs(choice.Index)
		if err == nil && need <= m.memoryOf(choice) {
			break
		}
		m.closeParts()
	}
	return nil
}

// choices are the devices to try for the parts that the caller named none for.
func (m *Model) choices() ([]cgo.DeviceInfo, error) {
	for _, part := range partNames {
		if m.wanted[part] == nil {
			if all := candidates(cgo.Devices()); len(all) > 0 {
				return all, nil
			}
		}
	}
	host, err := cpu()
	return []cgo.DeviceInfo{host}, err
}

// needs estimates the memory that drawing a picture of the native size takes
// on a device: the weights of its parts and the largest of their graphs.
func (m *Model) needs(device int) (uint64, error) {
	ctx := context.Background()
	var weights, graph uint64
	add := func(p *part, inputs []cgo.Input, output string) error {
		if p == nil || p.device.Index != device {
			return nil
		}
		bytes, err := p.bytes()
		if err != nil {
			return err
		}
		need, err := p.net.Estimate(ctx, inputs, []cgo.Output{{Name: output}})
		weights += bytes
		graph = max(graph, need)
		return err
	}
	side := int64(m.NativeSize() / m.factor())
	u, length := m.weights.UNet, int64(m.weights.Text.ContextLength)
	inputs := []cgo.Input{
		{Name: "x", Shape: []int64{2, int64(u.InChannels), side, side}},
		{Name: "t", Shape: []int64{2}},
		{Name: "context", Shape: []int64{2, max(length, 1), int64(u.ContextDim)}},
	}
	if u.ADMChannels > 0 {
		inputs = append(inputs, cgo.Input{Name: "y", Shape: []int64{2, int64(u.ADMChannels)}})
	}
	if err := add(m.unet, inputs, "out"); err != nil {
		return 0, err
	}
	// Larger pictures are decoded, and encoded, in tiles.
	tile := min(side, int64(tilings[len(tilings)-1].size))
	z := cgo.Input{Name: "z", Shape: []int64{1, int64(m.weights.VAE.EmbedDim), tile, tile}}
	if err := add(m.decoder, []cgo.Input{z}, "image"); err != nil {
		return 0, err
	}
	pixels := cgo.Input{Name: "image", Shape: []int64{1, 3, tile * int64(m.factor()), tile * int64(m.factor())}}
	if err := add(m.encoder, []cgo.Input{pixels}, "moments"); err != nil {
		return 0, err
	}
	for _, t := range m.texts {
		tokens := cgo.Input{Name: "tokens", Shape: []int64{1, int64(t.config.ContextLength)}}
		if err := add(t.part, []cgo.Input{tokens}, "hidden.1"); err != nil {
			return 0, err
		}
	}
	return weights + graph, nil
}

// bytes is the size of the part's weights as they are computed with.
func (p *part) bytes() (uint64, error) {
	var sum uint64
	for _, w := range p.net.Weights() {
		t, err := p.find(w)
		if err != nil {
			return 0, err
		}
		want, err := p.typeOf(t)
		if err != nil {
			return 0, err
		}
		size, ok := want.Size(t.Elements(), t.Shape[len(t.Shape)-1])
		if !ok {
			size = 4 * t.Elements() // it will be computed with in float32
		}
		sum += uint64(size)
	}
	return sum, nil
}

// typeOf is the type that a tensor is computed with.
func (p *part) typeOf(t convert.Tensor) (dtype.Type, error) {
	if p.typ == "" {
		return t.Native(), nil
	}
	typ, err := dtype.Parse(p.typ)
	return convert.TypeFor(t, typ), err
}
