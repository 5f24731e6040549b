package sd

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/guard"
)

// place makes the networks with setUp, which looks for devices in m.devices.
// Where the caller left the choice, the best device that they fit on is taken,
// at last the CPU. demands says what the networks take.
func (m *Model) place(setUp func() error, demands func() ([]demand, error)) error {
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
		fits, err := m.plan(demands)
		var told error
		switch {
		case i == len(all)-1:
			return err
		case err != nil:
			told = m.note("%s is not used: %v", strings.ToLower(choice.Name), err)
		case !fits:
			told = m.note("the model does not fit on %s, of whose memory %d MB may be used; naming it as the backend uses it all the same, with weights that come in groups",
				strings.ToLower(choice.Name), m.memoryOf(choice)/1e6)
		default:
			return nil
		}
		m.closeParts()
		if told != nil {
			return told
		}
	}
	return nil
}

// note tells the caller of something odd; its error is that of the caller's
// code.
func (m *Model) note(format string, args ...any) error {
	if m.options.Warn == nil {
		return nil
	}
	return guard.Call("Warn", func() error {
		m.options.Warn(fmt.Sprintf(format, args...))
		return nil
	})
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

// demand is what a part takes on its device for a picture of the native size.
type demand struct {
	part           *part
	weights, graph uint64 // bytes
}

// plan says how the parts share the memory of each GPU, and whether they do
// without weights that come in groups.
func (m *Model) plan(demands func() ([]demand, error)) (fits bool, err error) {
	m.taken = map[int]uint64{}
	fits = true
	var all []demand
	tried := map[int]cgo.Ways{}
	for _, name := range partNames {
		device := m.devices[name]
		if device.Kind == cgo.CPU {
			continue
		}
		if _, ok := tried[device.Index]; ok {
			continue
		}
		if all == nil {
			if all, err = demands(); err != nil {
				return false, err
			}
		}
		ways, err := waysOn(device)
		if err != nil {
			return false, inMemory(err, device)
		}
		tried[device.Index] = ways
		fits = m.planDevice(device, all, ways) && fits
	}
	return fits, nil
}

// waysOn finds out how a GPU computes best. A driver in software takes longer
// to set up a trial than the trial could gain.
func waysOn(d cgo.DeviceInfo) (cgo.Ways, error) {
	if d.Software {
		return cgo.Ways{Direct: true}, nil
	}
	return cgo.TryWays(d)
}

// planDevice is plan for one GPU. What stays there are weights, but for those
// that come when they are needed, and the UNet's graph; the largest of the
// others, with its weights, comes and goes.
func (m *Model) planDevice(device cgo.DeviceInfo, all []demand, ways cgo.Ways) bool {
	var stays, comes uint64
	var unet *demand
	for i, d := range all {
		if d.part.device.Index != device.Index {
			continue
		}
		d.part.ways = ways
		switch {
		case d.part == m.unet:
			unet = &all[i]
			stays += d.weights + d.graph
		case d.part.offload:
			comes = max(comes, d.weights+d.graph)
		default:
			stays += d.weights
			comes = max(comes, d.graph)
		}
	}
	memory := m.memoryOf(device)
	fits := stays+comes <= memory
	if !fits && unet != nil {
		rest := stays + comes - unet.weights
		unet.part.stream = max(memory-min(memory, rest), 1)
		stays -= unet.weights - min(unet.weights, unet.part.stream)
	}
	m.taken[device.Index] = stays
	return fits
}

// demands are those of the parts that are on a GPU.
func (m *Model) demands() ([]demand, error) {
	var all []demand
	add := func(p *part, output string, inputs ...cgo.Input) error {
		if p == nil || p.device.Kind == cgo.CPU {
			return nil
		}
		weights, err := p.bytes()
		if err != nil {
			return err
		}
		graph, err := p.net.Estimate(context.Background(), inputs, []cgo.Output{{Name: output}})
		all = append(all, demand{p, weights, graph})
		return err
	}
	factor := int64(m.factor())
	side := int64(m.NativeSize()) / factor
	u, length := m.weights.UNet, int64(m.weights.Text.ContextLength)
	inputs := []cgo.Input{
		{Name: "x", Shape: []int64{2, int64(u.InChannels), side, side}},
		{Name: "t", Shape: []int64{2}},
		{Name: "context", Shape: []int64{2, max(length, 1), int64(u.ContextDim)}},
	}
	if u.ADMChannels > 0 {
		inputs = append(inputs, cgo.Input{Name: "y", Shape: []int64{2, int64(u.ADMChannels)}})
	}
	if err := add(m.unet, "out", inputs...); err != nil {
		return nil, err
	}
	// Larger pictures are decoded, and encoded, in tiles.
	tile := min(side, int64(tilings[len(tilings)-1].size))
	if err := add(m.decoder, "image", cgo.Input{Name: "z", Shape: []int64{1, int64(u.OutChannels), tile, tile}}); err != nil {
		return nil, err
	}
	if err := add(m.encoder, "moments", cgo.Input{Name: "image", Shape: []int64{1, 3, tile * factor, tile * factor}}); err != nil {
		return nil, err
	}
	for _, t := range m.texts {
		tokens := cgo.Input{Name: "tokens", Shape: []int64{1, int64(t.config.ContextLength)}}
		if err := add(t.part, "hidden.1", tokens); err != nil {
			return nil, err
		}
	}
	return all, nil
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
