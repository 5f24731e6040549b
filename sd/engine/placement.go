package engine

import (
	"context"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

// Demand is what a network takes on its device: weights, and the graph of a usual
// run, in bytes.
type Demand struct {
	Network        *Network
	Weights, Graph uint64
}

// DemandOf works out what a network takes for a run. ok is false for networks that are
// nil or on the CPU, whose weights are a file's pages.
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

// Place makes the networks with setUp. Where the caller left the choice, the best
// device that they fit on is taken, at last the CPU: setUp is called for each device
// that is tried, and the networks of the one before are gone. demands says what the
// networks take on GPUs.
func (h *Host) Place(setUp func() error, demands func() ([]Demand, error)) error {
	all, err := h.choices()
	if err != nil {
		return err
	}
	for i, choice := range all {
		for _, role := range roles {
			h.devices[role] = choice
			if d := h.wanted[role]; d != nil {
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
			told = h.Warn("the model does not fit on %s, of whose memory %d MB may be used; naming it as the backend uses it all the same, with weights that come in groups",
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

// Demands are what the networks take on GPUs, as [Host.Place] was told; none if all
// are on the CPU.
func (h *Host) Demands() []Demand { return h.demands }

// choices are the devices to try for the roles that the caller named none for.
func (h *Host) choices() ([]cgo.DeviceInfo, error) {
	for _, role := range roles {
		if h.wanted[role] == nil {
			if all := candidates(cgo.Devices()); len(all) > 0 {
				return all, nil
			}
		}
	}
	host, err := cpu()
	return []cgo.DeviceInfo{host}, err
}

// plan divides the memory of each GPU among the networks, and says whether they do
// without weights that come in groups.
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

// opsOn finds out how a GPU computes best. A driver in software takes longer
// to set up a trial than the trial could gain.
func opsOn(d cgo.DeviceInfo) (cgo.OpChoice, error) {
	if d.Software {
		return cgo.OpChoice{DirectConv: true}, nil
	}
	return cgo.Tune(d)
}

// planDevice is plan for one GPU. What stays there are weights, but for those
// that come when they are needed, and the denoiser's graph; the largest of the
// other graphs, with its weights, comes and goes.
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
