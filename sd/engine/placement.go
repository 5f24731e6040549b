package engine

import (
	"context"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

// Demand is the memory that a network needs on its device: weights, and the graph of a
// typical run, in bytes.
type Demand struct {
	Network        *Network
	Weights, Graph uint64
}

// DemandOf estimates a network's memory for a run. ok is false if the network is nil or
// on the CPU, where weights are pages of a mapped file.
func DemandOf(n *Network, out string, in ...cgo.Input) (d Demand, ok bool, err error) {
	if n == nil || n.device.Kind == cgo.CPU {
		return d, false, nil
	}
	weights, err := n.Bytes()
	if err != nil {
		return d, false, err
	}
	graph, err := n.net.Estimate(context.Background(), in, []cgo.Output{{Name: out}})
	return Demand{n, weights, graph}, err == nil, err
}

// Place creates the networks with setUp. For roles on auto it tries devices, the best
// first and the CPU last, and takes the first one that the networks fit on. It calls
// setUp for each device that it tries, after it has dropped the networks of the device
// before. demands returns the networks' memory on GPUs.
func (h *Host) Place(setUp func() error, demands func() ([]Demand, error)) error {
	all, err := h.choices()
	if err != nil {
		return err
	}
	for i, choice := range all {
		for _, role := range roles {
			h.devices[role] = choice
			if d := h.backend[role]; d != nil {
				h.devices[role] = *d
			}
		}
		if err := setUp(); err != nil {
			h.drop()
			return err
		}
		fits, err := h.plan(func() ([]Demand, error) {
			var err error
			h.demands, err = demands()
			return h.demands, err
		})
		var told error
		switch {
		case i == len(all)-1:
			return err
		case err != nil:
			told = h.Warn("%s is not used: %v", strings.ToLower(choice.Name), err)
		case !fits:
			told = h.Warn("the model does not fit on %s, of whose memory %d MB may be used; name it as the backend to use it with streamed weights",
				strings.ToLower(choice.Name), h.memoryOf(choice)/1e6)
		default:
			return nil
		}
		h.drop()
		if told != nil {
			return told
		}
	}
	return nil
}

// Demands are the networks' memory on GPUs, as passed to [Host.Place]; none if all
// networks are on the CPU.
func (h *Host) Demands() []Demand { return h.demands }

// choices are the devices to try for roles on auto.
func (h *Host) choices() ([]cgo.DeviceInfo, error) {
	for _, role := range roles {
		if h.backend[role] == nil {
			if all := candidates(cgo.Devices()); len(all) > 0 {
				return all, nil
			}
		}
	}
	host, err := cpu()
	return []cgo.DeviceInfo{host}, err
}

// plan divides the memory of each GPU among the networks. fits says whether they fit
// without streamed weights.
func (h *Host) plan(demands func() ([]Demand, error)) (fits bool, err error) {
	h.reserved = map[int]uint64{}
	fits = true
	var all []Demand
	tried := map[int]cgo.OpChoice{}
	for _, role := range roles {
		device := h.devices[role]
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
		ops, err := opsOn(device)
		if err != nil {
			return false, inMemory(err, device)
		}
		tried[device.Index] = ops
		fits = h.planDevice(device, all, ops) && fits
	}
	return fits, nil
}

// opsOn chooses operators for a GPU by a trial. On a software driver the trial would
// take longer than it could save.
func opsOn(d cgo.DeviceInfo) (cgo.OpChoice, error) {
	if d.Software {
		return cgo.OpChoice{DirectConv: true}, nil
	}
	return cgo.Tune(d)
}

// planDevice is plan for one GPU. Weights that are not offloaded, and the denoiser's
// graph, stay on it. Of the other graphs, with their offloaded weights, there is one at
// a time, so only the largest counts.
func (h *Host) planDevice(device cgo.DeviceInfo, all []Demand, ops cgo.OpChoice) bool {
	var stays, comes uint64
	var denoiser *Demand
	for i, d := range all {
		if d.Network.device.Index != device.Index {
			continue
		}
		d.Network.ops = ops
		switch {
		case d.Network.role == RoleDenoiser:
			denoiser = &all[i]
			stays += d.Weights + d.Graph
		case d.Network.offload:
			comes = max(comes, d.Weights+d.Graph)
		default:
			stays += d.Weights
			comes = max(comes, d.Graph)
		}
	}
	memory := h.memoryOf(device)
	fits := stays+comes <= memory
	if !fits && denoiser != nil {
		rest := stays + comes - denoiser.Weights
		denoiser.Network.stream = max(memory-min(memory, rest), 1)
		stays -= denoiser.Weights - min(denoiser.Weights, denoiser.Network.stream)
	}
	h.reserved[device.Index] = stays
	return fits
}
