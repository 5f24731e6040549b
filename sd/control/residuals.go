package control

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
)

// Residuals are what ControlNets add to a UNet, on a device or, where only some of a batch
// have any, on the host. The zero value is nothing.
type Residuals struct {
	device cgo.DeviceInfo
	names  []string
	values []*cgo.Value

	host []cgo.Input
}

// On are the residuals as inputs of a network on a device.
func (r Residuals) On(d cgo.DeviceInfo) (all []cgo.Input, err error) {
	if r.host != nil {
		return r.host, nil
	}
	for i, v := range r.values {
		in := cgo.Input{Name: r.names[i], Shape: v.Shape()}
		if r.device.Index == d.Index {
			in.Value = v
		} else {
			n := int64(1)
			for _, side := range in.Shape {
				n *= side
			}
			in.F32 = make([]float32, n)
			if err := v.Read(in.F32); err != nil {
				return nil, err
			}
		}
		all = append(all, in)
	}
	return all, nil
}

// Close frees them.
func (r Residuals) Close() {
	for _, v := range r.values {
		v.Close()
	}
}

// onHost is a device that no network is on.
var onHost = cgo.DeviceInfo{Index: -1}

// runSome is Run for a batch of which some latents get nothing: zeros in their places.
func (c *ControlNet) runSome(ctx context.Context, x cgo.Input, in []cgo.Input, items []Item, before Residuals, shallow bool) (Residuals, error) {
	var places []int
	var counting []Item
	for i, item := range items {
		if item.Counts() {
			places, counting = append(places, i), append(counting, item)
		}
	}
	if len(places) == 0 {
		return Residuals{}, nil
	}
	inputs := make([]cgo.Input, len(in))
	for i := range in {
		inputs[i] = rows(in[i], len(items), places)
	}
	some, err := c.Run(ctx, rows(x, len(items), places), inputs, counting, Residuals{}, shallow)
	if err != nil {
		return Residuals{}, err
	}
	defer some.Close()
	own, err := some.On(onHost)
	if err != nil {
		return Residuals{}, err
	}
	given, err := before.On(onHost)
	if err != nil {
		return Residuals{}, err
	}
	sums := map[string][]float32{}
	for _, g := range given {
		sums[g.Name] = g.F32
	}
	all := Residuals{host: make([]cgo.Input, len(own))}
	for i, o := range own {
		n := len(o.F32) / len(places)
		sum := make([]float32, n*len(items))
		copy(sum, sums[o.Name])
		for k, place := range places {
			for j, v := range o.F32[k*n:][:n] {
				sum[place*n+j] += v
			}
		}
		o.Shape = append([]int64{int64(len(items))}, o.Shape[1:]...)
		o.F32, o.Value = sum, nil
		all.host[i] = o
	}
	return all, nil
}

// rows are some of an input's rows, of n.
func rows(in cgo.Input, n int, places []int) cgo.Input {
	size := len(in.F32) / n
	all := make([]float32, 0, size*len(places))
	for _, place := range places {
		all = append(all, in.F32[place*size:][:size]...)
	}
	in.F32, in.Shape = all, append([]int64{int64(len(places))}, in.Shape[1:]...)
	return in
}
