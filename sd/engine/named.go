package engine

// Named is a condition input of a network: a text's embedding, a class, a ControlNet's
// features.
type Named struct {
	Name  string
	Shape []int // without the batch axis
	Data  []float32
}
