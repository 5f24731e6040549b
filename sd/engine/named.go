package engine

// Named is an input of a network beside what it is computed for: a text's embedding,
// a class, a control's features.
type Named struct {
	Name  string
	Shape []int // of one, without the batch
	Data  []float32
}
