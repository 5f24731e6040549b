package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// ControlChange is what a Control-LoRA (Stability AI's) adds to a weight of the UNet that it steers: up·down,
// the first dimension of both apart and the others as one.
type ControlChange struct {
	Weight   string // the ControlNet's canonical name of it
	Down, Up model.Tensor
	Rank     int
}

// Marks of files of ControlNets that lack what the UNet has.
const (
	controlLoRA       = "lora_controlnet"
	controlDifference = "difference"
)

// changesUNet says what a ControlNet's file is that changes a UNet; "" of one that is whole.
func changesUNet(has func(name string) bool) string {
	switch {
	case has(controlLoRA):
		return "a Control-LoRA, which changes the UNet of a model"
	case has(controlDifference):
		return "differences from the UNet of a model"
	}
	return ""
}

// ChangesUNet says of a file's tensors what it is, if it can't be a ControlNet without the model
// whose UNet it changes; else "".
func ChangesUNet(all []model.Stored) string {
	return changesUNet(func(name string) bool {
		return slices.ContainsFunc(all, func(t model.Stored) bool { return strings.TrimPrefix(t.Name, model.ControlPrefix) == name })
	})
}

// ofControlNet reports whether a ControlNet has a tensor of the UNet.
func ofControlNet(name string) bool {
	return beginsWith(name, "time_embed.", "label_emb.", "input_blocks.", "middle_block.")
}

// ControlOn is the whole ControlNet of a file that changes a UNet, whose model is open: its
// tensors, some of which may be the model's own, and what is added to them.
func ControlOn(all []model.Stored, base *model.Model) (whole []model.Stored, changes []ControlChange, err error) {
	own := map[string]model.Tensor{}
	differs := false
	for _, t := range all {
		name := strings.TrimPrefix(t.Name, model.ControlPrefix)
		switch name {
		case controlDifference:
			differs = true
		case controlLoRA:
		default:
			own[name] = t.Tensor
		}
	}
	for _, t := range base.Tensors {
		name, ok := strings.CutPrefix(t.Name, model.UNetPrefix)
		if !ok || !ofControlNet(name) {
			continue
		}
		given, found := own[name]
		delete(own, name)
		switch {
		case found && differs:
			if t, err = sumOf(given, t); err != nil {
				return nil, nil, err
			}
		case found:
			t = given
		}
		t.Name = model.ControlPrefix + name
		whole = append(whole, model.Stored{Tensor: t, DType: t.Type.String()})
		layer := strings.TrimSuffix(name, ".weight")
		up, one := own[layer+".up"]
		down, other := own[layer+".down"]
		delete(own, layer+".up")
		delete(own, layer+".down")
		if one != other {
			return nil, nil, fmt.Errorf("%s must have both up and down", layer)
		}
		if one {
			c, err := controlChange(t, up, down)
			if err != nil {
				return nil, nil, err
			}
			changes = append(changes, c)
		}
	}
	for name, t := range own {
		if differs && ofControlNet(name) || strings.HasSuffix(name, ".up") || strings.HasSuffix(name, ".down") {
			return nil, nil, fmt.Errorf("tensor %q: the model %s has no such layer in its UNet", t.Name, base.Path)
		}
		t.Name = model.ControlPrefix + name
		whole = append(whole, model.Stored{Tensor: t, DType: t.Type.String()})
	}
	if len(changes) == 0 && !differs {
		return nil, nil, fmt.Errorf("it changes no layer of the UNet of %s", base.Path)
	}
	slices.SortFunc(whole, func(a, b model.Stored) int { return strings.Compare(a.Name, b.Name) })
	return whole, changes, nil
}

// controlChange checks the factors of a weight.
func controlChange(w, up, down model.Tensor) (c ControlChange, err error) {
	if len(w.Shape) < 2 || len(up.Shape) < 2 || len(down.Shape) < 2 {
		return c, fmt.Errorf("tensor %q: a weight and its factors must be matrices, got the shapes %v, %v and %v", up.Name, w.Shape, up.Shape, down.Shape)
	}
	rank, out, row := down.Shape[0], w.Shape[0], w.Elements()/max(w.Shape[0], 1)
	if rank < 1 || rank > 1<<14 || up.Shape[0] != out || up.Elements() != out*rank || down.Elements() != rank*row {
		return c, fmt.Errorf("tensors %q and %q must have the shapes [%d rank] and [rank %d] of one rank, got %v and %v", up.Name, down.Name, out, row, up.Shape, down.Shape)
	}
	for _, t := range []model.Tensor{up, down} {
		if !t.Finite() {
			return c, fmt.Errorf("tensor %q has NaN or infinite elements", t.Name)
		}
	}
	return ControlChange{Weight: w.Name, Down: down, Up: up, Rank: int(rank)}, nil
}

// sumOf is the sum of a difference and the weight that it is from, as float32 if one of them is,
// else float16.
func sumOf(difference, base model.Tensor) (model.Tensor, error) {
	if difference.Elements() != base.Elements() {
		return base, fmt.Errorf("tensor %q must have the shape %v of the model's, got %v", difference.Name, base.Shape, difference.Shape)
	}
	a, b := make([]float32, base.Elements()), make([]float32, base.Elements())
	if err := difference.Float32(a); err != nil {
		return base, err
	}
	if err := base.Float32(b); err != nil {
		return base, err
	}
	for i := range a {
		a[i] += b[i]
	}
	typ, size := dtype.F16, 2
	if difference.Type == dtype.F32 || base.Type == dtype.F32 || len(base.Shape) < 2 {
		typ, size = dtype.F32, 4
	}
	bytes := make([]byte, size*len(a))
	if err := dtype.Encode(typ, bytes, a); err != nil {
		return base, fmt.Errorf("tensor %q: %w", difference.Name, err)
	}
	return model.Tensor{Name: base.Name, Type: typ, Shape: base.Shape, Bytes: bytes}, nil
}
