package family

import "fmt"

// DiTConfig describes a diffusion transformer (Peebles and Xie 2023): the network
// "dit" of the C++ core.
type DiTConfig struct {
	InChannels, OutChannels int // OutChannels with the variance's
	Patch                   int // pixels along a token's side: 2
	Width, Blocks, Heads    int // 1152, 28, 16
	Positions               int // tokens of the trained size
	Classes                 int // rows of the table: the last stands for no class
	TimeChannels            int // sinusoids: 256

	// TimeShift is 1 where the last frequency is 1/10000 itself: the diffusers library has
	// that for the same weights, the authors 0.
	TimeShift int
}

// Params are the hyperparameters of the network "dit".
func (c *DiTConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"in_channels": one(c.InChannels), "out_channels": one(c.OutChannels), "patch": one(c.Patch), "width": one(c.Width),
		"blocks": one(c.Blocks), "heads": one(c.Heads), "positions": one(c.Positions), "classes": one(c.Classes), "time_channels": one(c.TimeChannels), "time_shift": one(c.TimeShift),
	}
}

func (c *DiTConfig) summary() string {
	return fmt.Sprintf("%d blocks of width %d, %d heads, patches of %d", c.Blocks, c.Width, c.Heads, c.Patch)
}

// numbers are those that no shape tells.
func (c *DiTConfig) numbers() []number {
	return []number{whole("heads", 1, 1<<10, &c.Heads), whole("time_shift", 0, 1, &c.TimeShift)}
}
