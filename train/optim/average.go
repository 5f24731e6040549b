package optim

import "errors"

// Average is an exponential moving average of weights, which draws better pictures than
// the weights themselves (Ho et al. 2020).
type Average struct {
	decay   float64
	updates float64
	values  [][]float32
}

// NewAverage makes an average that begins with weights. The decay is the smaller one of
// decay and (1+n)/(10+n) after n updates, so that the first weights are soon forgotten.
func NewAverage(decay float64, weights [][]float32) (*Average, error) {
	if err := within("the average's decay", decay, 0, 1); err != nil {
		return nil, err
	}
	a := &Average{decay: decay, values: like(weights)}
	for i, w := range weights {
		copy(a.values[i], w)
	}
	return a, nil
}

// Update adds weights to the average.
func (a *Average) Update(weights [][]float32) error {
	if err := sameLengths("weights", a.values, weights); err != nil {
		return err
	}
	a.updates++
	share := float32(1 - min(a.decay, (1+a.updates)/(10+a.updates)))
	each(weights, func(i, from, to int) {
		w, v := weights[i][from:to], a.values[i][from:to]
		for k, x := range w {
			v[k] += share * (x - v[k])
		}
	})
	return nil
}

// Values are the averaged weights. They are the average's own.
func (a *Average) Values() [][]float32 { return a.values }

// State is what a checkpoint keeps.
func (a *Average) State() State {
	return State{map[string]float64{"updates": a.updates}, map[string][][]float32{"values": a.values}}
}

// Restore continues from a checkpoint.
func (a *Average) Restore(s State) error {
	a.updates = s.Numbers["updates"]
	return errors.Join(s.restore("values", a.values), within("updates", a.updates, 0, 1<<53))
}
